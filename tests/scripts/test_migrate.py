"""`python -m scripts.migrate`, which `make migrate` calls: the exit code, and one line for what is at fault."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.config import ROOT
from tests.databases import PostgresServer


def migrate(url: str) -> subprocess.CompletedProcess[str]:
    """Run the command for a database."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.migrate"], cwd=ROOT, env={**os.environ, "DATABASE_URL": url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_empty_database_is_brought_up_to_date_and_a_second_run_finds_it_so(empty_database_url: str) -> None:
    done = [migrate(empty_database_url) for _time in range(2)]
    assert [(run.returncode, run.stdout) for run in done] == [(0, "the database is up to date\n")] * 2, done


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:1/carts", "error: the database cannot be brought up to date: "),
        ("postgresql://u:secret@127.0.0.1:many/carts", "error: DATABASE_URL: the port is no number"),
        ("mysql://u:secret@db/carts", "error: DATABASE_URL: mysql is not supported"),
        ("sqlite:////dev/null/carts.db", "error: the database cannot be brought up to date: "),
    ],
    ids=["nobody listens", "no port", "no such kind", "no such folder"],
)
def test_a_fault_is_one_line_without_the_password(url: str, words: str) -> None:
    done = migrate(url)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith(words)
    assert "secret" not in done.stderr


def test_a_database_that_is_not_there_is_one_line(postgres_server: PostgresServer) -> None:
    done = migrate(postgres_server.url("no_such_database"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "no_such_database" in done.stderr
