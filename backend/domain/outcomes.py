"""What a destination's answer means: the table of delivery outcomes, as words that are stored and counted."""

from __future__ import annotations

from dataclasses import dataclass

from backend.errors import (
    AddressBlocked,
    BadBody,
    BodyTooLarge,
    ConnectionFailed,
    DeadlinePassed,
    OurFault,
    OutboundError,
)

THROTTLING = frozenset({429, 502, 504})


@dataclass(frozen=True, slots=True)
class Outcome:
    """`word` is stored. `ours`: our own side failed, which neither counts as an attempt nor against the breaker.

    `is_unknown`: cut off before the answer was read; it counts as an attempt, and says nothing of the destination.
    """

    word: str
    is_success: bool = False
    is_gone: bool = False
    is_throttled: bool = False
    ours: bool = False
    is_unknown: bool = False


CUT_OFF = Outcome("outcome_unknown", is_unknown=True)


def judge_status(status: int) -> Outcome:
    """Sort an HTTP answer: only 2xx is success, a redirect is a failure, 410 ends the destination."""
    if 200 <= status < 300:
        return Outcome("delivered", is_success=True)
    if status == 410:
        return Outcome("gone", is_gone=True)
    if status in THROTTLING:
        return Outcome("throttled", is_throttled=True)
    if 300 <= status < 400:
        return Outcome("redirected")
    return Outcome("refused" if 400 <= status < 500 else "server_error")


_FAULTS: tuple[tuple[type[OutboundError], str], ...] = (
    (DeadlinePassed, "timeout"),
    (ConnectionFailed, "connection_failed"),
    (BodyTooLarge, "answer_too_large"),
    (BadBody, "bad_body"),
)


def judge_fault(error: OutboundError) -> Outcome:
    """Sort an exchange that gave no usable answer. A blocked address is a setting to mend, not the partner's fault."""
    if isinstance(error, AddressBlocked):
        return Outcome("address_blocked", ours=True)
    if isinstance(error, OurFault):
        return Outcome("our_fault", ours=True)
    return Outcome(next((word for kind, word in _FAULTS if isinstance(error, kind)), "connection_failed"))
