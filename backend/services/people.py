"""PeopleService: who may sign in and what they may do; and what people do with their own account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.access import Caller, Grant, Role
from backend.domain.audit import INSTALLATION
from backend.domain.people import check_password
from backend.errors import Conflict, NotAllowed, NotFound, NotSignedIn
from backend.services.audit import note
from backend.services.companies import found_company
from backend.services.pages import Page, slice_of
from backend.services.passwords import Passwords
from backend.services.second_factor import Enrolment, SecondFactor
from backend.services.sessions import SessionService
from backend.store.links import LinkStore
from backend.store.people import PeopleStore, PersonRow
from backend.store.sessions import SessionStore


@dataclass(frozen=True, slots=True)
class Person:
    """A person, by what others may see. In a company's list, `grants` are those in it."""

    id: str
    email: str
    name: str
    grants: tuple[Grant, ...]
    has_second_factor: bool
    state: str  # active or disabled
    created_at: datetime


class PeopleService:
    """Lists people, gives and takes roles, shuts out; changes passwords and second factors."""

    def __init__(self, database: Database, clock: Clock, sessions: SessionService, second_factor: SecondFactor) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._second_factor = second_factor
        self._passwords = Passwords()

    async def is_empty(self) -> bool:
        """Whether nobody can sign in yet."""
        async with self._database.overview() as tx:
            return await PeopleStore(tx).is_empty()

    async def list_page(self, company_id: str | None, *, limit: int = 50, after: str | None = None) -> Page[Person]:
        """Return people, newest first: with a role in the company, or all (None). Raises `BadInput`, `NotFound`."""
        cut = slice_of(limit, after)
        async with self._database.overview() as tx:
            if company_id is not None:
                await found_company(tx, company_id)
            store = PeopleStore(tx)
            page = cut.cut(await store.list_page(company_id, cut.rows, cut.place))
            grants = await store.grants_of([row.id for row in page.items])
        return Page(tuple(_person(row, grants[row.id], company_id) for row in page.items), page.next)

    async def company_names(self, company_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of companies that people have roles in, by id."""
        async with self._database.overview() as tx:
            return await PeopleStore(tx).company_names(sorted(set(company_ids)))

    async def load(self, person_id: str) -> Person:
        """Return one person with all their roles. Raises `NotFound`."""
        async with self._database.overview() as tx:
            return await self._shown(tx, person_id, None)

    async def set_role(self, company_id: str | None, person_id: str, role: Role | None, caller: Caller) -> Person:
        """Give a person a role in a company, or in all (None); `role` None takes theirs away.

        A company's owner sees only who has a role there. Raises `NotFound`, `NotAllowed`, `Conflict`.
        """
        check_lasting(caller)
        now = self._clock.now()
        async with self._database.work() as tx:
            store = PeopleStore(tx)
            row = await self._member(store, company_id, person_id, caller)
            if company_id is None and role is not Role.OWNER:
                await self._keep_an_owner(store, row)
            await LinkStore(tx).withdraw_invitations(row.email, company_id, now)
            if role is not Role.OWNER:  # an owner no longer: nor do their invitations count
                await LinkStore(tx).withdraw_made_by(f"person:{person_id}", now)
            if role is None:
                await store.take_away(person_id, company_id)
            else:
                await store.grant(person_id, Grant(role, company_id), caller.as_actor, now)
            deed = "role.taken_away" if role is None else "role.given"
            await note(tx, company_id or INSTALLATION, now, deed, person_id, **({"role": role.value} if role else {}))
            return await self._shown(tx, person_id, company_id)

    async def disable(self, person_id: str, caller: Caller) -> Person:
        """Shut a person out at once: their sessions end, and the invitations that they made. Raises as `set_role`."""
        check_lasting(caller)
        now = self._clock.now()
        async with self._database.work() as tx:
            store = PeopleStore(tx)
            row = await self._found(store, person_id)
            await self._keep_an_owner(store, row)
            if row.disabled_at is None:
                await store.change(person_id, disabled_at=now)
                await SessionStore(tx).end_all(person_id, "disabled", now)
                await LinkStore(tx).withdraw_made_by(f"person:{person_id}", now)
                await note(tx, INSTALLATION, now, "person.disabled", person_id)
            return await self._shown(tx, person_id, None)

    async def enable(self, person_id: str, caller: Caller) -> Person:
        """Let a person in again. Raises `NotFound`, `NotAllowed`."""
        check_lasting(caller)
        async with self._database.work() as tx:
            store = PeopleStore(tx)
            if (await self._found(store, person_id)).disabled_at is not None:
                await store.change(person_id, disabled_at=None)
                await note(tx, INSTALLATION, self._clock.now(), "person.enabled", person_id)
            return await self._shown(tx, person_id, None)

    async def sign_out(self, person_id: str) -> int:
        """End all sessions of a person; return how many there were. Raises `NotFound`."""
        now = self._clock.now()
        async with self._database.work() as tx:
            await self._found(PeopleStore(tx), person_id)
            ended = await SessionStore(tx).end_all(person_id, "by_owner", now)
            await note(tx, INSTALLATION, now, "person.signed_out", person_id, sessions=ended)
            return ended

    async def forget_second_factor(self, person_id: str, caller: Caller) -> Person:
        """Take away the second factor of a person who lost it; their sessions end. Raises `NotFound`, `NotAllowed`."""
        check_lasting(caller)
        async with self._database.work() as tx:
            await self._found(PeopleStore(tx), person_id)
            await SessionStore(tx).end_all(person_id, "by_owner", self._clock.now())
        await self._second_factor.remove(person_id)
        return await self.load(person_id)

    async def change_password(self, person_id: str, session_id: str, old: str, new: str, address: str) -> None:
        """Change one's own password; every other session ends. Raises `NotSignedIn`, `BadInput`, `TooOften`."""
        row = await self._proven(person_id, old, address)
        hashed, now = await self._passwords.hash(check_password(new, row.email)), self._clock.now()
        async with self._database.work() as tx:
            await PeopleStore(tx).change(person_id, password_hash=hashed, password_changed_at=now)
            await SessionStore(tx).end_all(person_id, "password_changed", now, but=session_id)
            await note(tx, INSTALLATION, now, "password.changed", person_id)

    async def begin_second_factor(self, person_id: str, password: str, address: str) -> Enrolment:
        """Make the secret of one's own second factor. Raises `NotSignedIn`, `Conflict`, `TooOften`."""
        return await self._second_factor.begin(await self._proven(person_id, password, address))

    async def confirm_second_factor(self, person_id: str, code: str) -> list[str]:
        """Switch it on; return the recovery codes. Raises `BadInput`, `Conflict`."""
        return await self._second_factor.confirm(person_id, code)

    async def waiting_second_factor(self, person_id: str) -> Enrolment | None:
        """Return the secret of one's own second factor while it waits for its first code."""
        return await self._second_factor.waiting(person_id)

    async def remove_second_factor(self, person_id: str, password: str, address: str) -> bool:
        """Take one's own second factor away; False where there is none. Raises `NotSignedIn`, `TooOften`."""
        await self._proven(person_id, password, address)
        return await self._second_factor.remove(person_id)

    async def _proven(self, person_id: str, password: str, address: str) -> PersonRow:
        """Return one's own row, the password shown once more: a session left open is not enough for this."""
        async with self._database.overview() as tx:
            row = await self._found(PeopleStore(tx), person_id)
        try:
            return await self._sessions.known(row.email, password, address)
        except NotSignedIn:
            raise NotAllowed("the password is not right") from None

    async def _found(self, store: PeopleStore, person_id: str) -> PersonRow:
        row = await store.load(person_id)
        if row is None:
            raise NotFound(f"there is no person {person_id}")
        return row

    async def _member(self, store: PeopleStore, company_id: str | None, person_id: str, caller: Caller) -> PersonRow:
        row = await self._found(store, person_id)
        grants = (await store.grants_of([person_id]))[person_id]
        is_known = company_id in {grant.company_id for grant in grants}
        if not (is_known or caller.may(Role.OWNER, None)):
            raise NotFound(f"there is no person {person_id}")
        return row

    async def _keep_an_owner(self, store: PeopleStore, row: PersonRow) -> None:
        """Refuse to leave the installation without anybody who can let people in. Raises `Conflict`."""
        grants = (await store.grants_of([row.id]))[row.id]
        is_owner = Grant(Role.OWNER, None) in grants and row.disabled_at is None
        if is_owner and not await store.other_owners(row.id):
            raise Conflict("this is the last owner of the installation", remedy="make another one first")

    async def _shown(self, tx: Transaction, person_id: str, company_id: str | None) -> Person:
        store = PeopleStore(tx)
        row = await self._found(store, person_id)
        return _person(row, (await store.grants_of([person_id]))[person_id], company_id)


def check_lasting(caller: Caller) -> None:
    """Refuse a key that is narrowed or ends: whom it let in would be neither. Raises `NotAllowed`."""
    if caller.scopes is not None or caller.until is not None:
        raise NotAllowed("a key that is narrowed to scopes, or expires, lets nobody in")


def _person(row: PersonRow, grants: tuple[Grant, ...], company_id: str | None) -> Person:
    shown = tuple(grant for grant in grants if company_id is None or grant.company_id == company_id)
    state = "active" if row.disabled_at is None else "disabled"
    return Person(row.id, row.email, row.name, shown, row.has_second_factor, state, row.created_at)
