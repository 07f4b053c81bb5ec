"""InvitationService: people come by signed links that work once, and get back in by such links."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.access import Caller, Grant, Role
from backend.domain.acting import acting_as
from backend.domain.audit import INSTALLATION
from backend.domain.ids import new_id
from backend.domain.people import LinkKind, check_password, read_email, read_password
from backend.errors import BadInput, Conflict, NotAllowed, NotFound
from backend.services.audit import note
from backend.services.companies import found_company
from backend.services.drafts import Draft
from backend.services.pages import Page, slice_of
from backend.services.passwords import Passwords
from backend.services.people import check_lasting
from backend.services.throttle import Throttle
from backend.services.tokens import Token, TokenKind, Tokens
from backend.store.links import LinkRow, LinkStore
from backend.store.people import PeopleStore, PersonRow
from backend.store.sessions import SessionStore

JOINING = "by link"  # in the place of an address: all who come with links count together
USED_UP = "the link has been used, was taken back, or is too old"


class InvitationDraft(Draft):
    """Somebody to be let in."""

    email: str = Field(min_length=3, max_length=254)
    role: Role


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A link that was just made. `url` is shown this once; its code stands behind the #, which no server is sent."""

    link: LinkRow
    url: str

    def __repr__(self) -> str:
        """Leave the link out of every log line and traceback."""
        return f"MadeLink({self.link.id!r})"


@dataclass(frozen=True, slots=True)
class Joining:
    """What somebody with a link tells of themselves. Whoever has an account already gives its password."""

    code: str
    name: str
    password: str


class InvitationService:
    """Makes links, lists and takes them back, and lets in whoever comes with one."""

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, tokens: Tokens, throttle: Throttle
    ) -> None:
        self._database = database
        self._clock = clock
        self._join_url = settings.app_url.rstrip("/") + "/join"
        self._tokens = tokens
        self._throttle = throttle
        self._passwords = Passwords()

    async def invite(self, company_id: str | None, draft: InvitationDraft, caller: Caller) -> MadeLink:
        """Make a link that gives its user a role in a company, or in all (None).

        Raises `BadInput`, `NotFound`, `NotAllowed`.
        """
        check_lasting(caller)
        async with self._database.work() as tx:
            if company_id is not None:
                await found_company(tx, company_id)
            row = self._row(LinkKind.INVITATION, read_email(draft.email), caller, draft.role, company_id)
            await LinkStore(tx).add(row)
            made = await self._made(tx, row)
            await note(tx, company_id or INSTALLATION, row.created_at, "person.invited", row.id, role=draft.role.value)
            return made

    async def reset(self, person_id: str, caller: Caller) -> MadeLink:
        """Make a link that sets a new password; an older one no longer works. Raises `NotFound`, `NotAllowed`."""
        check_lasting(caller)
        async with self._database.work() as tx:
            person = await PeopleStore(tx).load(person_id)
            if person is None:
                raise NotFound(f"there is no person {person_id}")
            row = self._row(LinkKind.RESET, person.email, caller)
            await LinkStore(tx).withdraw_resets(person.email, row.created_at)
            await LinkStore(tx).add(row)
            made = await self._made(tx, row)
            await note(tx, INSTALLATION, row.created_at, "password.reset_offered", person_id)
            return made

    async def list(self, company_id: str | None, *, limit: int = 50, after: str | None = None) -> Page[LinkRow]:
        """Return the invitations that can still be used, newest first. Raises `BadInput`, `NotFound`."""
        cut = slice_of(limit, after)
        async with self._database.overview() as tx:
            if company_id is not None:
                await found_company(tx, company_id)
            kind, now = LinkKind.INVITATION.value, self._clock.now()
            return cut.cut(await LinkStore(tx).open_page(kind, company_id, now, cut.rows, cut.place))

    async def withdraw(self, company_id: str | None, link_id: str) -> None:
        """Take an invitation back. Raises `NotFound`."""
        now = self._clock.now()
        async with self._database.work() as tx:
            if not await LinkStore(tx).withdraw(company_id, link_id, now):
                raise NotFound(f"there is no open invitation {link_id}")
            await note(tx, company_id or INSTALLATION, now, "invitation.withdrawn", link_id)

    async def join(self, joining: Joining) -> str:
        """Use a link up; return the person's id. Raises `BadInput`, `Conflict` (used up), `NotAllowed`."""
        async with self._database.overview() as tx:
            token = await self._tokens.read(tx, TokenKind.LINK, joining.code.strip())
            link = None if token is None else await LinkStore(tx).load(token.about)
            person = None if link is None else await PeopleStore(tx).by_email(link.email)
        if link is None:
            raise Conflict(USED_UP, remedy="ask for another one")
        if link.kind == LinkKind.RESET.value:
            return await self._reset(link, person, joining)
        return await self._let_in(link, person, joining)

    async def _reset(self, link: LinkRow, person: PersonRow | None, joining: Joining) -> str:
        if person is None:
            raise Conflict(USED_UP, remedy="ask for another one")
        hashed, now = await self._passwords.hash(check_password(joining.password, person.email)), self._clock.now()
        with acting_as(f"person:{person.id}"):
            async with self._database.work() as tx:
                await self._use(tx, link)
                await PeopleStore(tx).change(person.id, password_hash=hashed, password_changed_at=now)
                await SessionStore(tx).end_all(person.id, "password_changed", now)
                await note(tx, INSTALLATION, now, "password.reset", person.id)
        return person.id

    async def _let_in(self, link: LinkRow, person: PersonRow | None, joining: Joining) -> str:
        row = await self._newcomer(link, joining) if person is None else await self._proven(person, joining)
        given, now = Grant(Role(link.role or Role.VIEWER), link.company_id), self._clock.now()
        with acting_as(f"person:{row.id}"):
            async with self._database.work() as tx:
                store = PeopleStore(tx)
                await self._use(tx, link)
                if person is None:
                    await store.add(row)
                has = {grant.company_id: grant.role for grant in (await store.grants_of([row.id]))[row.id]}
                if given.company_id not in has or given.role.covers(has[given.company_id]):
                    await store.grant(row.id, given, link.created_by, now)
                await note(tx, link.company_id or INSTALLATION, now, "person.joined", row.id, role=given.role.value)
        return row.id

    async def _newcomer(self, link: LinkRow, joining: Joining) -> PersonRow:
        name, now = " ".join(joining.name.split()), self._clock.now()
        if not name or len(name) > 200 or not name.isprintable():
            raise BadInput("your name is missing, or cannot be shown", field="name", remedy="1 to 200 characters")
        hashed = await self._passwords.hash(check_password(joining.password, link.email))
        return PersonRow(
            id=new_id(),
            email=link.email,
            name=name,
            password_hash=hashed,
            totp_sealed=None,
            totp_key_version=None,
            has_second_factor=False,
            totp_step=None,
            recovery_hashes=None,
            created_at=now,
            password_changed_at=now,
            disabled_at=None,
        )

    async def _proven(self, person: PersonRow, joining: Joining) -> PersonRow:
        """Return the person who has an account already, once they showed its password.

        Raises `NotAllowed`, `TooOften`: whoever has a link could guess here as well as at the sign-in.
        """
        await self._throttle.check_sign_in(person.email, JOINING)
        fits = await self._passwords.fits(person.password_hash, read_password(joining.password))
        if not fits or person.disabled_at is not None:
            raise NotAllowed("there is an account with this address; its password is another one")
        return person

    async def _use(self, tx: Transaction, link: LinkRow) -> None:
        if not await LinkStore(tx).use(link.id, self._clock.now()):
            raise Conflict(USED_UP, remedy="ask for another one")

    def _row(
        self, kind: LinkKind, email: str, caller: Caller, role: Role | None = None, company_id: str | None = None
    ) -> LinkRow:
        now = self._clock.now()
        named = None if role is None else role.value
        return LinkRow(
            new_id(), kind.value, email, named, company_id, caller.as_actor, now, now + kind.life, None, None
        )

    async def _made(self, tx: Transaction, row: LinkRow) -> MadeLink:
        code = await self._tokens.make(tx, TokenKind.LINK, Token(row.kind, row.id, row.expires_at))
        return MadeLink(row, f"{self._join_url}#{code}")
