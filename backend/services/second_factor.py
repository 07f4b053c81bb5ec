"""The second factor of people: one-time codes of an authenticator app (RFC 6238), and recovery codes on paper."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

import pyotp

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.audit import INSTALLATION
from backend.errors import BadInput, Conflict
from backend.services.audit import note
from backend.services.keyring import Keyring
from backend.services.passwords import code_hash
from backend.store.people import PeopleStore, PersonRow

PERIOD, DIGITS = 30, 6  # seconds, digits: what every app assumes
STEPS_ASIDE = (0, -1, 1)  # a phone's clock may be that many periods off
RECOVERY_CODES = 10
APP_NAME = "Abandoned cart recovery"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret that waits for its first code. `uri` is what the app takes, as a picture or by hand."""

    secret: str
    uri: str

    def __repr__(self) -> str:
        """Leave the secret out of every log line and traceback."""
        return "Enrolment(...)"


class SecondFactor:
    """Sets it up, takes codes, and takes it away. Whoever calls has seen the person's password or session."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    async def begin(self, row: PersonRow) -> Enrolment:
        """Make a secret; it counts once a code of it was shown. Raises `Conflict` where there is one already."""
        if row.has_second_factor:
            raise Conflict("there is a second factor already", remedy="take it away first")
        secret, now = pyotp.random_base32(), self._clock.now()
        async with self._database.work() as tx:
            sealed, version = await self._keyring.seal_json(tx, _place(row.id), [secret], now)
            await PeopleStore(tx).change(row.id, totp_sealed=sealed, totp_key_version=version, totp_step=None)
        return _enrolment(secret, row.email)

    async def waiting(self, person_id: str) -> Enrolment | None:
        """Return the secret that waits for its first code, if one does."""
        async with self._database.overview() as tx:
            row = await PeopleStore(tx).load(person_id)
            if row is None or row.totp_sealed is None or row.totp_key_version is None or row.has_second_factor:
                return None
            (secret,) = await self._keyring.open_json(tx, _place(row.id), row.totp_sealed, row.totp_key_version)
        return _enrolment(secret, row.email)

    async def confirm(self, person_id: str, code: str) -> list[str]:
        """Switch it on with a first code; return the recovery codes, which are shown this once. Raises `BadInput`."""
        now, codes = self._clock.now(), [_recovery_code() for _ in range(RECOVERY_CODES)]
        async with self._database.work() as tx:
            store = PeopleStore(tx)
            row = await store.locked(person_id)
            if row is None or row.totp_sealed is None or row.has_second_factor:
                raise Conflict("no second factor waits for its first code", remedy="begin anew")
            if not await self._take_step(tx, row, code):
                raise BadInput(
                    "the code is not right", field="code", remedy="look at the phone's clock, then try again"
                )
            hashes = [code_hash(each) for each in codes]
            await store.change(person_id, has_second_factor=True, recovery_hashes=hashes)
            await note(tx, INSTALLATION, now, "second_factor.set_up", person_id)
        return codes

    async def remove(self, person_id: str) -> bool:
        """Take it away; False where there is none."""
        async with self._database.work() as tx:
            store = PeopleStore(tx)
            row = await store.locked(person_id)
            if row is None or not row.has_second_factor:
                return False
            await store.change(
                person_id, has_second_factor=False, totp_sealed=None, totp_key_version=None, recovery_hashes=None
            )
            await note(tx, INSTALLATION, self._clock.now(), "second_factor.removed", person_id)
        return True

    async def takes(self, person_id: str, code: str) -> bool:
        """Whether a code is good, which uses it up: one of the app, or one of the recovery codes."""
        code = "".join(code.split()).lower()
        async with self._database.work() as tx:
            row = await PeopleStore(tx).locked(person_id)
            if row is None or row.totp_sealed is None:
                return False
            if len(code) == DIGITS and code.isascii() and code.isdigit():
                return await self._take_step(tx, row, code)
            return await self._take_recovery_code(tx, row, code)

    async def _take_step(self, tx: Transaction, row: PersonRow, code: str) -> bool:
        """Whether it is the code of about now, and newer than the last that was taken."""
        if row.totp_sealed is None or row.totp_key_version is None:
            return False
        (secret,) = await self._keyring.open_json(tx, _place(row.id), row.totp_sealed, row.totp_key_version)
        totp, present = pyotp.TOTP(secret), int(self._clock.now().timestamp()) // PERIOD
        for step in (present + aside for aside in STEPS_ASIDE):
            if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
                return await PeopleStore(tx).take_step(row.id, step)
        return False

    async def _take_recovery_code(self, tx: Transaction, row: PersonRow, code: str) -> bool:
        given, left = code_hash(code), list(row.recovery_hashes or ())
        found = [each for each in left if hmac.compare_digest(each, given)]
        if not found:
            return False
        left.remove(found[0])
        await PeopleStore(tx).change(row.id, recovery_hashes=left)
        await note(tx, INSTALLATION, self._clock.now(), "recovery_code.used", row.id, left=len(left))
        return True


def _enrolment(secret: str, email: str) -> Enrolment:
    return Enrolment(secret, pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=APP_NAME))


def _recovery_code() -> str:
    """Return 80 random bits in a form that can be copied by hand: xxxxx-xxxxx-xxxxx-xxxxx in hexadecimal."""
    digits = secrets.token_hex(10)
    return "-".join(digits[start : start + 5] for start in range(0, 20, 5))


def _place(person_id: str) -> tuple[str, str, str, str]:
    return INSTALLATION, "people", "totp_sealed", person_id
