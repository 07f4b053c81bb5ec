"""The command that puts another master key in the old one's place."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import pytest

from backend.clock import Clock
from backend.config import ROOT, Settings
from backend.crypto import new_key
from backend.db import Database, prepare_database
from backend.services.keyring import Keyring

OLD, NEW = new_key(), new_key()


@pytest.fixture
async def url(sqlite_url: str) -> str:
    """Return a database with two companies' keys, wrapped by the old master key."""
    settings = Settings(_env_file=None, database_url=sqlite_url)
    await prepare_database(settings)
    database, keyring = Database(settings), Keyring(OLD)
    for company in ("a", "b"):
        async with database.transaction(company) as tx:
            await keyring.newest_version(tx, company, Clock().now())
    await database.close()
    return sqlite_url


def run(url: str, key: bytes, *others: bytes) -> tuple[int, str]:
    shown = [base64.b64encode(each).decode() for each in (key, *others)]
    given = {"DATABASE_URL": url, "MASTER_KEY": shown[0], "MASTER_KEY_OTHERS": ",".join(shown[1:])}
    command = [sys.executable, str(ROOT / "scripts" / "rotate_master_key.py")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout + done.stderr
    assert not any(each in said for each in shown)
    return done.returncode, said


def test_the_keys_are_wrapped_anew_and_the_old_one_is_no_longer_needed(url: str) -> None:
    code, said = run(url, NEW, OLD)
    assert (code, said.startswith("2 data keys wrapped anew")) == (0, True), said
    # The record of the rotation is in the installation's chain, which has no key of its own before it is signed.
    assert run(url, NEW)[1].startswith("0 data keys wrapped anew")
    assert run(url, OLD)[0] == 2


def test_without_the_old_key_it_is_refused_in_one_line(url: str) -> None:
    code, said = run(url, NEW)
    assert (code, len(said.splitlines())) == (2, 1), said
