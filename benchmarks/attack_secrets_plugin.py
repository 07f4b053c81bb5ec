"""A plugin of pytest: whatever the suite seals, signs and wraps with is a canary, looked for in all that it leaves.

Looked through are the databases before they are thrown away (a dump of PostgreSQL's, the bytes of SQLite's files with
the write-ahead log), the logs of processes, and what every test wrote and logged. Hits and counts are added to the
file that is named.
Values of fewer than 16 characters are passed over: tests use words there, which stand in many places.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from backend.services.api_keys import ApiKeyService
from backend.services.keyring import Keyring
from benchmarks.attack_secrets_search import Canary, control, found_in
from tests.databases import PostgresServer

SHORTEST = 16
SEALED = frozenset({"credentials_sealed", "secrets_sealed"})
LARGEST = 50_000_000  # bytes of a file that is looked through
KEPT = 60  # canaries, the newest: an older test's database is gone


class Watch:
    """Takes down canaries as they are made, and looks for them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._canaries: dict[str, Canary] = {}
        self.counts: Counter[str] = Counter()

    def take(self, name: str, value: str, raw: bytes | None = None) -> None:
        """Take down a canary."""
        if len(value) >= SHORTEST and value not in self._canaries:
            self._canaries[value] = Canary(name, value, raw=raw)
            self.counts["canaries"] += 1
            while len(self._canaries) > KEPT:
                del self._canaries[next(iter(self._canaries))]

    def take_all(self, name: str, values: Iterable[Any]) -> None:
        """Take down each text among values."""
        for value in values:
            if isinstance(value, str):
                self.take(name, value)

    def look(self, place: str, content: bytes) -> None:
        """Look through something; a hit is written down at once."""
        self.counts[place.partition(":")[0]] += 1
        for hit in found_in(self._canaries.values(), place, content):
            self._say({"hit": hit.canary, "place": hit.place, "form": hit.form, "around": hit.around})

    def end(self) -> None:
        """Write down what was looked through, and how many of the last canaries are found when they are planted."""
        planted, found = control(list(self._canaries.values()))
        self.counts.update({"control: planted": planted, "control: found": found})
        self._say({"counts": self.counts})

    def _say(self, line: dict[str, Any]) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        os.close(handle)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file's name: the environment is emptied before any test, and every process of the suite has options."""
    parser.addoption("--canary-file", type=Path, help="where hits and counts are added")


def pytest_configure(config: pytest.Config) -> None:
    """Stand between the suite and what it seals with; and before databases that are about to go."""
    watch = Watch(config.getoption("--canary-file"))
    config.stash[WATCH] = watch
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    begin, seal, add, drop = Keyring.__init__, Keyring.seal_json, ApiKeyService._add, PostgresServer.drop  # noqa: SLF001

    def noted_begin(self: Keyring, master_key: bytes, *others: Any, **more: Any) -> None:
        watch.take("master key", base64.b64encode(master_key).decode(), master_key)
        begin(self, master_key, *others, **more)

    async def noted_seal(self: Keyring, tx: Any, place: Any, value: Any, now: Any) -> tuple[bytes, int]:
        if place[2] in SEALED:
            watch.take_all(place[2], value.values() if isinstance(value, dict) else value)
        return await seal(self, tx, place, value, now)

    async def noted_add(self: ApiKeyService, *given: Any) -> Any:
        made = await add(self, *given)
        watch.take("API key", made.key)
        return made

    def noted_drop(self: PostgresServer, database: str) -> None:
        watch.look(f"PostgreSQL: {database}", _dump(self, database))
        drop(self, database)

    for owner, name, stand_in in (
        (Keyring, "__init__", noted_begin), (Keyring, "seal_json", noted_seal), (ApiKeyService, "_add", noted_add),
        (PostgresServer, "drop", noted_drop),
    ):  # fmt: skip
        patch.setattr(owner, name, stand_in)


WATCH = pytest.StashKey[Watch]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Look through the files of a test while they are there: its SQLite database, the logs of its processes."""
    given = getattr(item, "funcargs", {})
    folders = {given["tmp_path"]} if "tmp_path" in given else set()
    if given.get("database_url", "").startswith("sqlite"):
        folders.add(Path(given["database_url"].partition(":///")[2]).parent)
    for file in {file for folder in folders for file in folder.rglob("*")}:
        if file.is_file() and file.suffix != ".key" and file.stat().st_size < LARGEST:
            item.config.stash[WATCH].look(f"file: {item.nodeid} {file.name}", file.read_bytes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Look through what a test wrote and logged."""
    report = yield
    if report.when == "teardown":
        for name, text in report.sections:
            item.config.stash[WATCH].look(f"output: {item.nodeid} {name}", text.encode())
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write down what was looked through."""
    config.stash[WATCH].end()


def _dump(server: PostgresServer, database: str) -> bytes:
    command = [str(server.programs / "bin" / "pg_dump"), "-h", str(server.socket_dir), "-U", "postgres", database]
    return subprocess.run(command, capture_output=True, check=True).stdout
