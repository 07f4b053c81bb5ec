"""Two companies on one installation, one simulated host and one partner host share nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import orjson
import pytest

from backend.domain.signing import make_secret
from backend.models import carts, customers, deliveries, integrations
from backend.store.deliveries import DeliveryStore
from tests.factories import make_agent, make_company, make_destination
from tests.services.acts import add_store, buy, change, store_row
from tests.services.line import Line

ADA = {"customer": {"email": "ada@example.com", "first": "Ada"}}


@dataclass
class Other:
    """A second company with the same shopper, the same cart id and a partner at the same host."""

    company: str
    store: str
    secret: str


@pytest.fixture
async def other(line: Line) -> Other:
    """Return the second company."""
    company = await make_company(line.world, "Bolt")
    agent, secret = await make_agent(line.world, company), make_secret()
    store = await add_store(line, "s1", company, agent)
    line.partner.register("q", [secret])
    await make_destination(line.world, company, agent, f"{line.partner.base_url}/hook/q", secret)
    line.add("c1", 45, **ADA)
    line.store.add_cart("s1", "c1", line.clock.now() - timedelta(minutes=45), **ADA, total="77.00")
    return Other(company, store, secret)


async def test_each_partner_gets_its_own_company_s_carts(line: Line, other: Other) -> None:
    await line.run()
    bodies = {name: orjson.loads(line.partner.hook(name).bodies[0]) for name in ("p", "q")}
    told = {
        name: (body["company"]["name"], len(body["abandoned_carts"]), body["recovery_analytics"]["total_value"])
        for name, body in bodies.items()
    }
    assert told == {"p": ("Acme", 1, 10.0), "q": ("Bolt", 1, 77.0)}


async def test_the_same_cart_id_is_two_happenings(line: Line, other: Other) -> None:
    await line.run()
    ids = [set(line.partner.hook(name).effects) for name in ("p", "q")]
    assert (len(ids[0] | ids[1]), ids[0] & ids[1]) == (2, set())


async def test_the_same_shopper_is_two_customers(line: Line, other: Other) -> None:
    await line.run()
    assert {row.company_id for row in await line.rows(customers)} == {line.company, other.company}


async def test_a_message_is_signed_with_its_own_company_s_secret(line: Line, other: Other) -> None:
    line.partner.register("q", [line.secret])  # the partner of B is given A's secret
    await line.run()
    assert (line.partner.hook("q").counts["bad_signatures"], len(line.partner.hook("p").effects)) == (1, 1)


async def test_a_store_is_asked_with_its_own_company_s_credentials(line: Line, other: Other) -> None:
    await line.run()
    tokens = {seen.path.split("/")[1]: seen.headers["Authorization"] for seen in line.store.requests}
    assert tokens == {"s0": "Bearer token-s0", "s1": "Bearer token-s1"}


async def test_a_purchase_at_one_says_nothing_of_the_other(line: Line, other: Other) -> None:
    await line.run()
    buy(line, "c1")
    await line.run()
    states = {row.company_id: row.state for row in await line.rows(carts)}
    assert states == {line.company: "recovered", other.company: "abandoned"}


async def test_one_that_is_paused_does_not_hold_up_the_other(line: Line, other: Other) -> None:
    await change(line, integrations, status="active")
    line.store.tenants["s0"].refused = True
    await line.run()
    assert ((await store_row(line)).refusals, len(line.partner.hook("q").effects)) == (1, 1)


async def test_a_row_of_one_is_not_found_for_the_other(line: Line, other: Other) -> None:
    await line.run()
    ids = {row.company_id: row.id for row in await line.rows(deliveries)}
    async with line.world.database.reading(other.company) as tx:
        assert await DeliveryStore(tx, other.company).held_carts([ids[line.company]]) == []
