"""Start, stop, status and one-off runs over HTTP."""

from __future__ import annotations

import pytest

from tests.routers.conftest import Web
from tests.services.line import Line

STARTS = ["/polling/start", "/polling/start-abandoned-cart"]


@pytest.mark.parametrize("path", STARTS)
async def test_start_wants_polling_at_the_interval_asked_for(web: Web, path: str) -> None:
    answer = await web.client.post(f"{path}?interval=60")
    assert answer.json() == {"running": True, "interval_seconds": 60, "changed": True}


@pytest.mark.parametrize("path", STARTS)
async def test_start_without_an_interval_takes_the_default(web: Web, path: str) -> None:
    assert (await web.client.post(path)).json()["interval_seconds"] == 30


async def test_a_second_start_changes_nothing(web: Web) -> None:
    await web.client.post("/polling/start?interval=60")
    assert (await web.client.post("/polling/start")).json() == {
        "running": True, "interval_seconds": 60, "changed": False
    }  # fmt: skip


@pytest.mark.parametrize("path", STARTS)
@pytest.mark.parametrize("interval", ["4", "86401", "-30", "x", "", "1e3", "99999999999999999999", "%00", "30.5"])
async def test_an_interval_out_of_bounds_is_refused_by_name(web: Web, path: str, interval: str) -> None:
    answer = await web.client.post(f"{path}?interval={interval}")
    assert (answer.status_code, answer.json()["field"]) == (422, "query.interval")


@pytest.mark.parametrize("interval", [5, 86_400])
async def test_the_bounds_themselves_are_allowed(web: Web, interval: int) -> None:
    assert (await web.client.post(f"/polling/start?interval={interval}")).status_code == 200


async def test_stop_is_harmless_when_stopped(web: Web) -> None:
    await web.client.post("/polling/start")
    await web.client.post("/polling/stop")
    again = await web.client.post("/polling/stop")
    assert again.json() == {"running": False, "interval_seconds": 30, "changed": False}


async def test_status_follows_the_wanted_state(web: Web) -> None:
    await web.client.post("/polling/start?interval=45")
    status = (await web.client.get("/polling/status")).json()
    assert (status["running"], status["interval_seconds"]) == (True, 45)


async def test_status_tells_each_stores_age_against_its_objective(line: Line, web: Web) -> None:
    await line.run()
    (store,) = (await web.client.get("/polling/status")).json()["integrations"]
    assert (store["integration_id"], store["objective_seconds"]) == (line.integration, 180)
    assert store["watermark_age_seconds"] > 0


async def test_a_one_off_run_reports_what_it_did_and_leaves_polling_as_it_was(line: Line, web: Web) -> None:
    line.add("cart-1", minutes_ago=60)
    report = (await web.client.post("/polling/abandoned-cart/test-once")).json()
    assert (report["carts_new"], report["deliveries_succeeded"], report["ok"]) == (1, 1, True)
    assert (await web.client.get("/polling/status")).json()["running"] is False


async def test_the_report_over_http_is_the_report_itself(line: Line, web: Web) -> None:
    report = await web.services.poller.run_once("test_once")
    answer = await web.client.post("/polling/abandoned-cart/test-once")
    assert list(answer.json()) == list(web.app.openapi()["components"]["schemas"]["CycleReport"]["properties"])
    assert set(answer.json()) == set(report)
    assert set(answer.json()["integrations"][0]) == set(report["integrations"][0])
    assert line.effects() == []
