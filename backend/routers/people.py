"""People over the API: who may sign in, their roles, invitations. For owners."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from backend.domain.access import Role
from backend.routers.account import PersonAnswer
from backend.routers.deps import CompanyId, InvitationId, Page, PersonId, Using
from backend.routers.guard import OWNER, Me, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.services.drafts import Draft
from backend.services.invitations import InvitationDraft, MadeLink
from backend.services.pages import Page as Listed
from backend.services.people import Person
from backend.store.links import LinkRow

router = APIRouter(prefix="/api/v1", tags=["people"])
OF_COMPANY = "/companies/{company_id}"


class NewInvitation(Storable, InvitationDraft):
    """Somebody to be let in."""

    model_config = ConfigDict(json_schema_extra={"example": {"email": "ada@example.com", "role": "operator"}})


class NewRole(Storable, Draft):
    """A role in place of the one that the person has there; null takes it away."""

    role: Role | None


class PersonList(Answer):
    """One page of people."""

    items: list[PersonAnswer]
    next: Next


class LinkAnswer(Answer):
    """An invitation that can still be used, or a link for a new password."""

    id: str
    kind: str = Field(description="invitation or reset.", examples=["invitation"])
    email: str
    role: Role | None
    company_id: str | None = Field(description="Null: all companies, and the installation itself.")
    created_by: str
    created_at: datetime
    expires_at: datetime


class LinkList(Answer):
    """One page of invitations."""

    items: list[LinkAnswer]
    next: Next


class MadeLinkAnswer(Answer):
    """A link that was just made: `url` is shown this once. Hand it to the person; it works once."""

    link: LinkAnswer
    url: str = Field(examples=["https://carts.example.com/join#..."])


class SignedOut(Answer):
    """How many sessions were ended."""

    sessions: int


@router.get(
    "/people",
    summary="List everybody",
    response_model=PersonList,
    responses=problems(),
    dependencies=guard(OWNER),
)
async def list_people(services: Using, page: Page) -> Listed[Person]:
    """List everybody who has an account, newest first, with all their roles."""
    return await services.people.list_page(None, limit=page.limit, after=page.after)


@router.get(
    "/people/{person_id}",
    summary="Show a person",
    response_model=PersonAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def show_person(services: Using, person_id: PersonId) -> Person:
    """Show a person with all their roles."""
    return await services.people.load(person_id)


@router.put(
    "/people/{person_id}/role",
    summary="Give or take a role over all companies",
    response_model=PersonAnswer,
    responses=problems(404, 409, 413),
    dependencies=guard(OWNER),
)
async def set_role(services: Using, me: Me, person_id: PersonId, body: NewRole) -> Person:
    """Give a person a role in all companies and the installation, or take theirs away. It counts at once."""
    return await services.people.set_role(None, person_id, body.role, me)


@router.post(
    "/people/{person_id}/disable",
    summary="Shut a person out",
    response_model=PersonAnswer,
    responses=problems(404, 409),
    dependencies=guard(OWNER),
)
async def disable_person(services: Using, me: Me, person_id: PersonId) -> Person:
    """End all sessions of a person and let them in no more. Invitations that they made are taken back."""
    return await services.people.disable(person_id, me)


@router.post(
    "/people/{person_id}/enable",
    summary="Let a person in again",
    response_model=PersonAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def enable_person(services: Using, me: Me, person_id: PersonId) -> Person:
    """Undo a disabling. Roles are as they were."""
    return await services.people.enable(person_id, me)


@router.post(
    "/people/{person_id}/sign-out",
    summary="End a person's sessions",
    response_model=SignedOut,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def sign_out_person(services: Using, person_id: PersonId) -> dict[str, int]:
    """End all sessions of a person, at once. They may sign in again."""
    return {"sessions": await services.people.sign_out(person_id)}


@router.post(
    "/people/{person_id}/reset",
    status_code=201,
    summary="Make a link for a new password",
    response_model=MadeLinkAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def reset_password(services: Using, me: Me, person_id: PersonId) -> MadeLink:
    """Make a link with which a person sets a new password, within an hour. Their sessions end when it is used."""
    return await services.invitations.reset(person_id, me)


@router.delete(
    "/people/{person_id}/second-factor",
    summary="Take a lost second factor away",
    response_model=PersonAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def forget_second_factor(services: Using, me: Me, person_id: PersonId) -> Person:
    """Take away the second factor of a person who lost it. Their sessions end."""
    return await services.people.forget_second_factor(person_id, me)


@router.get(
    "/invitations",
    summary="List open invitations to all companies",
    response_model=LinkList,
    responses=problems(),
    dependencies=guard(OWNER),
)
async def list_invitations(services: Using, page: Page) -> Listed[LinkRow]:
    """List the invitations for all companies that can still be used, newest first."""
    return await services.invitations.list(None, limit=page.limit, after=page.after)


@router.post(
    "/invitations",
    status_code=201,
    summary="Invite somebody to all companies",
    response_model=MadeLinkAnswer,
    responses=problems(413),
    dependencies=guard(OWNER),
)
async def invite(services: Using, me: Me, invitation: NewInvitation) -> MadeLink:
    """Make a link that gives a role in all companies and the installation. It works once, for seven days."""
    return await services.invitations.invite(None, invitation, me)


@router.delete(
    "/invitations/{invitation_id}",
    status_code=204,
    summary="Take an invitation back",
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def withdraw_invitation(services: Using, invitation_id: InvitationId) -> Response:
    """Take an invitation to all companies back before it is used."""
    await services.invitations.withdraw(None, invitation_id)
    return Response(status_code=204)


@router.get(
    f"{OF_COMPANY}/people",
    summary="List a company's people",
    response_model=PersonList,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def list_people_of_company(services: Using, company_id: CompanyId, page: Page) -> Listed[Person]:
    """List who has a role in this company by name, newest first; not who has one in all companies."""
    return await services.people.list_page(company_id, limit=page.limit, after=page.after)


@router.put(
    f"{OF_COMPANY}/people/{{person_id}}/role",
    summary="Give or take a role in a company",
    response_model=PersonAnswer,
    responses=problems(404, 413),
    dependencies=guard(OWNER),
)
async def set_role_in_company(
    services: Using, me: Me, company_id: CompanyId, person_id: PersonId, body: NewRole
) -> Person:
    """Give a person another role in this company, or take theirs away. It counts at once."""
    return await services.people.set_role(company_id, person_id, body.role, me)


@router.get(
    f"{OF_COMPANY}/invitations",
    summary="List a company's open invitations",
    response_model=LinkList,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def list_invitations_of_company(services: Using, company_id: CompanyId, page: Page) -> Listed[LinkRow]:
    """List the invitations to this company that can still be used, newest first."""
    return await services.invitations.list(company_id, limit=page.limit, after=page.after)


@router.post(
    f"{OF_COMPANY}/invitations",
    status_code=201,
    summary="Invite somebody to a company",
    response_model=MadeLinkAnswer,
    responses=problems(404, 413),
    dependencies=guard(OWNER),
)
async def invite_to_company(services: Using, me: Me, company_id: CompanyId, invitation: NewInvitation) -> MadeLink:
    """Make a link that gives a role in this company and no other. It works once, for seven days."""
    return await services.invitations.invite(company_id, invitation, me)


@router.delete(
    f"{OF_COMPANY}/invitations/{{invitation_id}}",
    status_code=204,
    summary="Take a company's invitation back",
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def withdraw_invitation_of_company(
    services: Using, company_id: CompanyId, invitation_id: InvitationId
) -> Response:
    """Take an invitation to this company back before it is used."""
    await services.invitations.withdraw(company_id, invitation_id)
    return Response(status_code=204)
