"""SessionService: people sign in, stay signed in by refresh tokens that rotate, and sign out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

import structlog

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.access import Caller
from backend.domain.acting import acting_as
from backend.domain.audit import INSTALLATION
from backend.domain.ids import new_id
from backend.domain.people import ACCESS_LIFE, LEEWAY, SESSION_LIFE, UNUSED_LIFE, Visitor, read_email, read_password
from backend.errors import BadInput, NotFound, NotSignedIn, SecondFactorNeeded
from backend.services.audit import note
from backend.services.pages import Page, slice_of
from backend.services.passwords import Passwords, needs_rehash
from backend.services.second_factor import SecondFactor
from backend.services.throttle import Throttle
from backend.services.tokens import Token, TokenKind, Tokens
from backend.store.people import PeopleStore, PersonRow
from backend.store.sessions import SessionRow, SessionStore

log = structlog.get_logger()

WRONG = "the e-mail address or the password is not right"
OVER = "the session has ended"


@dataclass(frozen=True, slots=True)
class Signed:
    """A session's tokens. `refresh` is good for one use, until `refresh_until` at the latest."""

    session_id: str
    access: str
    access_until: datetime
    refresh: str
    refresh_until: datetime

    def __repr__(self) -> str:
        """Leave the tokens out of every log line and traceback."""
        return f"Signed({self.session_id!r})"


@dataclass(frozen=True, slots=True)
class Present:
    """A person who is signed in. `mark` is what their pages send along, so that no other page can act for them."""

    caller: Caller
    session_id: str
    mark: str


class SessionService:
    """Begins, keeps and ends the sessions of people. A session is a row: ended, its tokens are refused at once."""

    def __init__(
        self, database: Database, clock: Clock, tokens: Tokens, second_factor: SecondFactor, throttle: Throttle
    ) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._second_factor = second_factor
        self._throttle = throttle
        self._passwords = Passwords()

    async def sign_in(self, email: str, password: str, code: str, visitor: Visitor) -> Signed:
        """Begin a session. Raises `NotSignedIn`, `SecondFactorNeeded`, `TooOften`.

        Which of the two was wrong is not told, and whoever is not known takes as long as whoever is.
        """
        row = await self.known(email, password, visitor.address)
        if row.has_second_factor and not code.strip():
            raise SecondFactorNeeded("the code of your second factor is missing")
        if row.has_second_factor and not await self._second_factor.takes(row.id, code):
            raise SecondFactorNeeded("the code is not right, or was used before")
        now = self._clock.now()
        session = SessionRow(
            id=new_id(),
            person_id=row.id,
            kind=visitor.kind,
            mark=secrets.token_hex(16),
            generation=1,
            rotated_at=now,
            client=visitor.client,
            address=visitor.address,
            created_at=now,
            expires_at=now + SESSION_LIFE,
            ended_at=None,
            ended_because=None,
        )
        with acting_as(f"person:{row.id}"):
            async with self._database.work() as tx:
                await SessionStore(tx).add(session)
                await note(tx, INSTALLATION, now, "session.begun", session.id, kind=visitor.kind)
                return await self._signed(tx, session, 1)

    async def known(self, email: str, password: str, address: str) -> PersonRow:
        """Return the person whose password this is. Raises `NotSignedIn`, `TooOften`."""
        try:
            email = read_email(email)
        except BadInput:
            email = ""  # nobody's; it goes the same way as an unknown one
        await self._throttle.check_sign_in(email, address)
        async with self._database.overview() as tx:
            row = await PeopleStore(tx).by_email(email)
        if row is not None and row.disabled_at is not None:
            row = None
        fits = await self._passwords.fits(row.password_hash if row else None, read_password(password))
        if row is None or not fits:
            raise NotSignedIn(WRONG)
        await self._throttle.forget_tries(email, address)
        if needs_rehash(row.password_hash):
            better = await self._passwords.hash(read_password(password))
            async with self._database.work() as tx:
                await PeopleStore(tx).change(row.id, password_hash=better)
        return row

    async def refresh(self, given: str) -> Signed:
        """Return new tokens for a refresh token, which is used up. Raises `NotSignedIn`.

        One that was used before ends its session: somebody has a copy. Within `LEEWAY` of its use it is answered with
        the present tokens instead, as two requests at once, or one whose answer was lost, send it twice.
        """
        async with self._database.work() as tx:
            token = await self._tokens.read(tx, TokenKind.REFRESH, given)
            signed = None if token is None else await self._refreshed(tx, token)
        if signed is None:  # after the commit: a session that was ended here stays ended
            raise NotSignedIn(OVER)
        return signed

    async def _refreshed(self, tx: Transaction, token: Token) -> Signed | None:
        store, now = SessionStore(tx), self._clock.now()
        row = await store.load(token.about)
        if row is None or row.person_id != token.subject:
            return None
        if await store.live(row.id, row.person_id, now) is None:
            return None
        if token.generation == row.generation and await store.rotate(row.id, row.generation, now):
            return await self._signed(tx, row, row.generation + 1)
        row = await store.load(row.id) or row  # as whoever was faster left it
        if token.generation == row.generation - 1 and now - row.rotated_at <= LEEWAY:
            return await self._signed(tx, row, row.generation)
        if token.generation < row.generation and await store.end(row.id, "reused", now):
            log.warning("session.reused", session_id=row.id, person_id=row.person_id)
            with acting_as(f"person:{row.person_id}"):
                await note(tx, INSTALLATION, now, "session.reused", row.id)
        return None

    async def present(self, access: str) -> Present | None:
        """Return who holds an access token; None when it is none of ours, or its session has ended."""
        async with self._database.overview() as tx:
            token = await self._tokens.read(tx, TokenKind.ACCESS, access)
            if token is None:
                return None
            found = await SessionStore(tx).live(token.about, token.subject, self._clock.now())
            if found is None:
                return None
            name, mark = found
            grants = (await PeopleStore(tx).grants_of([token.subject]))[token.subject]
        return Present(Caller("person", token.subject, name, grants), token.about, mark)

    async def list(self, person_id: str, *, limit: int = 50, after: str | None = None) -> Page[SessionRow]:
        """Return a person's live sessions, newest first. Raises `BadInput`."""
        cut = slice_of(limit, after)
        async with self._database.overview() as tx:
            return cut.cut(await SessionStore(tx).list_page(person_id, self._clock.now(), cut.rows, cut.place))

    async def end(self, person_id: str, session_id: str) -> None:
        """End one of a person's sessions; ending it twice does no harm. Raises `NotFound`."""
        now = self._clock.now()
        async with self._database.work() as tx:
            store = SessionStore(tx)
            row = await store.load(session_id)
            if row is None or row.person_id != person_id:
                raise NotFound(f"there is no session {session_id}")
            if await store.end(session_id, "signed_out", now):
                await note(tx, INSTALLATION, now, "session.ended", session_id)

    async def _signed(self, tx: Transaction, row: SessionRow, generation: int) -> Signed:
        now = self._clock.now()
        access_until = min(now + ACCESS_LIFE, row.expires_at)
        refresh_until = min(now + UNUSED_LIFE, row.expires_at)
        access = await self._tokens.make(tx, TokenKind.ACCESS, Token(row.person_id, row.id, access_until))
        token = Token(row.person_id, row.id, refresh_until, generation)
        refresh = await self._tokens.make(tx, TokenKind.REFRESH, token)
        return Signed(row.id, access, access_until, refresh, refresh_until)
