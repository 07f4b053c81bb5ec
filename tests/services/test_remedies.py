"""A store that cannot be reached says what to do about it, and a bug of ours never passes for a good run."""

from __future__ import annotations

import pytest

from backend.models import integrations
from backend.platforms.custom import CustomPlatform
from tests.services.line import Line


async def test_a_store_that_answers_nothing_usable_has_a_remedy(line: Line) -> None:
    line.store.inject("reset", times=99)
    report = await line.run()
    assert "base_url" in report["integrations"][0]["remedy"]
    assert [row.last_remedy for row in await line.rows(integrations)] == [report["integrations"][0]["remedy"]]


async def test_a_poll_that_ends_in_a_bug_makes_the_run_fail(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(CustomPlatform, "fetch_page", broken)
    report = await line.run()
    assert (report["integrations"][0]["outcome"], report["ok"]) == ("bug", False)
