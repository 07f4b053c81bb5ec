"""The command that shows what is held and releases it, and what --once says of a hold."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.clock import Clock
from backend.config import ROOT, Settings
from backend.db import Database
from backend.services.restore import DeliveryHold


@pytest.fixture
async def url(sqlite_url: str) -> str:
    """Return the URL of a database whose deliveries are held."""
    database = Database(settings := Settings(_env_file=None, database_url=sqlite_url))
    await DeliveryHold(settings, database, Clock()).hold("the partner moves tonight")
    await database.close()
    return sqlite_url


def run(url: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, str(ROOT / script), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_without_yes_it_shows_the_plan_and_releases_nothing(url: str) -> None:
    for _ in range(2):
        done = run(url, "scripts/release_deliveries.py")
        assert (done.returncode, "the partner moves tonight" in done.stdout) == (0, True), done.stderr


def test_with_yes_it_releases(url: str) -> None:
    done = [run(url, "scripts/release_deliveries.py", "--yes").stdout for _ in range(2)]
    assert ["released" in done[0], "deliveries are not held" in done[1]] == [True, True]


def test_a_one_off_run_says_why_nothing_is_sent_and_how_to_release(url: str) -> None:
    done = run(url, "run_abandoned_cart_polling.py", "--once")
    assert "deliveries are held: the partner moves tonight" in done.stderr
    assert "POST /deliveries/release" in done.stderr


def test_a_database_at_fault_is_one_line() -> None:
    done = run("sqlite:////dev/null/x.db", "scripts/release_deliveries.py")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
