"""Secrets and shoppers stay out of what is kept and logged, also when partners and the database misbehave."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from sqlalchemy import insert

from backend.db import Database
from backend.logs import redact
from backend.models import customers, delivery_attempts
from tests.services.acts import outbox
from tests.services.line import NOON, Line
from tests.worlds import World

PERSON = {"email": "ada.moss@example.com", "phone": "+4915112345678", "first_name": "Adaline"}


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_signing_secret_that_a_partner_sends_back_is_not_kept(line: Line, status: int) -> None:
    line.partner.inject("status", status=status, body=f'{{"error": "signed with {line.secret}"}}')
    line.add("c1", 45)
    await line.run()
    (attempt,) = await line.rows(delivery_attempts)
    assert bytes(attempt.answer) == b'{"error": "signed with [redacted]"}'
    assert len(await outbox(line)) == 1


async def failed(database: Database, values: dict[str, Any]) -> str:
    """Return the traceback of an insert that the database refuses, as the log shows it."""
    try:
        async with database.work() as tx:
            await tx.execute(insert(customers).values(**values))
    except Exception as error:  # noqa: BLE001  whatever it is, it would be logged
        whole = "".join(traceback.format_exception(error))
        return str(redact(None, "error", {"exception": whole})["exception"])
    raise AssertionError("the insert was taken")


def row(**more: Any) -> dict[str, Any]:
    stamps = {"created_at": NOON, "updated_at": NOON}
    return {"company_id": "c", "id": "1", "is_guest": False, "consent_email": "yes", **PERSON, **stamps, **more}


BAD = {
    "a missing value": row(integration_id="i", identity=None, consent_sms="no"),
    "a missing neighbour": row(integration_id="ada.moss", identity="Adaline", consent_sms="no"),
    "a value that is too long": row(integration_id="i" * 3, identity="Adaline", consent_sms="Adaline" * 90),
    "a value of another kind": row(integration_id="i", identity="Adaline", consent_sms=["+4915112345678"]),
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
async def test_the_traceback_of_a_statement_says_nothing_of_the_person(world: World, values: dict[str, Any]) -> None:
    said = await failed(world.database, values)
    assert "customers" in said or "DataError" in said
    assert [word for word in ("ada.moss", "4915112345678", "Adaline") if word in _without_code(said)] == []


def _without_code(said: str) -> str:
    """Return a traceback without the source lines that it quotes: these are this file's own."""
    lines = said.splitlines()
    return "\n".join(line for line in lines if not line.startswith("    "))


def test_settings_do_not_print_their_secrets(world: World) -> None:
    assert world.settings.master_key
    assert world.settings.master_key not in repr(world.settings)
