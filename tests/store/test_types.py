"""The column types for time and money, to and from both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Dialect, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError

from backend.domain.ids import new_id
from backend.domain.money import LIMIT
from backend.models import cart_items, poll_cycles, workers
from backend.models.base import Money, UtcDateTime
from backend.store.bulk import Bulk
from backend.store.carts import CartStore
from tests.domain.sights import line
from tests.factories import make_agent, make_company, make_integration
from tests.store.rows import add_carts
from tests.worlds import World

NEPAL = timezone(timedelta(hours=5, minutes=45))
MOMENTS = [
    datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
    datetime(2026, 11, 20, 12, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 11, 20, 17, 45, 0, 999_999, tzinfo=NEPAL),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC),
]
DIALECTS: list[Dialect] = [sqlite.dialect(), postgresql.dialect()]  # type: ignore[no-untyped-call]


async def store(world: World, table: Table, moment: datetime) -> None:
    async with world.database.work() as tx:
        await tx.execute(insert(table).values(id=new_id(), kind="beat", started_at=moment))


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
async def test_a_time_comes_back_as_the_same_moment_in_utc(world: World, moment: datetime) -> None:
    await store(world, poll_cycles, moment)
    async with world.database.work() as tx:
        found = (await tx.execute(select(poll_cycles.c.started_at))).scalar_one()
    assert (found, found.tzinfo) == (moment, UTC)


async def test_a_time_without_a_zone_is_refused(world: World) -> None:
    with pytest.raises(StatementError, match="without a zone"):
        await store(world, poll_cycles, datetime(2026, 11, 20, 12))  # noqa: DTZ001  that is the point


async def test_times_sort_as_they_happened_whatever_zone_they_came_in(world: World) -> None:
    for moment in MOMENTS:
        await store(world, poll_cycles, moment)
    async with world.database.work() as tx:
        found = list((await tx.execute(select(poll_cycles.c.started_at).order_by(poll_cycles.c.started_at))).scalars())
    assert found == sorted(MOMENTS)


async def test_a_bulk_insert_stores_times_as_any_other(world: World) -> None:
    bulk = Bulk(workers, ("id", "host", "pid", "role", "runs_loops", "started_at", "seen_at"))
    async with world.database.work() as tx:
        await bulk.insert(tx, [(f"w{at}", "h", at, "r", True, moment, moment) for at, moment in enumerate(MOMENTS)])
        found = list((await tx.execute(select(workers.c.seen_at).order_by(workers.c.pid))).scalars())
        before = MOMENTS[1]
        earlier = list((await tx.execute(select(workers.c.pid).where(workers.c.seen_at < before))).scalars())
    assert (found, sorted(earlier)) == (MOMENTS, [0, 3])


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "postgresql"])
@given(amount=st.decimals(-LIMIT, LIMIT, places=4))
def test_an_amount_makes_the_round_trip_to_the_last_digit(dialect: Dialect, amount: Decimal) -> None:
    kind = Money()
    assert kind.process_result_value(kind.process_bind_param(amount, dialect), dialect) == amount


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "postgresql"])
@given(moment=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_a_moment_makes_the_round_trip(dialect: Dialect, moment: datetime) -> None:
    kind = UtcDateTime()
    assert kind.process_result_value(kind.process_bind_param(moment, dialect), dialect) == moment.astimezone(UTC)


@pytest.mark.parametrize("amount", ["0", "0.0001", "459.97", "-3.50", str(LIMIT), str(-LIMIT), "12345678901234.5678"])
async def test_a_database_gives_back_the_amount_it_took(world: World, amount: str) -> None:
    company = await make_company(world)
    store_id = await make_integration(world, company, await make_agent(world, company))
    (cart,) = await add_carts(world, company, store_id, 1)
    wanted = line(line_total=Decimal(amount), unit_price=Decimal(amount), quantity=Decimal("0.1250"))
    async with world.database.transaction(company) as tx:
        await CartStore(tx, company).replace_lines({cart.id: [wanted]}, known=False)
        assert await CartStore(tx, company).lines_of([cart.id]) == {cart.id: (wanted,)}
        assert (await tx.execute(select(cart_items.c.line_total))).scalar_one() == Decimal(amount)
