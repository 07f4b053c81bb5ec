"""One caller's round over every case, on a database of its own, and what of it was a leak."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import httpx
import orjson
from fastapi import FastAPI
from sqlalchemy import select

from backend.config import Settings
from backend.main import create_app
from backend.models import companies, metadata
from backend.services.wiring import Services, build_services
from benchmarks.tenants_cases import Ask, Case
from benchmarks.tenants_companies import INSTALLATION_WORDS, Company
from benchmarks.tenants_filters import FilterRemover, Seen
from tests.databases import PostgresServer
from tests.services.line import SetClock

STRANGER = ("203.0.113.9", 50_000)
SHORTEST = 8  # characters of a text that is looked for
NOTHING = hashlib.md5(b"", usedforsecurity=False).hexdigest()  # the fingerprint of a table without rows
OWNED = [table for table in metadata.sorted_tables if table is companies or "company_id" in table.c]


@dataclass(frozen=True, slots=True)
class Leak:
    """What should not have been. `kind`: told, differs, changed or counted."""

    kind: str
    case: str
    words: str


@dataclass(slots=True)
class Round:
    """What came of one round."""

    asked: int = 0
    routes: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    leaks: list[Leak] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a round is against; `texts` are those that only the other company has."""

    company: Company
    texts: re.Pattern[str]


@asynccontextmanager
async def serving(settings: Settings, clock: SetClock) -> AsyncIterator[tuple[FastAPI, Services]]:
    """Give the web app on a database, its clock standing still, without background loops."""
    services = await build_services(settings, clock=clock)
    app = create_app(settings)
    app.state.services = services
    try:
        yield app, services
    finally:
        await services.aclose()


@asynccontextmanager
async def watched(settings: Settings, clock: SetClock, remover: FilterRemover) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client on another machine, while what runs in the database is watched."""
    async with serving(settings, clock) as (app, services):
        transport = httpx.ASGITransport(app=app, client=STRANGER, raise_app_exceptions=False)
        with remover.watching(services.database.engine):
            async with httpx.AsyncClient(transport=transport, base_url="https://carts.example") as client:
                yield client


async def go_round(client: httpx.AsyncClient, key: str | None, cases: Sequence[Case], target: Target) -> Round:
    """Ask every case, and its twin, with one key."""
    done = Round()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    known: list[str] = []  # what the caller itself had stored
    for case in cases:
        answer = await send(client, case.ask, headers)
        done.asked += 1
        done.routes.add(case.route)
        done.statuses[answer.status_code] += 1
        sent = said(case.ask)
        heard = told(answer, target.texts)
        done.leaks += [
            Leak("told", _name(case), text) for text in heard if not any(text in each for each in (sent, *known))
        ]
        if case.changes and answer.is_success:
            known.append(sent)
        if case.twin is not None:
            twin = await send(client, case.twin, headers)
            done.asked += 1
            done.leaks += [Leak("differs", _name(case), words) for words in differences(case, answer, twin)]
    return done


async def send(client: httpx.AsyncClient, ask: Ask, headers: dict[str, str]) -> httpx.Response:
    """Send one request."""
    return await client.request(ask.method, ask.path, params=ask.query or None, json=ask.body, headers=headers)


def said(ask: Ask) -> str:
    """Return all that a request names."""
    return " ".join([ask.path, *(value for _, value in ask.query), json.dumps(ask.body)])


def told(answer: httpx.Response, texts: re.Pattern[str]) -> list[str]:
    """Return what an answer says of the other company."""
    return list(dict.fromkeys(texts.findall(f"{answer.text} {unquote_plus(answer.headers.get('location', ''))}")))


def differences(case: Case, answer: httpx.Response, twin: httpx.Response) -> Iterator[str]:
    """Yield in what the answers differ; of changes that were made only the status is compared: each has new ids."""
    if answer.status_code != twin.status_code:
        yield f"{answer.status_code} where what does not exist gets {twin.status_code}"
        return
    text = answer.text
    for given, nowhere in case.pairs:
        text = text.replace(given, nowhere)
    if text != twin.text and not (case.changes and answer.is_success):
        yield "the words differ from those for what does not exist"


def _name(case: Case) -> str:
    return f"{case.route}, {case.kind}"


# -- what there is ---------------------------------------------------------------------------------------------------


def rows_of(server: PostgresServer, database: str, company_id: str) -> dict[str, str]:
    """Return a fingerprint of all that a company has, by table; its people and their sessions too."""
    parts = [
        f"SELECT '{table.name}', md5(coalesce(string_agg(t::text, '#' ORDER BY t.id), '')) "  # noqa: S608  our names
        f"FROM {table.name} t WHERE {'id' if table is companies else 'company_id'} = '{company_id}'"
        for table in OWNED
    ]
    members = f"SELECT person_id FROM grants WHERE company_id = '{company_id}'"  # noqa: S608
    parts += [
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '#' ORDER BY t.id), '')) "  # noqa: S608
        f"FROM {name} t WHERE {column} IN ({members})"
        for name, column in (("people", "id"), ("sessions", "person_id"))
    ]
    rows = server.execute(" UNION ALL ".join(parts), database)
    return dict(line.split("|") for line in rows.splitlines())


def remove_company(server: PostgresServer, database: str, company_id: str) -> None:
    """Delete everything of a company, as if it had never been there."""
    deletes = "; ".join(
        f"DELETE FROM {table.name} WHERE {'id' if table is companies else 'company_id'} = '{company_id}'"  # noqa: S608
        for table in OWNED
    )
    server.execute(f"SET session_replication_role = replica; {deletes}", database)


def tear_walls_down(server: PostgresServer, database: str) -> None:
    """Turn Row-Level Security off."""
    tables = server.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relkind = 'r'", database)
    for table in tables.splitlines():
        server.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", database)


async def target_of(settings: Settings, clock: SetClock, mine: Company, other: Company) -> Target:
    """Look up every text that is the other company's alone, in any column of any table, and its secrets."""
    async with serving(settings, clock) as (_app, services):
        own = {text async for text in _texts(services, mine.ids["company_id"])}
        theirs = {text async for text in _texts(services, other.ids["company_id"])}
    wanted = {*(theirs - own), other.word, *other.secrets, *INSTALLATION_WORDS}
    longest_first = sorted((text for text in wanted if len(text) >= SHORTEST), key=len, reverse=True)
    return Target(other, re.compile("|".join(map(re.escape, longest_first))))


async def _texts(services: Services, company_id: str) -> AsyncIterator[str]:
    async with services.database.work() as tx:
        for table in OWNED:
            column = table.c.id if table is companies else table.c.company_id
            for row in await tx.execute(select(table).where(column == company_id)):
                for text in _strings(row):
                    yield text


def _strings(value: Any) -> Iterator[str]:
    """Yield every text in a value, those within JSON and message bodies too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, datetime):
        return
    elif isinstance(value, bytes):
        yield from _strings(_opened(value))
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _strings(inner)


def _opened(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
