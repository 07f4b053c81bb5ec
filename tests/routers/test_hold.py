"""Hold and release over HTTP and on the console."""

from __future__ import annotations

import pytest

from backend.models import installation_state
from tests.routers.conftest import Web
from tests.services.line import Line

REASON = {"reason": "the partner moves tonight"}


async def test_a_hold_and_a_release_over_http(web: Web) -> None:
    done = [
        (await web.client.post("/deliveries/hold", json=REASON)).json(),
        (await web.client.post("/deliveries/hold", json=REASON)).json(),
        (await web.client.post("/deliveries/release")).json(),
        (await web.client.post("/deliveries/release")).json(),
    ]
    assert done == [
        {"held": True, "changed": True},
        {"held": True, "changed": False},
        {"held": False, "changed": True},
        {"held": False, "changed": False},
    ]


async def test_the_plan_over_http_is_the_plan_itself(line: Line, web: Web) -> None:
    await web.client.post("/deliveries/hold", json=REASON)
    line.add("cart-1", minutes_ago=60)
    await line.run()
    answer = (await web.client.get("/deliveries/hold")).json()
    assert set(answer) == set(await web.services.hold.plan())
    assert (answer["held"]["reason"], answer["deliveries_waiting"]) == (REASON["reason"], 1)


async def test_a_field_that_nobody_reads_is_refused(web: Web) -> None:
    answer = await web.client.post("/deliveries/hold", json={**REASON, "until": "tomorrow"})
    assert (answer.status_code, answer.json()["field"]) == (422, "body.until")
    assert (await web.client.get("/deliveries/hold")).json()["held"] is None


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 301}, {"reason": "a\0b"}])
async def test_a_reason_that_cannot_be_kept_is_refused(web: Web, body: dict[str, str]) -> None:
    answer = await web.client.post("/deliveries/hold", json=body)
    assert (answer.status_code, "reason" in answer.json()["field"]) == (422, True)


async def test_a_release_takes_no_body(web: Web) -> None:
    assert (await web.client.post("/deliveries/release", json={"all": True})).status_code == 422


async def test_the_status_says_that_deliveries_are_held(web: Web) -> None:
    await web.client.post("/deliveries/hold", json=REASON)
    held = (await web.client.get("/polling/status")).json()["deliveries_held"]
    assert (held["reason"], "POST /deliveries/release" in held["what_to_do"]) == (REASON["reason"], True)


async def test_the_console_says_why_deliveries_are_held_and_where_to_release_them(web: Web) -> None:
    before = (await web.client.get("/console/live")).text
    await web.client.post("/deliveries/hold", json=REASON)
    banner = (await web.client.get("/console/live")).text
    assert "Deliveries are held" not in before
    assert REASON["reason"] in banner
    assert 'href="/console/hold"' in banner


async def test_the_console_shows_the_plan_before_its_button(line: Line, web: Web) -> None:
    await web.client.post("/deliveries/hold", json=REASON)
    line.add("cart-1", minutes_ago=60)
    await line.run()
    page = (await web.client.get("/console/hold")).text
    assert "Release 1 deliver" in page
    assert "1 of 1" in page


async def test_the_consoles_buttons_hold_and_release(line: Line, web: Web) -> None:
    held = await web.client.post("/console/hold", data=REASON)
    (row,) = await line.rows(installation_state)
    released = await web.client.post("/console/release")
    (after,) = await line.rows(installation_state)
    assert (row.hold_reason, after.hold_reason) == (REASON["reason"], None)
    assert [each.headers["location"] for each in (held, released)] == [
        "/console/hold?said=held", "/console/hold?said=released",
    ]  # fmt: skip


async def test_the_consoles_form_without_a_reason_says_what_is_missing(web: Web) -> None:
    answer = await web.client.post("/console/hold", data={"reason": " "}, follow_redirects=True)
    assert "A reason has 1 to 300 characters" in answer.text
