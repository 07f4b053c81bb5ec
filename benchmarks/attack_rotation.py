"""Do rotations of the master key, of data keys and of an API key cost a single request or delivery?

Two web processes, two workers, PostgreSQL, a store, a partner that verifies signatures. API requests with a key and
carts to be delivered come all the time, while the master key is replaced as docs/keys.md says (every process restarted
three times, one after the other, and the command in between), the data keys are replaced and the old ones removed, and
the API key in use is replaced and revoked.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from backend.config import Settings
from backend.crypto import new_key
from backend.domain.access import Caller, Grant, Role
from backend.domain.audit import INSTALLATION
from backend.logs import set_up_logs
from backend.models import company_agents, data_keys, deliveries, delivery_attempts, poll_runs
from backend.services.api_keys import ApiKeyDraft, ApiKeyService
from backend.store.sealed import sealed_for
from benchmarks.attack_rotation_load import CLIENTS, WRITE_EVERY, Load, Proxy, Tally, proxied
from benchmarks.grounds import Ground, ground
from benchmarks.pages import RESULTS, Check, Page, told
from benchmarks.servers import ROOT
from tests.e2e.processes import Victim, Victims, json_lines, victims
from tests.e2e.scene import Scene, set_up, until
from tests.factories import make_agent, make_company, make_destination

CART_EVERY, PAGE = 0.5, 100  # seconds, carts
LEASE = 60  # seconds; nobody is killed here, and a busy machine must not make anybody lose one
WITHIN = 1.0  # seconds in which a revoked key must be refused
CONTROLS = 20  # requests with a key that was revoked
PROCESSES = ("web1", "web2", "worker1", "worker2")
SHORT_PAUSE, LONG_PAUSE = 1.0, 5.0  # seconds
LONG_ROUNDS = 3
POLLED_WELL = {"ok"}
ME = Caller("command", "local", "this measurement", (Grant(Role.OWNER, None),))


@dataclass(slots=True)
class Site:
    """The processes, and the master keys that they are started with."""

    scene: Scene
    started: Victims
    proxy: Proxy
    masters: tuple[str, str]  # the one that wraps, and the others
    crew: dict[str, Victim] = field(default_factory=dict)
    restarts: int = 0
    faults: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return a process's settings."""
        names = {"master_key": self.masters[0], "master_key_others": self.masters[1], "log_format": "json"}
        return {
            **names,
            "rate_limit_caller": 0,
            "rate_limit_company": 0,
            "rate_limit_anonymous": 0,
            "lease_seconds": LEASE,
        }

    async def start(self, name: str) -> None:
        """Start a process: `web...` or `worker...`."""
        is_web = name.startswith("web")
        orders = replace(self.scene.orders(run_loops=not is_web, **self.settings()), is_web=is_web)
        self.crew[name] = await self.started.start(orders)
        if is_web:
            self.proxy.addresses[name] = await asyncio.to_thread(self.crew[name].voice.recv)

    async def restart_all(self) -> None:
        """End each process in order and start it again, one after the other."""
        for name in list(self.crew):
            code = await self.crew[name].end()
            if code != 0:
                self.faults.append(f"{name} ended with {code}")
            await self.start(name)
            self.restarts += 1

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a command of the product with the same settings; return its exit code and what it said."""
        given = {**self.scene.orders(**self.settings()).settings}
        environment = {**os.environ, **{name.upper(): str(value) for name, value in given.items()}}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def must(self, *words: str) -> None:
        """Run a command, which must succeed."""
        code, said = await self.command(*words)
        if code:
            self.faults.append(f"{words[0]} ended with {code}: {said[-500:]}")

    def errors(self) -> list[str]:
        """Return what the processes logged as errors, in words."""
        lines = [line for victim in self.started.started for line in json_lines(victim.log)]
        bad = [line for line in lines if line.get("level") in {"error", "critical"}]
        return [" ".join(f"{name}={str(value)[-200:]}" for name, value in line.items()) for line in bad]


@dataclass(slots=True)
class Course:
    """What is measured on the way."""

    site: Site
    load: Load
    pause: float  # seconds under load between two steps
    phases: list[list[object]] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)  # requests with a revoked key until it was refused, by revocation
    delays: list[float] = field(default_factory=list)  # seconds from the answer that it is revoked to its refusal
    outlived: Tally = field(default_factory=Tally)  # requests with the old key while the new one is in use already
    control: Tally = field(default_factory=Tally)
    refused: int = -1  # exit code of a process that is started with the first master key alone, in the end

    def note(self, name: str) -> None:
        """Take down how far it is."""
        tally, arrived = self.load.tally, len(self.site.scene.arrived())
        self.phases.append([name, tally.made, tally.failed, tally.passed_on, arrived])
        told(f"{name}: {tally.made:,} requests, {tally.failed} failed, {arrived:,} carts arrived")


def fresh() -> str:
    """Return a new master key as a setting holds it."""
    return base64.b64encode(new_key()).decode()


async def rotate_master(course: Course) -> None:
    """Replace the master key as docs/keys.md says."""
    site, old, new = course.site, course.site.masters[0], fresh()
    for step, masters in enumerate([(old, new), (new, old), (new, "")], start=1):
        site.masters = masters
        await site.restart_all()
        await course.load.until(course.pause)
        if step == 2:
            await site.must("scripts/rotate_master_key.py")
            course.note("master key: both known, the new one wraps")
    course.note("master key: the old one taken away")


async def rotate_data(course: Course) -> None:
    """Give every company another data key, and remove the one before."""
    await course.site.must("scripts/rotate_data_keys.py", "--hours", "0")
    await course.load.until(course.pause)
    course.note("data keys: everything sealed anew")
    await course.site.must("scripts/rotate_data_keys.py")
    await course.load.until(course.pause)
    course.note("data keys: old versions removed")


async def rotate_api_key(course: Course, key_id: str) -> str:
    """Replace the key in use and revoke the old one; return the new one's id."""
    load, proxy = course.load, course.site.proxy
    keys, old = "/api/v1/keys", course.load.key
    made = await proxy.ask(load.tally, old, "POST", f"{keys}/{key_id}/rotate")
    load.key = made["key"]
    await load.until(course.pause)
    for address in proxy.addresses.values():
        await proxy.ask_at(address, course.outlived, old, ("GET", keys, None))
    await proxy.ask(load.tally, load.key, "DELETE", f"{keys}/{key_id}")
    revoked_at = time.perf_counter()
    for address in proxy.addresses.values():
        course.tries.append(await _until_refused(proxy, address, old, keys))
        course.delays.append(time.perf_counter() - revoked_at)
    course.note("API key: replaced, the old one revoked")
    return str(made["api_key"]["id"])


async def _until_refused(proxy: Proxy, address: str, key: str, path: str) -> int:
    """Ask a process with a key until it is refused; return how many requests that took."""
    tally = Tally()
    while not tally.statuses[401] and tally.made < 1_000:
        await proxy.ask_at(address, tally, key, ("GET", path, None))
    return tally.made


async def abandon_carts(scene: Scene) -> None:
    """Let carts be abandoned, one after the other, until cancelled."""
    number = 0
    while True:
        scene.abandon("s0", f"s0-more{number}", datetime.now().astimezone() - timedelta(minutes=2))
        number += 1
        await asyncio.sleep(CART_EVERY)


async def go_through(course: Course, key_id: str, rounds: int) -> None:
    """Carry out every rotation under load, then the controls."""
    load, site = course.load, course.site
    first = site.masters[0]
    carts, old = asyncio.create_task(abandon_carts(site.scene)), load.key
    async with load.running():
        await load.until(course.pause)
        course.note("before")
        for _ in range(rounds):
            await rotate_master(course)
            await rotate_data(course)
            old = load.key
            key_id = await rotate_api_key(course, key_id)
        carts.cancel()
    for _ in range(CONTROLS):
        await site.proxy.ask(course.control, old, "GET", "/api/v1/keys")
    known, site.masters = site.masters, (first, "")
    course.refused, _ = await site.command("scripts/rotate_data_keys.py")
    site.masters = known


async def sealed_by(scene: Scene, company: str, newest: int) -> list[bool]:
    """Return, for each sealed value of a company, whether its newest data key sealed it."""
    found = []
    for each in sealed_for(company):
        is_sealed = each.table.c[each.value].is_not(None)
        rows = await scene.rows(each.table, each.table.c.company_id == company, is_sealed)
        found += [getattr(row, each.version) == newest for row in rows]
    return found


async def account(course: Course) -> dict[str, Any]:
    """Wait until everything was delivered, end the processes and take the account."""
    site, scene = course.site, course.site.scene
    scene.killed_at = time.perf_counter()
    try:
        await until(scene.has_all)
    except TimeoutError as error:
        site.faults.append(f"not everything arrived: {error}")
    for name, process in site.crew.items():
        if (code := await process.end()) != 0:
            site.faults.append(f"{name} ended with {code}")
    ended = await scene.close_account()
    runs = Counter(row.outcome for row in await scene.rows(poll_runs))
    attempts = Counter(row.outcome for row in await scene.rows(delivery_attempts))
    ours = data_keys.c.company_id != INSTALLATION  # which has a key only when something there was signed
    keys = sorted((row.company_id, row.version) for row in await scene.rows(data_keys, ours))
    newest = dict(keys)
    sealed = [is_newest for name, version in newest.items() for is_newest in await sealed_by(scene, name, version)]
    return {
        "carts": len(scene.expected),
        "lost": len(ended.lost),
        "doubled": len(ended.doubled),
        "messages": len(await scene.rows(deliveries)),
        "attempts": dict(attempts),
        "polls": dict(runs),
        "newest_data_keys": sorted(newest.values()),
        "data_keys": len(keys),
        "sealed": len(sealed),
        "sealed_by_older": sealed.count(False),
        "restarts": site.restarts,
        "faults": [*course.load.tally.faults, *site.faults, *ended.faults, *site.errors()],
    }


async def run(where: Ground, options: argparse.Namespace) -> tuple[Course, dict[str, Any]]:
    """Set everything up, go through it, and take the account."""
    with where.url("postgresql") as url:
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(where.world(url))
            scene = await stack.enter_async_context(set_up(world, 10))
            proxy = await stack.enter_async_context(proxied())
            started = await stack.enter_async_context(victims())
            for tenant in scene.store.tenants.values():
                tenant.largest_page = PAGE
            (working,) = await scene.rows(company_agents)
            quiet = await make_company(world, "Quiet")
            agent = await make_agent(world, quiet)
            destination = await make_destination(world, quiet, agent, "https://partner.example/hook")
            draft = ApiKeyDraft(name="load", role=Role.OWNER)
            made = await ApiKeyService(world.database, world.clock, world.settings).create(None, draft, ME)
            site = Site(scene, started, proxy, (str(world.settings.master_key), ""))
            for name in PROCESSES:
                await site.start(name)
            load = Load(proxy, working.company_id, quiet, destination, made.key)
            course = Course(site, load, LONG_PAUSE if options.long else SHORT_PAUSE)
            await go_through(course, made.api_key.id, LONG_ROUNDS if options.long else 1)
            return course, await account(course)


def page(course: Course, found: dict[str, Any], options: argparse.Namespace, version: str) -> Page:
    """Return the page."""
    made = Page(
        "attack-rotation",
        "Rotating keys under load",
        f"{'long' if options.long else 'short'} form; PostgreSQL {version}; {len(PROCESSES)} processes, restarted "
        f"{found['restarts']} times; {CLIENTS} clients, every {WRITE_EVERY}th request seals something",
        ("so far", "requests", "failed", "passed on", "carts arrived"),
        rows=[[phase[0], *(f"{figure:,}" for figure in phase[1:])] for phase in course.phases],
        raw=[found],
    )
    tally, control, rounds = course.load.tally, course.control, LONG_ROUNDS if options.long else 1
    attempts = ", ".join(f"{name}: {times:,}" for name, times in sorted(found["attempts"].items()))
    polls = ", ".join(f"{name}: {times:,}" for name, times in sorted(found["polls"].items()))
    made.checks = [
        Check("no request failed", f"{tally.failed} of {tally.made:,}", tally.failed == 0 < tally.made),
        Check("every attempt to deliver succeeded", attempts, set(found["attempts"]) == {"delivered"}),
        Check(
            "every cart arrived once",
            f"{found['carts']:,} carts, {found['lost']} lost, {found['doubled']} doubled",
            found["lost"] == found["doubled"] == 0,
        ),
        Check("every poll succeeded", polls, set(found["polls"]) <= POLLED_WELL),
        Check("no process ended or logged an error", f"{len(found['faults'])}", not found["faults"]),
        Check(
            f"every company's data key was followed by {rounds}, and the newest seals everything",
            f"{found['sealed']:,} values, {found['sealed_by_older']} by older keys; {found['data_keys']} keys left",
            set(found["newest_data_keys"]) == {rounds + 1} and found["sealed"] > found["sealed_by_older"] == 0,
        ),
        Check("the old API key works beside the new one", f"{course.outlived.made} asked", not course.outlived.failed),
        Check(
            f"a revoked key is refused within {WITHIN:g} s by every process",
            f"by the next request in {sum(each == 1 for each in course.tries)} of {len(course.tries)} cases, "
            f"at most {max(course.delays):.3f} s",
            max(course.delays) <= WITHIN and set(course.tries) == {1},
        ),
        Check(
            "control: requests with a revoked key are counted as failed",
            f"{control.failed} of {CONTROLS}, {control.statuses[401]} times 401",
            control.failed == control.statuses[401] == CONTROLS,
        ),
        Check(
            "control: a master key that opens nothing ends a process",
            f"exit code {course.refused}",
            course.refused == 2,
        ),
    ]
    made.notes = NOTES + "".join(f"\n- {fault[:300]}" for fault in found["faults"][:10])
    return made


NOTES = """\
Passed on: what a process that was being restarted refused, and the other one took. In front of the two stands what a
proxy does and no more: a fresh connection for each request, in turn to one process and the other; where the connection
is refused it goes to the other one, and so does a request that may be repeated (GET, PUT, DELETE) whose connection
broke before there was an answer, as nginx does by itself. Processes are ended by SIGTERM and started again, one after
the other. Each message to the partner is signed, and the partner verifies it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_rotation", description=__doc__)
    parser.add_argument("--long", action="store_true", help=f"{LONG_ROUNDS} rounds instead of one: some minutes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    options = parser.parse_args(arguments)
    set_up_logs(Settings(_env_file=None, log_level="error"))
    with ground() as where:
        version = where.postgresql_version
        course, found = asyncio.run(run(where, options))
    made = page(course, found, options, version)
    options.results.mkdir(parents=True, exist_ok=True)
    text = made.text()
    (options.results / f"{made.name}{'-long' if options.long else ''}.md").write_text(text)
    sys.stdout.write(text)
    return int(not all(check.is_met for check in made.checks))


if __name__ == "__main__":
    sys.exit(main())
