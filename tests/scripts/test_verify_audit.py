"""The command that reads every audit chain again, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from backend.clock import Clock
from backend.config import ROOT, Settings
from backend.crypto import load_master_key
from backend.db import Database, prepare_database
from backend.domain.audit import INSTALLATION
from backend.services.audit import note
from backend.services.audit_trail import AuditTrail
from backend.services.keyring import Keyring


@pytest.fixture
async def settings(sqlite_url: str) -> Settings:
    """Return the settings of a database with three records, which were signed; their heads are in `heads.log`."""
    settings = Settings(_env_file=None, database_url=sqlite_url)
    await prepare_database(settings)
    database, clock = Database(settings), Clock()
    trail = AuditTrail(database, clock, Keyring(load_master_key(settings)))
    for _ in range(3):
        async with database.work() as tx:
            await note(tx, INSTALLATION, clock.now(), "thing.done", "thing")
    with structlog.testing.capture_logs() as lines:
        await trail.sign_due()
    heads = settings.sqlite_path.with_name("heads.log")
    written = "\n".join(str(structlog.processors.JSONRenderer()(None, "", line)) for line in lines)
    await asyncio.to_thread(heads.write_text, f"{written}\nnot a line of ours\n")
    await database.close()
    return settings


def run(settings: Settings, *options: str) -> tuple[int, str]:
    """Run the command; return its exit code and all that it said."""
    environment = {**os.environ, "DATABASE_URL": settings.database_url}
    command = [sys.executable, str(ROOT / "scripts" / "verify_audit.py"), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def heads_of(settings: Settings) -> Path:
    return settings.sqlite_path.with_name("heads.log")


def change(settings: Settings, *statements: str) -> None:
    with sqlite3.connect(settings.sqlite_path) as connection:
        for statement in statements:
            connection.execute(statement)


def test_chains_that_nobody_touched_hold(settings: Settings) -> None:
    assert run(settings) == (0, "holds  installation: 3 records, signed up to 3\n")
    assert run(settings, "--heads", str(heads_of(settings)))[0] == 0


def test_the_first_record_that_was_changed_is_named(settings: Settings) -> None:
    change(settings, "UPDATE audit_log SET actor = 'nobody' WHERE seq = 2")
    code, said = run(settings)
    assert (code, "BROKEN installation: record 2" in said) == (1, True), said


def test_a_chain_that_was_cut_with_its_heads_shows_against_the_log(settings: Settings) -> None:
    change(settings, "DELETE FROM audit_log WHERE seq = 3", "DELETE FROM audit_heads")
    assert run(settings)[0] == 0
    code, said = run(settings, "--heads", str(heads_of(settings)))
    assert (code, "record 3: it is missing" in said) == (1, True), said


@pytest.mark.parametrize("line", ['{"event": "audit.head_signed"}', "audit.head_signed", '["audit.head_signed"]'])
def test_a_log_that_cannot_be_read_is_told(settings: Settings, line: str) -> None:
    heads_of(settings).write_text(line)
    code, said = run(settings, "--heads", str(heads_of(settings)))
    assert (code, "line 1" in said, len(said.splitlines())) == (2, True, 1), said


def test_a_log_that_is_not_there_is_told(settings: Settings) -> None:
    code, said = run(settings, "--heads", "/nowhere.log")
    assert (code, len(said.splitlines())) == (2, 1), said


def test_a_record_that_cannot_even_be_read_is_a_break(settings: Settings) -> None:
    change(settings, "UPDATE audit_log SET details = '{' WHERE seq = 3")
    code, said = run(settings)
    assert (code, said.startswith("BROKEN installation"), len(said.splitlines())) == (1, True, 1), said


def test_a_chain_that_is_not_there_and_a_log_without_heads_are_told(settings: Settings) -> None:
    heads_of(settings).write_text("nothing of ours\n")
    for options in (("--company", "nope"), ("--heads", str(heads_of(settings)))):
        code, said = run(settings, *options)
        assert (code, len(said.splitlines())) == (2, 1), said
