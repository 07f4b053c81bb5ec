"""What a partner accepted is in the audit log: one record a message, in the commit that settles it, nobody by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from backend.domain.audit import INSTALLATION, pseudonym
from backend.domain.signing import make_secret
from backend.models import audit_log, customers, delivery_attempts, destinations
from backend.services.audit import note, noting_last
from backend.services.audit_trail import AuditTrail
from backend.services.hand_offs import ACTION, PURPOSE
from tests.factories import make_company, make_destination
from tests.services.acts import cart, change, doing_at, messages, outbox, poll, stopping_at
from tests.services.line import Line, running_line
from tests.worlds import opened_world

NOBODY = {"customer": {"first": "Ada"}}


async def records(line: Line, *conditions: Any) -> list[Any]:
    """Return the records of hand-offs, in the chains' order."""
    found = await line.rows(audit_log, audit_log.c.action == ACTION, *conditions)
    return sorted(found, key=lambda row: (row.company_id, row.seq))


async def owed(line: Line, count: int) -> None:
    """Let the partner be owed so many messages of one cart each."""
    await change(line, destinations, max_carts_per_payload=1)
    for number in range(count):
        line.add(f"c{number:03}", 45 + number / 60)
    await poll(line)


async def name_of(line: Line, customer_id: str) -> str:
    """Return a person's pseudonym."""
    async with line.world.database.transaction(line.company) as tx:
        key = await line.world.keyring.derived(tx, line.company, 1, PURPOSE)
    return pseudonym(key, customer_id)


async def test_every_accepted_message_has_one_record(line: Line) -> None:
    await owed(line, 12)
    await line.engine.poller.deliver()
    subjects = [row.subject for row in await records(line)]
    assert (len(subjects), sorted(subjects)) == (12, [row.id for row in await outbox(line)])


async def test_a_record_names_the_destination_and_the_person_by_a_keyed_pseudonym(line: Line) -> None:
    line.add("c1", 45)
    await line.run()
    (record,), person = await records(line), (await cart(line)).customer_id
    assert record.actor == "service"
    assert record.details == {
        "destination_id": line.destination,
        "key_version": 1,
        "people": [await name_of(line, person)],
    }


async def test_a_message_of_several_carts_names_each_person_once(line: Line) -> None:
    for cart_id in ("c1", "c2"):
        line.add(cart_id, 45, customer={"email": "ada@example.com"})
    line.add("c3", 45)
    await line.run()
    (record,) = await records(line)
    assert len(record.details["people"]) == len(await line.rows(customers)) == 2


async def test_a_cart_of_nobody_known_is_recorded_without_a_person(line: Line) -> None:
    await change(line, destinations, include_uncontactable=True)
    line.add("c1", 45, **NOBODY)
    await line.run()
    (record,) = await records(line)
    assert record.details["people"] == [await name_of(line, row.id) for row in await line.rows(customers)]


@pytest.mark.parametrize("status", [301, 400, 410, 429, 500])
async def test_a_message_that_was_refused_has_none(line: Line, status: int) -> None:
    line.partner.inject("status", status=status, times=9)
    line.add("c1", 45)
    await line.run()
    assert (len(await line.rows(delivery_attempts)), await records(line)) == (1, [])


async def test_a_message_that_nobody_answered_has_none(line: Line) -> None:
    line.partner.inject("reset", times=9)
    line.add("c1", 45)
    await line.run()
    assert (len(await line.rows(delivery_attempts)), await records(line)) == (1, [])


async def test_what_is_superseded_has_none(line: Line) -> None:
    await owed(line, 1)
    await change(line, customers, consent_email="no", consent_sms="no")
    await line.engine.poller.deliver()
    assert ([row.state for row in await outbox(line)], await records(line)) == (["superseded"], [])


async def test_a_message_that_is_accepted_at_the_second_attempt_has_one(line: Line) -> None:
    line.partner.inject("status", status=500)
    line.add("c1", 45)
    await line.run()
    line.clock.move(hours=1)
    await line.engine.poller.deliver()
    assert (len(await line.rows(delivery_attempts)), len(await records(line))) == (2, 1)


async def test_what_is_cut_off_between_answer_and_commit_has_neither_result_nor_record(line: Line) -> None:
    await owed(line, 1)
    await stopping_at(line, "answer_read").poller.deliver()
    assert messages(line) == 1
    assert ([row.state for row in await outbox(line)], await records(line)) == (["pending"], [])


async def test_whoever_lost_the_lease_records_nothing(line: Line) -> None:
    await owed(line, 1)
    await doing_at(line, "answer_read", lambda: line.clock.move(minutes=5)).poller.deliver()
    assert (messages(line), [row.state for row in await outbox(line)]) == (2, ["delivered"])
    assert len(await records(line)) == 1


async def test_the_chain_of_records_holds(line: Line) -> None:
    await owed(line, 20)
    await line.engine.poller.deliver()
    found = await AuditTrail(line.world.database, line.clock, line.world.keyring).verify(line.company)
    assert (found.records >= 20, found.broken) == (True, None)


async def test_no_record_holds_what_a_person_is_called_or_reached_by(line: Line) -> None:
    line.add("c1", 45, customer={"email": "ada.moss@example.com", "phone": "+4915112345678", "first": "Adaline"})
    await line.run()
    person = (await cart(line)).customer_id
    (record,) = await records(line)
    said = " ".join(map(str, record))
    assert record.details["people"][0] in said
    assert [word for word in ("ada.moss", "4915112345678", "Adaline", person) if word in said] == []


async def test_companies_name_one_person_differently(line: Line) -> None:
    other = await make_company(line.world, "Other")
    async with line.world.database.transaction(other) as tx:
        await line.world.keyring.newest_version(tx, other, line.clock.now())
    keys = []
    for company in (line.company, other):
        async with line.world.database.transaction(company) as tx:
            keys.append(await line.world.keyring.derived(tx, company, 1, PURPOSE))
    assert pseudonym(keys[0], "c1") != pseudonym(keys[1], "c1")


@pytest.fixture
async def on_postgresql(postgresql_url: str) -> AsyncIterator[Line]:
    """Return a running line where several write at once."""
    async with opened_world(postgresql_url) as world, running_line(world) as started:
        yield started


async def test_a_chain_that_is_written_to_holds_up_no_other_company(on_postgresql: Line) -> None:
    line = on_postgresql
    other = await make_company(line.world, "Other")
    await owed(line, 3)
    async with line.world.database.transaction(other) as tx:
        await note(tx, other, line.clock.now(), "thing.done", "t")
        await line.engine.poller.deliver()
        assert len(await records(line)) == 3


async def test_several_deeds_of_one_transaction_hold_the_chain_only_at_its_end(on_postgresql: Line) -> None:
    """A configuration changes a destination whose messages are being settled: neither waits for the other for ever."""
    database, company, now = on_postgresql.world.database, on_postgresql.company, on_postgresql.clock.now()
    async with database.transaction(company) as tx, noting_last(tx, company, now):
        await note(tx, company, now, "thing.done", "first")
        async with database.transaction(company) as other:
            await note(other, company, now, "thing.done", "meanwhile")
        await note(tx, company, now, "thing.done", "second")
    rows = sorted(await on_postgresql.rows(audit_log), key=lambda row: row.seq)
    assert [row.subject for row in rows] == ["meanwhile", "first", "second"]


async def test_deeds_that_came_to_nothing_are_not_recorded(line: Line) -> None:
    with pytest.raises(RuntimeError):
        await failed(line)
    assert await line.rows(audit_log) == []


async def failed(line: Line) -> None:
    async with line.world.database.transaction(line.company) as tx, noting_last(tx, line.company, line.clock.now()):
        await note(tx, line.company, line.clock.now(), "thing.done", "lost")
        raise RuntimeError


async def test_destinations_of_one_company_that_settle_at_once_make_one_chain(line: Line) -> None:
    for number in range(5):
        secret = make_secret()
        line.partner.register(f"p{number}", [secret])
        url = f"{line.partner.base_url}/hook/p{number}"
        await make_destination(line.world, line.company, line.agent, url, secret)
    await owed(line, 6)
    await line.engine.poller.deliver()
    trail = AuditTrail(line.world.database, line.clock, line.world.keyring)
    assert len(await records(line)) == 36
    assert (await trail.verify(line.company)).broken is None


async def test_the_chains_that_are_there_are_found_by_name(line: Line) -> None:
    names = [line.company, await make_company(line.world, "Other"), INSTALLATION]
    for name in names:
        async with line.world.database.work() as tx:
            await note(tx, name, line.clock.now(), "thing.done", "t")
            await note(tx, name, line.clock.now(), "thing.done", "t")
    trail = AuditTrail(line.world.database, line.clock, line.world.keyring)
    assert await trail.chains() == sorted(names)


async def test_without_any_record_there_is_no_chain(line: Line) -> None:
    trail = AuditTrail(line.world.database, line.clock, line.world.keyring)
    assert (await trail.chains(), await trail.sign_due()) == ([], [])
