"""Pages where people sign in, come with a link, and look after their own account."""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from backend.domain.people import SHORTEST
from backend.errors import BadInput, Conflict, NotAllowed, NotSignedIn, SecondFactorNeeded, ServiceError, TooOften
from backend.routers.deps import Using
from backend.routers.guard import MyVisit, needs
from backend.routers.rendering import page
from backend.routers.visits import Cookies, Visit, address_of, form_fields, own_page, visitor
from backend.services.invitations import Joining
from backend.services.second_factor import Enrolment
from backend.services.wiring import Services

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

OWN_PAGE = [Depends(own_page)]
SAID = {
    "joined": ("good", "Welcome. Sign in with the password you have just set."),
    "out": ("calm", "You are signed out."),
    "password": ("good", "The password is changed. Every other session has ended."),
    "ended": ("good", "The session has ended."),
    "no_factor": ("good", "The second factor is taken away."),
}
REFUSED = (BadInput, Conflict, NotAllowed, NotSignedIn, TooOften)


def said_of(name: str) -> dict[str, str] | None:
    """Return what a button just did, in words."""
    kind, words = SAID.get(name, ("", ""))
    return {"kind": kind, "words": words} if words else None


def refused(error: ServiceError) -> dict[str, str]:
    """Return why something was not done, in words."""
    remedy = getattr(error, "remedy", "")
    return {"kind": "bad", "words": f"{_sentence(str(error))} {_sentence(remedy)}".strip()}


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def inward(place: str) -> str:
    """Return the place on this site to go to after signing in; the console for anything else."""
    is_inside = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if is_inside else "/"


@router.get("/sign-in")
async def show_sign_in(
    services: Using,
    next: Annotated[str, Query(max_length=400)] = "/",  # noqa: A002  the parameter's name in the address
    said: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Show the form to sign in, or how the first owner is made."""
    return await _sign_in_page(services, said_of(said), next)


async def _sign_in_page(
    services: Services, said: dict[str, str] | None, place: str, code: int = 200, **fields: Any
) -> Response:
    context = {"email": "", "wants_code": False} | fields
    return page(
        "sign_in.html", code, here="", said=said, next=inward(place), is_new=await services.people.is_empty(), **context
    )


@router.post("/sign-in", dependencies=OWN_PAGE)
async def press_sign_in(request: Request, services: Using) -> Response:
    """Sign in from the form; the session is kept in cookies."""
    form = await form_fields(request)
    email, place = form.get("email", ""), form.get("next", "/")
    try:
        signed = await services.sessions.sign_in(
            email, form.get("password", ""), form.get("code", ""), visitor(request, "browser")
        )
    except (NotSignedIn, TooOften) as error:
        wants_code = isinstance(error, SecondFactorNeeded)
        status = 429 if isinstance(error, TooOften) else 401
        return await _sign_in_page(services, refused(error), place, status, email=email, wants_code=wants_code)
    answer = RedirectResponse(inward(place), status_code=303)
    answer.raw_headers.extend(Cookies(services.settings).keep(signed, services.clock.now()))
    return answer


@router.post("/sign-out", dependencies=needs(None))
async def press_sign_out(services: Using, me: MyVisit) -> Response:
    """End this browser's session."""
    await services.sessions.end(me.caller.id, me.session_id)
    answer = RedirectResponse("/sign-in?said=out", status_code=303)
    answer.raw_headers.extend(Cookies(services.settings).drop())
    return answer


@router.get("/join")
async def show_join() -> Response:
    """Show the form for whoever comes with a link. Its code stands behind the #, where only the browser sees it."""
    return page("join.html", here="", said=None, name="", given="", shortest=SHORTEST)


@router.post("/join", dependencies=OWN_PAGE)
async def press_join(request: Request, services: Using) -> Response:
    """Use the link up, then go and sign in."""
    form = await form_fields(request)
    name = form.get("name", "")
    try:
        await services.invitations.join(Joining(form.get("code", ""), name, form.get("password", "")))
    except REFUSED as error:
        given = form.get("code", "")
        return page("join.html", 422, here="", said=refused(error), name=name, given=given, shortest=SHORTEST)
    return RedirectResponse("/sign-in?said=joined", status_code=303)


@router.get("/account", dependencies=needs(None))
async def show_account(services: Using, me: MyVisit, said: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Show one's own account."""
    return await _account_page(services, me, said_of(said))


async def _account_page(
    services: Services, me: Visit, said: dict[str, str] | None, code: int = 200, **more: Any
) -> Response:
    context: dict[str, Any] = {"enrolment": None, "picture": "", "recovery_codes": None} | more
    person = await services.people.load(me.caller.id)
    sessions = await services.sessions.list(me.caller.id, limit=100)
    names = await services.people.company_names([grant.company_id for grant in person.grants if grant.company_id])
    return page(
        "account.html", code, here="/account", said=said, person=person, sessions=sessions.items, names=names,
        now=services.clock.now(), shortest=SHORTEST, **context,
    )  # fmt: skip


@router.post("/account/password", dependencies=needs(None))
async def press_password(request: Request, services: Using, me: MyVisit) -> Response:
    """Change one's own password."""
    form = await form_fields(request)
    old, new = form.get("password", ""), form.get("new_password", "")
    try:
        await services.people.change_password(me.caller.id, me.session_id, old, new, address_of(request))
    except REFUSED as error:
        return await _account_page(services, me, refused(error), 422)
    return RedirectResponse("/account?said=password", status_code=303)


@router.post("/account/second-factor", dependencies=needs(None))
async def press_second_factor(request: Request, services: Using, me: MyVisit) -> Response:
    """Begin a second factor: show its secret as a picture for the app."""
    password = (await form_fields(request)).get("password", "")
    try:
        enrolment = await services.people.begin_second_factor(me.caller.id, password, address_of(request))
    except REFUSED as error:
        return await _account_page(services, me, refused(error), 422)
    return await _account_page(services, me, None, enrolment=enrolment, picture=_picture(enrolment))


def _picture(enrolment: Enrolment) -> str:
    return segno.make(enrolment.uri, error="m").svg_data_uri(scale=4, border=3, light="#ffffff")


@router.post("/account/second-factor/confirm", dependencies=needs(None))
async def press_confirm(request: Request, services: Using, me: MyVisit) -> Response:
    """Switch the second factor on with a first code, and show the recovery codes this once."""
    try:
        codes = await services.people.confirm_second_factor(me.caller.id, (await form_fields(request)).get("code", ""))
    except REFUSED as error:
        waiting = await services.people.waiting_second_factor(me.caller.id)
        more = {"enrolment": waiting, "picture": _picture(waiting)} if waiting else {}
        return await _account_page(services, me, refused(error), 422, **more)
    return await _account_page(services, me, None, recovery_codes=codes)


@router.post("/account/second-factor/remove", dependencies=needs(None))
async def press_remove(request: Request, services: Using, me: MyVisit) -> Response:
    """Take the second factor away."""
    password = (await form_fields(request)).get("password", "")
    try:
        await services.people.remove_second_factor(me.caller.id, password, address_of(request))
    except REFUSED as error:
        return await _account_page(services, me, refused(error), 422)
    return RedirectResponse("/account?said=no_factor", status_code=303)


@router.post("/account/sessions/end", dependencies=needs(None))
async def press_end_session(request: Request, services: Using, me: MyVisit) -> Response:
    """End one of one's own sessions."""
    await services.sessions.end(me.caller.id, (await form_fields(request)).get("session_id", ""))
    return RedirectResponse("/account?said=ended", status_code=303)
