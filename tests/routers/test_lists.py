"""Carts, deliveries, cycles, polls and quarantine as lists and details, on what a real cycle left behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import make_company, make_destination
from tests.routers.conftest import Web
from tests.services.line import Line


async def get(web: Web, path: str, **query: Any) -> Any:
    """Return an answer's JSON, having checked that it is a success."""
    answer = await web.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def base(line: Line) -> str:
    """Return the address of a company with three abandoned carts, one active, one bought, and their delivery."""
    for number in range(3):
        line.add(f"left-{number}", minutes_ago=60 + number)
    line.add("busy_1", minutes_ago=1)
    line.add("nobody", minutes_ago=90, customer=None)
    await line.run()
    return f"/api/v1/companies/{line.company}"


async def ids(web: Web, path: str, **query: Any) -> set[str]:
    return {row["source_cart_id"] for row in (await get(web, path, **query))["items"]}


async def test_carts_can_be_filtered_by_state(web: Web, base: str) -> None:
    assert await ids(web, f"{base}/carts", state="active") == {"busy_1"}


async def test_carts_can_be_filtered_by_contact(web: Web, base: str) -> None:
    assert await ids(web, f"{base}/carts", is_contactable=False) == {"nobody"}
    assert "nobody" not in await ids(web, f"{base}/carts", is_contactable=True)


async def test_carts_can_be_filtered_by_last_activity(web: Web, line: Line, base: str) -> None:
    recently = (line.clock.now() - timedelta(minutes=30)).isoformat()
    assert await ids(web, f"{base}/carts", min_date=recently) == {"busy_1"}
    assert "busy_1" not in await ids(web, f"{base}/carts", max_date=recently)


async def test_carts_can_be_filtered_by_store(web: Web, line: Line, base: str) -> None:
    assert len(await ids(web, f"{base}/carts", integration_id=line.integration)) == 5
    assert await ids(web, f"{base}/carts", integration_id="another") == set()


@pytest.mark.parametrize(("search", "found"), [("left-", 3), ("busy_1", 1), ("busy%", 0), ("_", 1), ("'", 0)])
async def test_carts_can_be_searched_by_their_stores_id(web: Web, base: str, search: str, found: int) -> None:
    assert len(await ids(web, f"{base}/carts", search=search)) == found


async def test_pages_show_every_cart_once(web: Web, base: str) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await get(web, f"{base}/carts", limit=2, after=after)
        seen += [row["source_cart_id"] for row in page["items"]]
        after = page["next"]
    assert sorted(seen) == ["busy_1", "left-0", "left-1", "left-2", "nobody"]


async def test_a_list_masks_contact_and_keeps_the_link_back_to_itself(web: Web, line: Line) -> None:
    line.add("linked", minutes_ago=50, recovery_url="https://shop.example/recover/s3cret")
    await line.run()
    answer = await web.client.get(f"/api/v1/companies/{line.company}/carts")
    assert "s3cret" not in answer.text
    (row,) = answer.json()["items"]
    assert row["recovery_host"] == "shop.example"
    assert "•••@" in row["email_masked"]


async def test_a_cart_shows_its_items_events_and_why_it_was_handed_off(web: Web, base: str) -> None:
    (row,) = (await get(web, f"{base}/carts", search="left-0"))["items"]
    cart = await get(web, f"{base}/carts/{row['id']}")
    assert [event["type"] for event in cart["events"]] == ["cart.abandoned", "cart.created"]
    assert len(cart["items"]) == row["item_count"]
    (decision,) = cart["decisions"]
    assert (decision["verdict"], decision["delivery_state"]) == ("allow", "delivered")
    assert ["bought", "pass"] in decision["trace"]


async def test_a_cart_that_stays_says_which_rule_kept_it(web: Web, base: str) -> None:
    (row,) = (await get(web, f"{base}/carts", search="nobody"))["items"]
    (decision,) = (await get(web, f"{base}/carts/{row['id']}"))["decisions"]
    assert (decision["verdict"], decision["rule"], decision["delivery_id"]) == ("deny", "contactable", None)


async def test_a_delivery_shows_its_attempts_and_carts(web: Web, base: str) -> None:
    (row,) = (await get(web, f"{base}/deliveries", state="delivered"))["items"]
    delivery = await get(web, f"{base}/deliveries/{row['id']}")
    assert [attempt["number"] for attempt in delivery["attempt_list"]] == [1]
    assert {cart["source_cart_id"] for cart in delivery["carts"]} == {"left-0", "left-1", "left-2"}
    assert delivery["in_words"].startswith("Delivered at attempt 1: accepted (HTTP 20")


async def test_deliveries_can_be_filtered(web: Web, line: Line) -> None:
    address = "http://127.0.0.1:1/closed"
    closed = await make_destination(line.world, line.company, line.agent, address, name="closed")
    line.add("left", minutes_ago=45)
    await line.run()
    path = f"/api/v1/companies/{line.company}/deliveries"
    (failed,) = (await get(web, path, destination_id=closed))["items"]
    assert failed["state"] == "pending"
    assert "no connection" in failed["in_words"]
    assert (await get(web, path, state="dead"))["items"] == []
    assert len((await get(web, path, integration_id=line.integration))["items"]) == 2


async def test_cycles_are_listed_with_their_sums(web: Web, base: str) -> None:
    assert base
    (cycle,) = (await get(web, "/api/v1/cycles", kind="test_once"))["items"]
    assert (cycle["carts_new"], cycle["deliveries_succeeded"], cycle["ok"]) == (5, 1, True)
    assert await get(web, f"/api/v1/cycles/{cycle['cycle_id']}") == cycle


async def test_polls_are_listed_per_company_and_per_store(web: Web, line: Line, base: str) -> None:
    (run,) = (await get(web, f"{base}/runs"))["items"]
    assert (run["integration_id"], run["outcome"]) == (line.integration, "ok")
    assert (await get(web, f"{base}/integrations/{line.integration}/runs"))["items"] == [run]
    assert (await get(web, f"{base}/runs", outcome="later"))["items"] == []


async def test_unreadable_records_are_listed_without_their_content(web: Web, line: Line) -> None:
    base = f"/api/v1/companies/{line.company}"
    line.add("broken", minutes_ago=40, total={"private": "content"})
    await line.run()
    answer = await web.client.get(f"{base}/quarantine", params={"is_open": True})
    (record,) = answer.json()["items"]
    assert record["source_cart_id"] == "broken"
    assert "private" not in answer.text
    assert (await get(web, f"{base}/quarantine", is_open=False))["items"] == []


@pytest.mark.parametrize("path", ["carts/{}", "deliveries/{}", "integrations/{}/runs", "destinations/{}", "agents/{}"])
async def test_what_is_not_there_answers_404(web: Web, base: str, path: str) -> None:
    assert (await web.client.get(f"{base}/{path.format('nothing')}")).status_code == 404


async def test_another_company_sees_none_of_it(web: Web, line: Line, base: str) -> None:
    stranger = f"/api/v1/companies/{await make_company(line.world, 'Stranger')}"
    (row,) = (await get(web, f"{base}/carts", search="left-0"))["items"]
    assert (await get(web, f"{stranger}/carts"))["items"] == []
    assert (await web.client.get(f"{stranger}/carts/{row['id']}")).status_code == 404


@pytest.mark.parametrize(
    "path", ["carts", "deliveries", "runs", "quarantine", "agents", "integrations", "destinations"]
)
async def test_a_company_that_is_not_there_answers_404(web: Web, path: str) -> None:
    assert (await web.client.get(f"/api/v1/companies/nobody/{path}")).status_code == 404
