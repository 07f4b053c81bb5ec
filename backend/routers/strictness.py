"""Every API route refuses what it would otherwise ignore: unknown or repeated parameters, a body it never reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

EMPTY_BODIES = frozenset({b"", b"{}", b"null"})
Fault = dict[str, Any]


async def refuse_ignored(request: Request) -> None:
    """Refuse what the route takes no notice of. Raises `RequestValidationError` with each such thing."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    known = list(dict.fromkeys(_query_names(route.dependant)))
    faults = list(_query_faults(request, known))
    if route.body_field is None and (await request.body()).strip() not in EMPTY_BODIES:
        instead = f"send no body; put {' and '.join(known)} into the address" if known else "send no body"
        faults.append(_fault("body_not_taken", ("body",), instead=instead))
    if faults:
        raise RequestValidationError(faults)


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters of a route and of what it depends on. None takes more than one value."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _query_faults(request: Request, known: list[str]) -> Iterator[Fault]:
    told = f"use only {', '.join(known)}" if known else "remove it; this address takes no parameters"
    for name in request.query_params:
        if name not in known:
            yield _fault("unknown_parameter", ("query", name), known=told)
        elif len(request.query_params.getlist(name)) > 1:
            yield _fault("repeated_parameter", ("query", name))


def _fault(kind: str, place: tuple[str, ...], **context: str) -> Fault:
    return {"type": kind, "loc": place, "msg": kind, "ctx": context}


STRICT = [Depends(refuse_ignored)]
