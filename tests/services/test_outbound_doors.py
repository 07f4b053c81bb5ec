"""Store polls and deliveries go through the guarded door, and of a partner's answer only the start is kept."""

from __future__ import annotations

import pytest

from backend.models import delivery_attempts
from backend.services.deliveries import ANSWER_LIMIT
from benchmarks.attack_doors import attacked, played
from benchmarks.attack_forms import METADATA, forms
from tests.factories import make_destination
from tests.outbound.wire import raw_server, with_body
from tests.services.line import Line

NEEDS_SECONDS = {"rebinding, kept alive", "rebinding, remembered"}  # a second request before a connection is dropped


@pytest.fixture
def forbidden() -> list[str]:
    """Return the names of the forms that are put to both doors; the attack itself puts all of them."""
    return [METADATA, "127.0.0.1", "::1", "fd00:ec2::254", "2130706433"]


async def test_polls_and_deliveries_dial_no_forbidden_address(sqlite_url: str, forbidden: list[str]) -> None:
    chosen = [form for form in forms(with_own=False) if form.name in forbidden]
    async with attacked(set()) as where:
        stores, partners = (
            [case for case in where.cases(chosen) if case.way not in NEEDS_SECONDS] for _ in ("polls", "deliveries")
        )
        where.watch.attempts.clear()
        done = await played(where, sqlite_url, stores, partners)
    assert len(chosen) == len(forbidden)
    assert (done.attempts, done.hits) == ([], 0)
    assert (done.polls.wrong, done.deliveries.wrong) == ([], [])
    assert (done.polls.requests, done.deliveries.requests) == (2 * len(stores), 2 * len(partners))


async def test_of_a_failed_answer_only_the_start_of_its_body_is_kept(line: Line) -> None:
    refusal = with_body(b"no" * ANSWER_LIMIT, "X-Internal-Hop: gateway-7", status="500 Internal Server Error")
    async with raw_server(refusal) as partner:
        await make_destination(line.world, line.company, line.agent, f"{partner.url}hook")
        line.add("c1", 45)
        await line.run()
    (row,) = await line.rows(delivery_attempts, delivery_attempts.c.status == 500)
    assert row.answer == (b"no" * ANSWER_LIMIT)[:ANSWER_LIMIT]
    assert "gateway-7" not in str(row)
