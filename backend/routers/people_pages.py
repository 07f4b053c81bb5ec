"""The page where owners see who may sign in, invite, give and take roles: for all companies, or for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from backend.domain.access import ORDER, Role
from backend.errors import BadInput, Conflict, NotAllowed, NotFound
from backend.routers.account_pages import refused
from backend.routers.deps import CompanyId, Using
from backend.routers.guard import OWNER, Me, needs
from backend.routers.rendering import page
from backend.routers.visits import form_fields
from backend.services.invitations import InvitationDraft, MadeLink
from backend.services.wiring import Services

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

OF_COMPANY = "/companies/{company_id}/people"
REFUSED = (BadInput, Conflict, NotAllowed, NotFound)
SAID = {
    "role": "The role is changed. It counts at once.",
    "disabled": "The person is shut out; their sessions have ended.",
    "enabled": "The person may sign in again.",
    "out": "The person's sessions have ended.",
    "no_factor": "The second factor is taken away; the person's sessions have ended.",
    "withdrawn": "The invitation is taken back.",
}
SHOWN = 200  # people on one page


@router.get("/people", dependencies=needs(OWNER))
async def show_people(services: Using, said: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Show everybody."""
    return await _page(services, None, _told(said))


@router.get(OF_COMPANY, dependencies=needs(OWNER))
async def show_people_of_company(
    services: Using, company_id: CompanyId, said: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """Show who has a role in one company."""
    return await _page(services, company_id, _told(said))


def _told(said: str) -> dict[str, str] | None:
    return {"kind": "good", "words": SAID[said]} if said in SAID else None


async def _page(
    services: Services,
    company_id: str | None,
    said: dict[str, str] | None,
    made: MadeLink | None = None,
    code: int = 200,
) -> Response:
    people = await services.people.list_page(company_id, limit=SHOWN)
    invitations = await services.invitations.list(company_id, limit=SHOWN)
    ids = {grant.company_id for person in people.items for grant in person.grants if grant.company_id}
    names = await services.people.company_names([*ids, *([company_id] if company_id else [])])
    companies = () if company_id else (await services.companies.list(limit=SHOWN)).items
    return page(
        "people.html", code, here="/people", said=said, made=made, people=people, invitations=invitations, names=names,
        companies=companies,
        company_id=company_id, address=_address(company_id), roles=ORDER, now=services.clock.now(),
    )  # fmt: skip


def _address(company_id: str | None) -> str:
    return "/people" if company_id is None else f"/companies/{company_id}/people"


async def _done(services: Services, company_id: str | None, deed: Callable[[], Awaitable[Any]], said: str) -> Response:
    """Do what a button says, then show the page again; or show why it was not done."""
    try:
        await deed()
    except REFUSED as error:
        return await _page(services, company_id, refused(error), code=422)
    return RedirectResponse(f"{_address(company_id)}?said={said}", status_code=303)


async def _invite(request: Request, services: Services, company_id: str | None, me: Me) -> Response:
    form = await form_fields(request)
    try:
        draft = InvitationDraft(email=form.get("email", ""), role=Role(form.get("role", "")))
        company_id = company_id or form.get("company_id") or None
        made = await services.invitations.invite(company_id, draft, me)
    except (ValidationError, ValueError):
        wrong = BadInput("an e-mail address and a role are needed")
        return await _page(services, company_id, refused(wrong), code=422)
    except REFUSED as error:
        return await _page(services, company_id, refused(error), code=422)
    return await _page(services, company_id, None, made)


async def _set_role(request: Request, services: Services, company_id: str | None, me: Me) -> Response:
    form = await form_fields(request)
    role = Role(form["role"]) if form.get("role") in set(Role) else None
    person = form.get("person_id", "")
    return await _done(services, company_id, lambda: services.people.set_role(company_id, person, role, me), "role")


async def _withdraw(request: Request, services: Services, company_id: str | None) -> Response:
    link = (await form_fields(request)).get("invitation_id", "")
    return await _done(services, company_id, lambda: services.invitations.withdraw(company_id, link), "withdrawn")


@router.post("/people/invite", dependencies=needs(OWNER))
async def press_invite(request: Request, services: Using, me: Me) -> Response:
    """Invite somebody to all companies; the link is shown this once."""
    return await _invite(request, services, None, me)


@router.post(f"{OF_COMPANY}/invite", dependencies=needs(OWNER))
async def press_invite_to_company(request: Request, services: Using, me: Me, company_id: CompanyId) -> Response:
    """Invite somebody to one company; the link is shown this once."""
    return await _invite(request, services, company_id, me)


@router.post("/people/role", dependencies=needs(OWNER))
async def press_role(request: Request, services: Using, me: Me) -> Response:
    """Change somebody's role over all companies."""
    return await _set_role(request, services, None, me)


@router.post(f"{OF_COMPANY}/role", dependencies=needs(OWNER))
async def press_role_in_company(request: Request, services: Using, me: Me, company_id: CompanyId) -> Response:
    """Change somebody's role in one company."""
    return await _set_role(request, services, company_id, me)


@router.post("/people/withdraw", dependencies=needs(OWNER))
async def press_withdraw(request: Request, services: Using) -> Response:
    """Take an invitation to all companies back."""
    return await _withdraw(request, services, None)


@router.post(f"{OF_COMPANY}/withdraw", dependencies=needs(OWNER))
async def press_withdraw_of_company(request: Request, services: Using, company_id: CompanyId) -> Response:
    """Take an invitation to one company back."""
    return await _withdraw(request, services, company_id)


@router.post("/people/disable", dependencies=needs(OWNER))
async def press_disable(request: Request, services: Using, me: Me) -> Response:
    """Shut a person out."""
    person = (await form_fields(request)).get("person_id", "")
    return await _done(services, None, lambda: services.people.disable(person, me), "disabled")


@router.post("/people/enable", dependencies=needs(OWNER))
async def press_enable(request: Request, services: Using, me: Me) -> Response:
    """Let a person in again."""
    person = (await form_fields(request)).get("person_id", "")
    return await _done(services, None, lambda: services.people.enable(person, me), "enabled")


@router.post("/people/sign-out", dependencies=needs(OWNER))
async def press_sign_out_person(request: Request, services: Using) -> Response:
    """End a person's sessions."""
    person = (await form_fields(request)).get("person_id", "")
    return await _done(services, None, lambda: services.people.sign_out(person), "out")


@router.post("/people/second-factor", dependencies=needs(OWNER))
async def press_forget(request: Request, services: Using, me: Me) -> Response:
    """Take away the second factor of a person who lost it."""
    person = (await form_fields(request)).get("person_id", "")
    return await _done(services, None, lambda: services.people.forget_second_factor(person, me), "no_factor")


@router.post("/people/reset", dependencies=needs(OWNER))
async def press_reset(request: Request, services: Using, me: Me) -> Response:
    """Make a link for a new password; it is shown this once."""
    person = (await form_fields(request)).get("person_id", "")
    return await _page(services, None, None, await services.invitations.reset(person, me))
