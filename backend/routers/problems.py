"""Every refusal as a problem document (RFC 9457): what is wrong, where, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from backend.domain.ids import new_id
from backend.errors import (
    BadInput,
    Conflict,
    LeaseLost,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OutboundError,
    PlatformError,
    ServiceError,
    SetupProblem,
    TooOften,
    TryLater,
    Unavailable,
)
from backend.routers.remedies import BAD_JSON, FALLBACK, explained
from backend.routers.rendering import page

MEDIA_TYPE = "application/problem+json"
ERRORS_SHOWN = 20
TOLD_TO_ALL = ("allow", "retry-after")  # headers of a refusal that a page has too
TEXT_SHOWN = 200  # characters of anything that came from the caller

# The first class in an error's ancestry that is listed here decides.
STATUSES: Mapping[type[Exception], int] = {
    BadInput: 422,
    NotFound: 404,
    Conflict: 409,
    LeaseLost: 409,
    NotSignedIn: 401,
    NotAllowed: 403,
    TooOften: 429,
    SetupProblem: 503,
    Unavailable: 503,
    PlatformError: 502,
    OutboundError: 502,
}
TITLES: Mapping[str, str] = {
    "bad_input": "The request cannot be carried out as it stands",
    "bad_json": "The body is not JSON that can be relied on",
    "bad_request": "The request is not HTTP",
    "body_too_large": "The body is too large",
    "conflict": "It clashes with what is already there",
    "headers_too_large": "The headers are too large",
    "lease_lost": "Somebody else is changing this right now",
    "method_not_allowed": "This address does not take this method",
    "not_allowed": "You may not do this",
    "not_found": "There is no such thing",
    "not_signed_in": "Say who you are",
    "our_bug": "This is our fault",
    "second_factor_needed": "The code of your second factor is needed",
    "setup_problem": "The installation is not set up for this",
    "unavailable": "Something the service needs does not answer",
    "too_busy": "Too many connections at once",
    "too_many_requests": "Too many requests",
    "too_slow": "The request took too long to arrive",
    "store_refused": "The store did not answer as it should",
    "wrong_media_type": "The body is of the wrong kind",
}
# What to do where an error does not say it itself.
REMEDIES: Mapping[int, str] = {
    401: "sign in, or send an API key: Authorization: Bearer crk_...",
    403: "ask an owner for that role, or for a key with it",
    404: "check the ids in the address",
    409: "read it again, then repeat the change",
    422: FALLBACK,
    429: "wait as long as Retry-After says",
}


class Fault(BaseModel):
    """One thing wrong with a request."""

    place: str = Field(description="Where it is: `body.name`, `query.limit`, `path.company_id`.")
    message: str
    remedy: str = Field(description="What to do about it.")


class Problem(BaseModel):
    """An RFC 9457 problem document. `type` points to its entry in the reference."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/docs#problem-not_found",
                "title": TITLES["not_found"],
                "status": 404,
                "detail": "there is no company c0ffee",
                "field": None,
                "remedy": "check the id in the address",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(None, description="The field to change, where there is one.")
    remedy: str | None = Field(None, description="What to do about it.")
    errors: list[Fault] = Field(default_factory=list, description="Each thing wrong with the request.")
    id: str | None = Field(None, description="Of a fault of ours: the id under which the log tells more.")


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """Return a problem document; `more` are its further members, left out when empty.

    Written as pure ASCII: text that came from the caller may hold lone surrogates, which UTF-8 cannot.
    """
    headers = more.pop("headers", None)
    members = {"type": f"/docs#problem-{code}", "title": TITLES[code], "status": status, "detail": detail}
    content = json.dumps(members | {name: value for name, value in more.items() if value})
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def of_error(error: ServiceError) -> Response:
    """Return the problem document of an error that was raised on purpose; ours for one the table does not know."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    if status == 500:
        return our_bug(error, "")
    code = error.code if error.code in TITLES else "store_refused"
    retry = error.retry_after if isinstance(error, TryLater | TooOften) else None
    message, place = str(error) or TITLES[code], getattr(error, "field", "")[:TEXT_SHOWN]
    remedy = getattr(error, "remedy", "") or REMEDIES.get(status, "")
    return problem(
        status,
        code,
        message,
        field=place,
        remedy=remedy,
        errors=[{"place": place, "message": message, "remedy": remedy}] if place else None,
        headers={"Retry-After": str(max(1, round(retry.total_seconds())))} if retry else None,
    )


def our_bug(error: BaseException, path: str) -> Response:
    """Log an error that nobody expected, with its trace, and return a document that names only the log's id."""
    fault = new_id()
    structlog.get_logger().error("request.failed", fault_id=fault, path=path[:TEXT_SHOWN], exc_info=error)
    return problem(
        500, "our_bug", "something went wrong on our side", id=fault, remedy="look for this id in the service's log"
    )


def of_faults(faults: Sequence[Mapping[str, Any]]) -> Response:
    """Return the problem document of a request that did not pass its validation."""
    errors = [_fault(fault) for fault in faults[:ERRORS_SHOWN]]
    first = errors[0]
    return problem(
        422,
        "bad_input",
        f"{first['place']}: {first['message']}",
        field=first["place"],
        remedy=first["remedy"],
        errors=errors,
    )


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    loc, message, remedy = explained(fault)
    place = ".".join(str(part) for part in loc)[:TEXT_SHOWN]
    return {"place": place, "message": message[:TEXT_SHOWN], "remedy": remedy[: 2 * TEXT_SHOWN]}


def unreadable(message: str, remedy: str, place: str = "body") -> Response:
    """Return the problem document of a body that is no JSON, or whose JSON is not to be relied on."""
    errors = [{"place": place[:TEXT_SHOWN], "message": message, "remedy": remedy}]
    return problem(400, "bad_json", message, field=place[:TEXT_SHOWN], remedy=remedy, errors=errors)


def allowed_methods(request: Request) -> str:
    """Return every method that the request's address takes; the framework tells those of one route only."""
    path = getattr(request.scope.get("route"), "path", "")
    return ", ".join(sorted(set(_methods(request.scope["app"].routes, path)))) or "GET, HEAD"  # files tell of none


def _methods(routes: Iterable[Any], path: str) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _methods(inner.routes, path)
        elif getattr(route, "path", None) == path:
            yield from getattr(route, "methods", None) or ()


def of_http(error: HTTPException, request: Request) -> Response:
    """Return the problem document of what the framework refused."""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return problem(404, "not_found", "there is nothing at this address", remedy="see /docs for what there is")
    if error.status_code == 405:
        allowed = allowed_methods(request)
        said, headers = f"this address takes {allowed}", headers | {"Allow": allowed}
        return problem(405, "method_not_allowed", said, remedy=f"use {allowed}", headers=headers)
    if error.status_code == 400:
        return unreadable("the body cannot be read", BAD_JSON)
    if error.status_code < 500:
        detail = str(error.detail or HTTPStatus(error.status_code).phrase)
        return problem(error.status_code, "bad_input", detail, remedy=REMEDIES.get(error.status_code, FALLBACK))
    return our_bug(error, "")


def _for_reader(request: Request, answer: Response) -> Response:
    """Return a problem document, or a page that says the same to whoever looks with a browser."""
    if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/api/"):
        return answer
    said = json.loads(bytes(answer.body))
    words = ". ".join(filter(None, (said["detail"], said.get("remedy"))))
    made = page("refused.html", answer.status_code, here="", title=said["title"], words=words)
    made.headers.update({name: answer.headers[name] for name in TOLD_TO_ALL if name in answer.headers})
    return made


def add_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    async def service_error(request: Request, error: Exception) -> Response:
        answer = of_error(error) if isinstance(error, ServiceError) else our_bug(error, "")
        return _for_reader(request, answer)

    async def faults(request: Request, error: Exception) -> Response:
        answer = of_faults(error.errors()) if isinstance(error, RequestValidationError) else our_bug(error, "")
        return _for_reader(request, answer)

    async def http_error(request: Request, error: Exception) -> Response:
        answer = of_http(error, request) if isinstance(error, HTTPException) else our_bug(error, "")
        return _for_reader(request, answer)

    app.add_exception_handler(ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, faults)
    app.add_exception_handler(HTTPException, http_error)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of a route's refusals, for its `responses`; one that takes a body (413) has two more."""
    said = {
        400: "The body cannot be read as JSON.",
        401: "The caller is not signed in.",
        403: "The caller's role, or the scope of its key, does not reach so far.",
        404: "There is no such thing in this company.",
        409: "It clashes with what is already there.",
        413: "The body is larger than 1 MiB.",
        415: "The body is not sent as JSON.",
        422: "A field or parameter is missing, unknown or out of range; the document names it.",
        429: "The caller, or all callers of the company, asked too often; `Retry-After` says when to ask again.",
        502: "The store or partner did not answer as it should.",
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": said[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({401, 403, 422, 429, *statuses, *({400, 415} if 413 in statuses else ())})
    }
