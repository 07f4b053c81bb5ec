"""The console as a browser without scripts sees it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.routers.conftest import Web
from tests.services.line import Line


async def shown(web: Web, path: str, **query: Any) -> str:
    """Return a page's HTML, having checked that it is one."""
    answer = await web.client.get(path, params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return answer.text


async def press(web: Web, button: str, form: str = "") -> str:
    """Send one of the console's forms as a browser does, and return the page that follows."""
    answer = await web.client.post(
        f"/console/{button}",
        content=form,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://localhost:8000"},
        follow_redirects=True,
    )
    assert answer.status_code == 200
    return answer.text


async def test_an_empty_console_says_how_to_connect_a_store(web: Web) -> None:
    page = await shown(web, "/")
    assert "No store is connected yet" in page
    assert ".venv/bin/python scripts/apply_config.py" in page


async def test_start_and_stop_work_without_scripts(web: Web) -> None:
    page = await press(web, "start", "interval=45")
    assert "Polling is wanted" in page
    assert ">running<" in page
    assert 'value="45"' in page
    assert ">stopped<" in await press(web, "stop")
    assert "was stopped already" in await press(web, "stop")


@pytest.mark.parametrize("interval", ["", "4", "86401", "x", "-5", "1.5", "٣٠"])
async def test_a_wrong_interval_is_told_and_changes_nothing(web: Web, interval: str) -> None:
    assert "5 to 86,400" in await press(web, "start", f"interval={interval}")
    rhythm = await web.services.poller.rhythm()
    assert (rhythm.is_wanted, rhythm.interval) == (False, 30)


async def test_test_once_tells_what_it_did(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60)
    page = await press(web, "test-once")
    assert "Polled 1 store: 1 cart seen, 1 new, 1 abandoned; 1 delivery accepted." in page


async def test_test_once_tells_what_failed(web: Web, line: Line) -> None:
    await make_destination(line.world, line.company, line.agent, "http://127.0.0.1:1/closed", name="closed")
    line.add("cart-1", minutes_ago=60)
    assert "Failed: 1 delivery; see below." in await press(web, "test-once")


async def test_the_console_shows_the_last_cycle_and_delivery(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60)
    await line.run()
    page = await shown(web, "/")
    assert "10.00 USD" in page
    assert "Delivered at attempt 1" in page
    assert page.count("<svg") == 2


async def test_the_part_that_freshens_itself_is_the_part_on_the_page(web: Web, line: Line) -> None:
    await line.run()
    page, part = await shown(web, "/"), await shown(web, "/console/live")
    without_times = re.compile(r"<time.*?</time>")
    assert without_times.sub("", part) in without_times.sub("", page)


async def store_in(web: Web, **fields: Any) -> str:
    """Return the console of a company with one store in this state."""
    company = await make_company(web.world)
    agent = await make_agent(web.world, company)
    await make_integration(web.world, company, agent, **fields)
    return await shown(web, "/")


async def test_a_store_in_trouble_says_why_and_what_to_do(web: Web) -> None:
    page = await store_in(
        web, last_error="the store answered 401", last_remedy="make a new token", refusals=3, status="paused",
        pause_reason="credentials_rejected", last_error_at=web.world.clock.now(),
    )  # fmt: skip
    assert ">paused<" in page
    assert "the store answered 401" in page
    assert "make a new token" in page


async def test_a_store_that_is_switched_off_raises_no_alarm(web: Web) -> None:
    page = await store_in(web, status="inactive", failures=3, last_error="no answer")
    assert '<span class="faint">no answer</span>' in page
    assert '<span class="error">no answer</span>' not in page


async def test_a_plot_of_one_cycle_is_no_block(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60)
    assert 'viewBox="0 0 240 60"' in await press(web, "test-once")


async def test_a_store_that_falls_behind_is_late(web: Web) -> None:
    page = await store_in(web, watermark=web.world.clock.now() - timedelta(hours=2))
    assert ">behind<" in page
    assert ">late<" in page
    assert "2 h ago" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "inactive"}, "switched off"),
        ({}, "not read yet"),
        ({"waiting_for": "back-off"}, "waiting"),
    ],
)
async def test_a_store_says_how_it_stands(web: Web, fields: dict[str, Any], words: str) -> None:
    later = {"waiting_until": web.world.clock.now() + timedelta(minutes=5)} if "waiting_for" in fields else {}
    assert f">{words}<" in await store_in(web, **fields, **later)


async def test_a_store_whose_agent_is_switched_off_is_not_polled(web: Web) -> None:
    company = await make_company(web.world)
    agent = await make_agent(web.world, company, status="inactive")
    await make_integration(web.world, company, agent)
    assert ">not polled<" in await shown(web, "/")


async def test_made_up_data_is_flagged(web: Web) -> None:
    assert "mock data" in await store_in(web, platform="mock", settings={}, credentials={})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "disabled", "status_reason": "answered 410"}, "answered 410"),
        ({"status": "inactive"}, "switched off"),
        ({"failures": 7}, "7 failures in a row; next try in"),
        ({"failures": 2}, "2 in a row"),
        ({}, "not used yet"),
    ],
)
async def test_a_destination_says_how_it_stands(web: Web, fields: dict[str, Any], words: str) -> None:
    if fields.get("failures") == 7:
        fields = fields | {"held_until": web.world.clock.now() + timedelta(minutes=5)}
    company = await make_company(web.world)
    agent = await make_agent(web.world, company)
    await make_destination(web.world, company, agent, "https://user@partner.example/hook?key=s3cret", **fields)
    page = await shown(web, "/")
    assert words in page
    assert "partner.example" in page
    assert "s3cret" not in page
    assert "user@" not in page


async def test_names_are_shown_as_text_never_as_markup(web: Web) -> None:
    company = await make_company(web.world, "<script>alert(1)</script>")
    agent = await make_agent(web.world, company, name='"><img src=x onerror=alert(2)>')
    await make_integration(web.world, company, agent, name="</td><b>bold")
    page = await shown(web, "/")
    assert "&lt;script&gt;alert(1)" in page
    assert "<img" not in page
    assert "<b>bold" not in page


async def test_a_search_is_shown_as_text(web: Web) -> None:
    page = await shown(web, "/carts", search='"><script>alert(1)</script>')
    assert "<script>alert" not in page


async def test_pages_have_no_script_or_style_of_their_own(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60)
    await line.run()
    for path in ("/", "/carts", "/deliveries", "/docs"):
        page = await shown(web, path)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page), path
        assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""], path


async def test_a_carts_page_masks_the_shopper_and_hides_the_way_back(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60, recovery_url="https://shop.example/recover/s3cret")
    await line.run()
    listing = await shown(web, "/carts", state="abandoned")
    path = re.findall(r'href="(/carts/[^"]+)"', listing)[0]
    page = await shown(web, path)
    assert "c•••@example.com" in page
    assert "a link on shop.example" in page
    assert "s3cret" not in listing + page
    assert "cart-1@" not in listing + page
    assert "<b>threshold</b> pass" in page


async def test_a_deliverys_page_shows_its_attempts(web: Web, line: Line) -> None:
    line.add("cart-1", minutes_ago=60)
    await line.run()
    path = re.findall(r'href="(/deliveries/[^"]+/[^"]+)"', await shown(web, "/deliveries"))[0]
    page = await shown(web, path)
    assert "accepted (HTTP 204 No Content)" in page
    assert "cart-1" in page


async def test_a_list_goes_on_to_older_rows(web: Web, line: Line) -> None:
    for number in range(3):
        line.add(f"cart-{number}", minutes_ago=60)
    await line.run()
    first = await shown(web, "/carts", limit=2, state="abandoned")
    onward = re.findall(r'href="(/carts\?[^"]+)">Older', first)[0].replace("&amp;", "&")
    assert "state=abandoned" in onward
    rest = await shown(web, onward)
    assert len(set(re.findall(r"<code>(cart-\d)</code>", first + rest))) == 3


@pytest.mark.parametrize("path", ["/carts/{}/nothing", "/deliveries/{}/nothing", "/carts/nobody/nothing"])
async def test_what_is_not_there_gets_a_page_that_says_so(web: Web, path: str) -> None:
    answer = await web.client.get(path.format(await make_company(web.world)))
    assert (answer.status_code, "There is no such thing" in answer.text) == (404, True)


async def test_a_word_that_no_button_said_is_not_shown(web: Web) -> None:
    assert 'class="said' not in await shown(web, "/", said="you-won")
    assert 'class="said' not in await shown(web, "/", said="tested", cycle="nothing")
