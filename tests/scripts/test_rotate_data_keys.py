"""The command that gives companies another version of their data key."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import pytest
from sqlalchemy import update

from backend.config import ROOT, Settings
from backend.crypto import new_key
from backend.db import Database, prepare_database
from backend.models import destinations
from backend.services.keyring import Keyring
from tests.factories import make_agent, make_company, make_destination
from tests.worlds import opened_world

MASTER = new_key()
SECRET = "whsec_QXNlY3JldG9mdGhpcnR5dHdvYnl0ZXNmb3JzdXJlMQ=="


@pytest.fixture
async def companies(sqlite_url: str) -> list[str]:
    """Return two companies, each with a destination, under the master key."""
    await prepare_database(Settings(_env_file=None, database_url=sqlite_url))
    made = []
    async with opened_world(sqlite_url) as world:
        world.keyring = Keyring(MASTER)
        for name in ("a", "b"):
            company = await make_company(world, name)
            agent = await make_agent(world, company)
            await make_destination(world, company, agent, "https://partner.example/hook", SECRET)
            made.append(company)
    return made


def run(url: str, *options: str) -> tuple[int, list[str]]:
    given = {"DATABASE_URL": url, "MASTER_KEY": base64.b64encode(MASTER).decode()}
    command = [sys.executable, str(ROOT / "scripts" / "rotate_data_keys.py"), *options]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout + done.stderr
    assert (given["MASTER_KEY"] in said, SECRET in said) == (False, False)
    return done.returncode, said.splitlines()


def test_each_company_gets_a_new_version_and_the_next_run_removes_the_old(
    sqlite_url: str, companies: list[str]
) -> None:
    begun = [f"{name}: version 2, new; 1 values sealed anew; the next run may remove v1" for name in sorted(companies)]
    assert run(sqlite_url, "--hours", "0") == (0, begun)
    ended = [f"{name}: version 2; 0 values sealed anew; removed v1" for name in sorted(companies)]
    assert run(sqlite_url) == (0, ended)


def test_one_company_alone(sqlite_url: str, companies: list[str]) -> None:
    code, said = run(sqlite_url, "--hours", "0", "--company", companies[0])
    assert (code, [line.split(":")[0] for line in said]) == (0, [companies[0]])


def test_keys_that_are_young_are_left_alone(sqlite_url: str, companies: list[str]) -> None:
    assert run(sqlite_url) == (0, [f"{name}: version 1; 0 values sealed anew" for name in sorted(companies)])


async def test_what_no_key_opens_is_told_with_exit_code_1(sqlite_url: str, companies: list[str]) -> None:
    database = Database(Settings(_env_file=None, database_url=sqlite_url))
    async with database.transaction(companies[0]) as tx:
        mine = destinations.c.company_id == companies[0]
        await tx.execute(update(destinations).where(mine).values(secrets_sealed=b"broken"))
    await database.close()
    code, said = run(sqlite_url, "--hours", "0")
    assert (code, sum("NO KEY OPENS destinations/" in line for line in said)) == (1, 1)


def test_a_company_without_a_key_is_refused_in_one_line(sqlite_url: str, companies: list[str]) -> None:
    assert run(sqlite_url, "--company", "nobody") == (2, ["error: there is no data key of nobody"])
