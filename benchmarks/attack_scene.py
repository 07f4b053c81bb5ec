"""What the attacks over HTTP stand on: two companies with carts and deliveries on PostgreSQL, keys, a real web process.

The process runs as in production, its background loops off, its rate limits off: a limit would answer most of an
attack with 429 before anything else is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.config import Settings
from backend.domain.access import LOCAL_OWNER, Role
from backend.services.agent_integrations import AgentDraft
from backend.services.api_keys import ApiKeyDraft, MadeKey
from backend.services.companies import CompanyDraft
from backend.services.destinations import DestinationDraft
from backend.services.integrations import IntegrationDraft
from backend.services.wiring import Services, build_services
from benchmarks.chaos_processes import free_port
from benchmarks.grounds import Ground
from benchmarks.servers import ROOT, die_with_parent

START_LIMIT = 60.0  # seconds
ALL, ONE = "all companies", "one company"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the scene: its id, by which it can be revoked, and what is sent."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A running web process. `keys` by role and reach, `stranger` an owner's of the other company."""

    url: str
    keys: dict[tuple[Role, str], Key]
    stranger: Key
    company: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, method: str, path: str) -> Any:
        """Return the JSON that the service answers to the owner of all companies. Raises `HTTPError`."""
        bearer = {"Authorization": f"Bearer {self.keys[Role.OWNER, ALL].text}"}
        request = urllib.request.Request(self.url + path, method=method, headers=bearer)  # noqa: S310  loopback only
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def words(self) -> str:
        """Return the end of the process's log."""
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def scene(where: Ground) -> Iterator[Scene]:
    """Build the scene on a database of its own; yields it while the process runs.

    Raises `RuntimeError` when the process does not start, or ends by itself.
    """
    with ExitStack() as stack:
        url = stack.enter_context(where.url("postgresql"))
        settings = where.settings(url, env="production", outbound_allow_loopback=False)
        settings |= {"run_loops": False, "rate_limit_caller": 0, "rate_limit_company": 0, "log_format": "json"}
        settings |= {"host": "127.0.0.1", "port": free_port(), "log_level": "warning"}
        keys, stranger, company = asyncio.run(_furnish(Settings(_env_file=None, **settings)))
        log = where.folder / f"web-{settings['port']}.log"
        process = stack.enter_context(_served(settings, log))
        made = Scene(f"http://127.0.0.1:{settings['port']}", keys, stranger, company, process, log)
        made.ask("POST", "/polling/abandoned-cart/test-once")  # the carts of the made-up stores, and deliveries
        yield made
        if process.poll() is not None:
            raise RuntimeError(f"the web process ended with {process.returncode}:\n{log.read_text()[-3000:]}")


async def _furnish(settings: Settings) -> tuple[dict[tuple[Role, str], Key], Key, str]:
    """Make two companies with made-up stores, and a key for every role and reach."""
    services = await build_services(settings)
    try:
        company, other = await _company(services, "Acme"), await _company(services, "Bolt")
        keys = {}
        for role in Role:
            keys[role, ALL] = await _key(services, None, role)
            keys[role, ONE] = await _key(services, company, role)
        return keys, await _key(services, other, Role.OWNER), company
    finally:
        await services.aclose()


async def _company(services: Services, name: str) -> str:
    company = (await services.companies.create(CompanyDraft(name=name))).id
    agent = (await services.agents.create(company, AgentDraft(name="recovery", abandonment_threshold_minutes=5))).id
    mock = IntegrationDraft(
        agent_id=agent, name="made up", platform="mock", settings={"options": {"seed": name, "carts_per_hour": 4}}
    )
    await services.integrations.create(company, mock)
    hook = DestinationDraft(agent_id=agent, name="partner", url="https://partner.example/hook")
    await services.destinations.create(company, hook)
    return company


async def _key(services: Services, company: str | None, role: Role) -> Key:
    made: MadeKey = await services.keys.create(company, ApiKeyDraft(name=f"attack {role}", role=role), LOCAL_OWNER)
    return Key(made.api_key.id, made.key)


@contextmanager
def _served(settings: dict[str, object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= {name.upper(): str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.attack_web"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, takes no lock
        )  # fmt: skip
    try:
        _wait_until_ready(f"http://127.0.0.1:{settings['port']}/api/health", process, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=START_LIMIT)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310  loopback only
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the web process did not start:\n{log.read_text(errors='replace')[-3000:]}")
