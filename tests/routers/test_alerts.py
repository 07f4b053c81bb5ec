"""Alerts over HTTP: lists, filters, pages, and whose they are; and the figures beside them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from backend.clock import Clock
from backend.models import alerts
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.services.line import Line


async def make_alert(line: Line, number: int, *, closed: bool = False, company: str = "") -> str:
    """Add an alert that opened so many minutes ago."""
    at = Clock().now() - timedelta(minutes=number)
    row = {
        "company_id": company or line.company, "id": f"a{number}", "subject": "integration", "subject_id": f"i{number}",
        "kind": "not_advancing", "words": "it stands still", "opened_at": at, "seen_at": at,
        "closed_at": at if closed else None,
    }  # fmt: skip
    async with line.base.database.work() as tx:
        await tx.execute(insert(alerts).values(**row))
    return f"a{number}"


async def ids(web: Web, path: str) -> list[str]:
    return [item["id"] for item in (await web.client.get(path)).json()["items"]]


async def test_alerts_are_listed_newest_first(line: Line, web: Web) -> None:
    for number in (2, 1, 3):
        await make_alert(line, number)
    assert await ids(web, "/api/v1/alerts") == ["a1", "a2", "a3"]


@pytest.mark.parametrize(("query", "found"), [("", ["a1", "a2"]), ("?state=open", ["a1"]), ("?state=closed", ["a2"])])
async def test_open_and_closed_ones_can_be_asked_for(line: Line, web: Web, query: str, found: list[str]) -> None:
    await make_alert(line, 1)
    await make_alert(line, 2, closed=True)
    assert await ids(web, f"/api/v1/alerts{query}") == found


async def test_a_list_goes_on_where_it_ended(line: Line, web: Web) -> None:
    for number in (1, 2, 3):
        await make_alert(line, number)
    first = (await web.client.get("/api/v1/alerts?limit=2")).json()
    assert await ids(web, f"/api/v1/alerts?limit=2&after={first['next']}") == ["a3"]


async def test_a_company_s_list_has_its_own_only(line: Line, web: Web) -> None:
    other = await make_company(line.world, "Other")
    await make_alert(line, 1)
    await make_alert(line, 2, company=other)
    assert await ids(web, f"/api/v1/companies/{other}/alerts") == ["a2"]


async def test_a_company_that_is_not_there_has_no_list(web: Web) -> None:
    assert (await web.client.get("/api/v1/companies/nobody/alerts")).status_code == 404


async def test_an_alert_says_what_is_wrong_and_since_when(line: Line, web: Web) -> None:
    await make_alert(line, 1)
    (item,) = (await web.client.get("/api/v1/alerts")).json()["items"]
    told: Any = (item["company"], item["kind"], item["words"], item["is_open"], item["closed_at"])
    assert told == ("Acme", "not_advancing", "it stands still", True, None)


async def test_the_status_and_the_console_show_open_alerts(line: Line, web: Web) -> None:
    await make_alert(line, 1)
    await make_alert(line, 2, closed=True)
    status = (await web.client.get("/polling/status")).json()
    assert ([alert["id"] for alert in status["alerts"]], status["alerts_open"]) == (["a1"], 1)
    page = (await web.client.get("/")).text
    assert page.count("it stands still") == 1
    assert status["summary"] in page


async def test_metrics_are_text_that_prometheus_reads(line: Line, web: Web) -> None:
    await make_alert(line, 1)
    answer = await web.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        sample.labels["kind"]: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "cart_alerts_open"
    }
    assert found["not_advancing"] == 1


async def test_metrics_stand_behind_the_sign_in(web: Web) -> None:
    assert (await web.client.get("/metrics", headers={"Host": "evil.example"})).status_code == 401


async def test_requests_are_timed_by_the_pattern_of_their_route(web: Web) -> None:
    for path in ("/api/v1/companies/one/alerts", "/api/v1/companies/two/alerts", "/nowhere/at/all"):
        await web.client.get(path)
    counted = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families((await web.client.get("/metrics")).text)
        for sample in family.samples
        if sample.name == "cart_http_request_seconds_count"
    }
    assert counted == {("GET", "/api/v1/companies/{company_id}/alerts", "4xx"): 2, ("GET", "none", "4xx"): 1}
