"""In whose name this task acts: set where a request or a command begins, read where a record is written.

It is passed through every layer without being any layer's business, so it travels with the task (a context variable)
rather than through every signature. Decision 0014.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SERVICE = "service"  # the background loops
COMMAND = "local"  # the id of whoever runs a command on the machine of the database
AS_COMMAND = f"command:{COMMAND}"
_ACTOR: ContextVar[str] = ContextVar("actor", default=SERVICE)


def actor() -> str:
    """Return who acts: `kind:id` of a caller, `command`, or `service`."""
    return _ACTOR.get()


@contextmanager
def acting_as(who: str) -> Iterator[None]:
    """Act in somebody's name while the block lasts."""
    token = _ACTOR.set(who)
    try:
        yield
    finally:
        _ACTOR.reset(token)
