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
from backend.domain.ids import new_id
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


PASSWORD = "copper lantern under nine stairs"


@dataclass(frozen=True, slots=True)
class Key:
    """What a caller shows, and the ids under which it could be taken away: a key's, or a session's and a person's."""

    ids: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A running web process. `keys` by role and reach."""

    url: str
    keys: dict[tuple[Role, str], Key]
    company: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, method: str, path: str, body: object | None = None) -> Any:
        """Return the JSON that the service answers to the owner of all companies. Raises `HTTPError`."""
        headers = {"Authorization": f"Bearer {self.keys[Role.OWNER, ALL].text}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310  loopback only
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def sign_in(self) -> Key:
        """Let a new person in, an owner of all companies, who signs in; it is good for a quarter of an hour.

        Somebody new each time: an attack on an account shuts it for a while.
        """
        account, email = "/api/v1/account", f"{new_id()}@example.com"
        link = self.ask("POST", "/api/v1/invitations", {"email": email, "role": Role.OWNER})["url"]
        arriving = {"code": link.partition("#")[2], "name": "Ada Lovelace", "password": PASSWORD}
        person = self.ask("POST", f"{account}/join", arriving)["person_id"]
        signed = self.ask("POST", f"{account}/sign-in", {"email": email, "password": PASSWORD})
        return Key((signed["session_id"], person), signed["access_token"])

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
        settings |= {
            "run_loops": False,
            "rate_limit_caller": 0,
            "rate_limit_company": 0,
            "rate_limit_anonymous": 0,
            "log_format": "json",
        }
        settings |= {"host": "127.0.0.1", "port": free_port(), "log_level": "warning"}
        keys, company = asyncio.run(_furnish(Settings(_env_file=None, **settings)))
        log = where.folder / f"web-{settings['port']}.log"
        process = stack.enter_context(_served(settings, log))
        made = Scene(f"http://127.0.0.1:{settings['port']}", keys, company, process, log)
        made.ask("POST", "/polling/abandoned-cart/test-once")  # the carts of the made-up stores, and deliveries
        yield made
        if process.poll() is not None:
            raise RuntimeError(f"the web process ended with {process.returncode}:\n{log.read_text()[-3000:]}")


async def _furnish(settings: Settings) -> tuple[dict[tuple[Role, str], Key], str]:
    """Make two companies with made-up stores, and a key for every role and reach."""
    services = await build_services(settings)
    try:
        company = await _company(services, "Acme")
        await _company(services, "Bolt")
        keys = {}
        for role in Role:
            keys[role, ALL] = await _key(services, None, role)
            keys[role, ONE] = await _key(services, company, role)
        return keys, company
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
    return Key((made.api_key.id,), made.key)


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
