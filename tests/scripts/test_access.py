"""The command that makes the first key, on a real database, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.config import ROOT, Settings
from backend.db import prepare_database
from backend.domain.api_keys import is_whole


@pytest.fixture
async def url(sqlite_url: str) -> str:
    """Return the URL of a database that is up to date."""
    await prepare_database(Settings(_env_file=None, database_url=sqlite_url))
    return sqlite_url


def run(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": url, "COLUMNS": "80"}
    command = [sys.executable, str(ROOT / "scripts" / "access.py"), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_key_stands_alone_on_standard_output_and_in_no_list(url: str) -> None:
    made = run(url, "create-key", "first owner", "--role", "owner")
    key = made.stdout.strip()
    listed = run(url, "keys").stdout
    assert (made.returncode, is_whole(key)) == (0, True), made.stderr
    key_id = made.stderr.split()[1].rstrip(":")
    assert key_id in listed
    assert ("first owner" in listed, "owner" in listed, key in listed, key[:16] in listed) == (True, True, False, True)


def test_a_key_is_rotated_and_revoked_by_its_id(url: str) -> None:
    made = run(url, "create-key", "k")
    key_id = made.stderr.split()[1].rstrip(":")
    rotated, revoked = run(url, "rotate-key", key_id), run(url, "revoke-key", key_id)
    assert (is_whole(rotated.stdout.strip()), revoked.returncode, "revoked" in run(url, "keys").stdout) == (
        True,
        0,
        True,
    )


def test_without_keys_the_list_says_how_to_make_one(url: str) -> None:
    assert "create-key" in run(url, "keys").stdout


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["create-key", "k", "--company", "nobody"], "there is no company nobody"),
        (["create-key", "k", "--scope", "carts:eat"], "carts:eat"),
        (["create-key", "k", "--days", "0"], "expires_in_days"),
        (["create-key", ""], "name"),
        (["revoke-key", "none"], "there is no key none"),
    ],
)
def test_what_cannot_be_done_is_one_line(url: str, options: list[str], word: str) -> None:
    done = run(url, *options)
    assert (done.returncode, word in done.stderr, len(done.stderr.splitlines())) == (1, True, 1), done.stderr


def test_a_database_at_fault_is_one_line() -> None:
    done = run("sqlite:////dev/null/x.db", "keys")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_the_role_table_names_every_group(url: str) -> None:
    printed = run(url, "roles").stdout
    assert all(
        word in printed for word in ("/polling/start", "operator", "/api/v1/companies/{company_id}/carts", "anybody")
    )
