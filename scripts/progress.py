"""How polling goes on, for people at a terminal: one live line there, a plain line per cycle anywhere else."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from backend.services.overview import Paging
from backend.services.wiring import Services

LOOK_EVERY, LOOK_AT_LEAST_EVERY = 0.5, 10.0  # seconds
WORTH = 30  # a look that took long is not taken again before so many times as long
LATEST = 5  # beats looked at; a beat is reported once its deliveries are through or the next one is there


def stores_in_words(cycle: Mapping[str, Any], stores: int) -> str:
    """Return how many stores a cycle polled, and how many of them failed."""
    failed = f", {cycle['polls_failed']} failed" if cycle["polls_failed"] else ""
    return f"stores {cycle['integrations_polled']}/{max(stores, cycle['integrations_polled'])}{failed}"


def carts_in_words(cycle: Mapping[str, Any]) -> str:
    """Return what a cycle came upon and handed off."""
    return (
        f"carts {cycle['carts_seen']} ({cycle['carts_new']} new, {cycle['carts_abandoned']} abandoned), "
        f"deliveries {cycle['deliveries_succeeded']} of {cycle['deliveries_made']}"
        + (f", {cycle['deliveries_failed']} failed" if cycle["deliveries_failed"] else "")
    )


def cycle_in_words(cycle: Mapping[str, Any], stores: int) -> str:
    """Return a finished cycle in one line."""
    began = datetime.fromisoformat(cycle["started_at"]).strftime("%H:%M:%S")
    took = (cycle["timings_ms"]["total"] or 0) / 1000
    return f"{began}Z  {stores_in_words(cycle, stores)}, {carts_in_words(cycle)}, {took:.1f} s"


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return a one-off run's report as lines: each store, what was not polled and why, the sums."""
    lines = [_store_line(store) for store in report["integrations"]]
    lines += [
        f"  {row['name']}: waits until {row['until'] or 'it is resumed'} ({row['why']})" for row in report["waiting"]
    ]
    lines += [f"  {row['name']}: being polled by another process" for row in report["held_elsewhere"]]
    value = ", ".join(f"{currency} {amount:,.2f}" for currency, amount in report["total_recovery_value"].items())
    lines.append(cycle_in_words(report, report["integrations_polled"]))
    lines.append(f"recovery value: {value or 'none'}")
    lines.append("ok" if report["ok"] else "not ok: a poll or a delivery failed")
    return lines


def _store_line(store: Mapping[str, Any]) -> str:
    name = f"  {store['company']} / {store['name']} ({store['platform']}{', mock' if store['is_mock'] else ''})"
    if store["error"]:
        remedy = f" - {store['remedy']}" if store["remedy"] else ""
        return f"{name}: {store['outcome']}: {store['error']}{remedy}"
    return f"{name}: {store['carts_seen']} carts, {store['carts_new']} new, {store['carts_changed']} changed"


@dataclass(slots=True)
class Display:
    """Where progress goes. `bar` is there on a terminal; without it, lines are printed unless `as_json`."""

    as_json: bool
    bar: Progress | None
    _task: TaskID | None = field(default=None, init=False)

    def say(self, line: str) -> None:
        """Print a line for people, above the bar if there is one."""
        if self.bar is not None:
            self.bar.console.print(line, markup=False, highlight=False)
        elif not self.as_json:
            print(line, flush=True)

    def report(self, report: Mapping[str, Any]) -> None:
        """Print a report for programs, in one line."""
        print(json.dumps(report, ensure_ascii=False), flush=True)

    def show(self, what: str, words: str, done: int, of: int) -> None:
        """Bring the bar up to date."""
        if self.bar is None:
            return
        if self._task is None:
            self._task = self.bar.add_task(what, words="")
        self.bar.update(self._task, description=what, words=words, completed=done, total=max(of, done))


def on_terminal() -> bool:
    """Whether a person watches: progress goes to standard error, where logs go."""
    return sys.stderr.isatty()


@asynccontextmanager
async def display(*, as_json: bool) -> AsyncIterator[Display]:
    """Show progress while the block lasts. Set up logs inside, so that their lines go above the bar."""
    if not on_terminal():
        yield Display(as_json, None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    # Standard output is left alone: with --json it belongs to a program.
    bar = Progress(
        *columns,
        TextColumn("{task.fields[words]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    with bar:
        yield Display(as_json, bar)


@asynccontextmanager
async def beside(work: Any) -> AsyncIterator[None]:
    """Run a coroutine while the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def latest_beats(services: Services) -> list[dict[str, Any]]:
    """Return the latest beats, newest first."""
    return (await services.overview.cycles(None, "beat", Paging(LATEST))).items


async def follow_beats(services: Services, shown: Display, earlier: Iterable[str]) -> None:
    """Show the present beat, and report each one that is through and not among the `earlier` ids, until cancelled."""
    said = set(earlier)
    was_running: bool | None = None
    while True:
        began = time.monotonic()
        status = await services.poller.status()
        stores = sum(row["status"] == "active" for row in status["integrations"])
        if status["running"] != was_running:
            was_running = status["running"]
            shown.say(_state_in_words(status, stores))
        beats = await latest_beats(services)
        for cycle in reversed(beats):
            if cycle["cycle_id"] not in said and _is_through(cycle, beats):
                said.add(cycle["cycle_id"])
                _tell(shown, cycle, stores)
        if beats:
            _show(shown, beats[0], status, stores)
        await asyncio.sleep(pause_after(time.monotonic() - began))


def pause_after(look: float) -> float:
    """Return how long to leave the database alone after a look, both in seconds."""
    return min(max(LOOK_EVERY, look * WORTH), LOOK_AT_LEAST_EVERY)


def _state_in_words(status: Mapping[str, Any], stores: int) -> str:
    if not status["running"]:
        return "polling was stopped; waiting for a start"
    plural = "" if stores == 1 else "s"
    return f"polling {stores} store{plural} every {status['interval_seconds']} s; Ctrl-C ends it"


def _is_through(cycle: Mapping[str, Any], beats: list[dict[str, Any]]) -> bool:
    if cycle["finished_at"] is None:
        return False
    attempted = cycle["deliveries_succeeded"] + cycle["deliveries_failed"]
    return bool(attempted >= cycle["deliveries_made"] or cycle["cycle_id"] != beats[0]["cycle_id"])


def _tell(shown: Display, cycle: Mapping[str, Any], stores: int) -> None:
    if shown.as_json:
        lists: dict[str, Any] = {"integrations": [], "waiting": [], "held_elsewhere": []}
        shown.report({name: value for name, value in cycle.items() if name != "interval_seconds"} | lists)
    else:
        shown.say(cycle_in_words(cycle, stores))


def _show(shown: Display, cycle: Mapping[str, Any], status: Mapping[str, Any], stores: int) -> None:
    waiting = status["deliveries"]["pending"]
    what = f"polling every {status['interval_seconds']} s" if status["running"] else "stopped"
    words = carts_in_words(cycle) + (f", {waiting} waiting" if waiting else "")
    shown.show(what, words, cycle["integrations_polled"], stores)


async def follow_once(services: Services, shown: Display) -> None:
    """Show the one-off run that is under way, until cancelled."""
    while True:
        began = time.monotonic()
        status = await services.poller.status()
        stores = sum(row["status"] == "active" for row in status["integrations"])
        cycles = (await services.overview.cycles(None, "once", Paging(1))).items
        if cycles and cycles[0]["finished_at"] is None:
            shown.show("one cycle", carts_in_words(cycles[0]), cycles[0]["integrations_polled"], stores)
        await asyncio.sleep(pause_after(time.monotonic() - began))
