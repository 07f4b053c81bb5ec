"""A person's own account over the API: sign in, stay signed in, sessions, password, second factor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.domain.access import Role
from backend.domain.people import LONGEST
from backend.routers.deps import Page, SessionId, Using
from backend.routers.guard import MyVisit, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.routers.strictness import STRICT
from backend.routers.visits import address_of, visitor
from backend.services.invitations import Joining
from backend.services.pages import Page as Listed
from backend.services.people import Person
from backend.services.second_factor import Enrolment
from backend.services.sessions import Signed
from backend.store.sessions import SessionRow

router = APIRouter(prefix="/api/v1/account", tags=["account"])

Email = Annotated[str, StringConstraints(min_length=3, max_length=254)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
Code = Annotated[str, StringConstraints(max_length=40)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class Strict(Storable, BaseModel):
    """Base of these bodies: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SigningIn(Strict):
    """Who signs in. `code`: of the second factor, or a recovery code, where the account has one."""

    email: Email = Field(examples=["ada@example.com"])
    password: Password
    code: Code = ""


class Refreshing(Strict):
    """A refresh token, which is used up by this."""

    refresh_token: Token


class Arriving(Strict):
    """Somebody with a link. `code` is what stands behind the # of it; `name` is not needed for a new password."""

    code: Token
    name: str = Field("", max_length=200, examples=["Ada Lovelace"])
    password: Password = Field(description="A new one; or, for an address that has an account, its own.")


class PasswordChange(Strict):
    """A new password, with the present one as proof."""

    password: Password
    new_password: Password


class Proof(Strict):
    """The password once more: a session left open is not enough for this."""

    password: Password


class FirstCode(Strict):
    """A code that the authenticator app shows."""

    code: Code


class TokensAnswer(Answer):
    """A session's tokens. Send the first with each request (Authorization: Bearer ...), the other to get new ones."""

    session_id: str
    access_token: str
    token_type: str = Field("Bearer")
    expires_in: int = Field(description="Seconds that the access token is good for.", examples=[900])
    refresh_token: str = Field(description="Good for one use; used twice, it ends the session.")


class GrantAnswer(Answer):
    """A role in a company."""

    role: Role
    company_id: str | None = Field(description="Null: all companies, and the installation itself.")


class PersonAnswer(Answer):
    """A person who may sign in."""

    id: str
    email: str
    name: str
    grants: list[GrantAnswer]
    has_second_factor: bool
    state: str = Field(description="active or disabled.", examples=["active"])
    created_at: datetime


class SessionAnswer(Answer):
    """A live session."""

    id: str
    kind: str = Field(description="browser or token.", examples=["browser"])
    client: str = Field(description="What the program said it is.")
    address: str = Field(examples=["203.0.113.7"])
    created_at: datetime
    rotated_at: datetime = Field(description="When it was last used, to a quarter of an hour.")
    expires_at: datetime
    is_current: bool = Field(description="Whether this request belongs to it.")


class SessionList(Answer):
    """One page of sessions."""

    items: list[SessionAnswer]
    next: Next


class EnrolmentAnswer(Answer):
    """A secret for an authenticator app. It counts once a code of it was sent to `/confirm`."""

    secret: str
    uri: str = Field(examples=["otpauth://totp/..."])


class RecoveryCodes(Answer):
    """Codes for the day the phone is gone, each good for one time. They are shown this once."""

    recovery_codes: list[str]


class Joined(Answer):
    """Whom a link let in."""

    person_id: str


@router.post(
    "/sign-in",
    status_code=201,
    summary="Sign in",
    response_model=TokensAnswer,
    responses=problems(413),
    dependencies=STRICT,
)
async def sign_in(request: Request, services: Using, body: SigningIn) -> dict[str, Any]:
    """Begin a session with e-mail address and password, and a code where the account has a second factor."""
    signed = await services.sessions.sign_in(body.email, body.password, body.code, visitor(request, "token"))
    return _tokens(signed, services.clock.now())


@router.post(
    "/refresh",
    summary="Get new tokens",
    response_model=TokensAnswer,
    responses=problems(413),
    dependencies=STRICT,
)
async def refresh(services: Using, body: Refreshing) -> dict[str, Any]:
    """Exchange a refresh token for new tokens. Sent twice, it ends the session: somebody has a copy."""
    return _tokens(await services.sessions.refresh(body.refresh_token), services.clock.now())


@router.post(
    "/join",
    status_code=201,
    summary="Use a link",
    response_model=Joined,
    responses=problems(409, 413),
    dependencies=STRICT,
)
async def join(services: Using, body: Arriving) -> dict[str, str]:
    """Come in with an invitation, or set a new password with a link for that. Each link works once."""
    return {"person_id": await services.invitations.join(Joining(body.code, body.name, body.password))}


@router.get("", summary="Who am I", response_model=PersonAnswer, responses=problems(), dependencies=guard(None))
async def show_account(services: Using, me: MyVisit) -> Person:
    """Return one's own account with its roles."""
    return await services.people.load(me.caller.id)


@router.get(
    "/sessions",
    summary="List my sessions",
    response_model=SessionList,
    responses=problems(),
    dependencies=guard(None),
)
async def list_sessions(services: Using, me: MyVisit, page: Page) -> dict[str, Any]:
    """List one's own live sessions, newest first."""
    found: Listed[SessionRow] = await services.sessions.list(me.caller.id, limit=page.limit, after=page.after)
    items = [
        {name: getattr(row, name) for name in SessionAnswer.model_fields if name != "is_current"}
        | {"is_current": row.id == me.session_id}
        for row in found.items
    ]
    return {"items": items, "next": found.next}


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End a session",
    responses=problems(404),
    dependencies=guard(None),
)
async def end_session(services: Using, me: MyVisit, session_id: SessionId) -> Response:
    """End one of one's own sessions, at once; the present one too, which is to sign out."""
    await services.sessions.end(me.caller.id, session_id)
    return Response(status_code=204)


@router.put(
    "/password",
    status_code=204,
    summary="Change my password",
    responses=problems(413),
    dependencies=guard(None),
)
async def change_password(request: Request, services: Using, me: MyVisit, body: PasswordChange) -> Response:
    """Set a new password. Every other session ends."""
    await services.people.change_password(
        me.caller.id, me.session_id, body.password, body.new_password, address_of(request)
    )
    return Response(status_code=204)


@router.post(
    "/second-factor",
    status_code=201,
    summary="Begin a second factor",
    response_model=EnrolmentAnswer,
    responses=problems(409, 413),
    dependencies=guard(None),
)
async def begin_second_factor(request: Request, services: Using, me: MyVisit, body: Proof) -> Enrolment:
    """Make a secret for an authenticator app (RFC 6238: SHA-1, 6 digits, 30 s). It waits for its first code."""
    return await services.people.begin_second_factor(me.caller.id, body.password, address_of(request))


@router.post(
    "/second-factor/confirm",
    status_code=201,
    summary="Switch a second factor on",
    response_model=RecoveryCodes,
    responses=problems(409, 413),
    dependencies=guard(None),
)
async def confirm_second_factor(services: Using, me: MyVisit, body: FirstCode) -> dict[str, list[str]]:
    """Show a first code of the app. From now on a password alone does not sign in."""
    return {"recovery_codes": await services.people.confirm_second_factor(me.caller.id, body.code)}


@router.post(
    "/second-factor/remove",
    status_code=204,
    summary="Take my second factor away",
    responses=problems(413),
    dependencies=guard(None),
)
async def remove_second_factor(request: Request, services: Using, me: MyVisit, body: Proof) -> Response:
    """Take the second factor away; taking it away twice does no harm."""
    await services.people.remove_second_factor(me.caller.id, body.password, address_of(request))
    return Response(status_code=204)


def _tokens(signed: Signed, now: datetime) -> dict[str, Any]:
    return {
        "session_id": signed.session_id,
        "access_token": signed.access,
        "token_type": "Bearer",
        "expires_in": int((signed.access_until - now).total_seconds()),
        "refresh_token": signed.refresh,
    }
