"""run_abandoned_cart_polling.py as people start it: exit codes, what is printed where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from backend.config import ROOT, Settings
from backend.domain.audit import INSTALLATION
from backend.domain.signing import make_secret
from backend.services.wiring import Services, build_services
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator

LIMIT = 60.0  # seconds that a process is waited for; a healthy one takes a few
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "cycle-report.schema.json").read_text(encoding="utf-8")))
CONFIGURATION = """\
companies:
  - name: Acme
    agents:
      - name: Recovery agent
        integrations:
          - platform: custom
            name: acme-shop
            base_url: {store}/s0
            allow_http: true
            credentials: {{token: env:ACME_TOKEN}}
        destinations:
          - {{name: partner, url: "{partner}/hook/p", secret: env:ACME_SECRET}}
"""


@dataclass(slots=True)
class Bench:
    """A store and a partner in this process, an empty SQLite database, and a configuration that joins them."""

    folder: Path
    store: CustomSimulator
    partner: PartnerSimulator
    environment: dict[str, str]
    file: Path

    async def start(self, *options: str, terminal: int | None = None) -> Process:
        """Start the command from another folder."""
        return await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "run_abandoned_cart_polling.py"), *options, env=self.environment,
            cwd=self.folder, stdin=DEVNULL, stdout=PIPE, stderr=PIPE if terminal is None else terminal,
        )  # fmt: skip

    async def run(self, *options: str, **variables: str) -> tuple[int, str, str]:
        """Run the command to its end; return exit code, standard output and standard error."""
        self.environment |= variables
        process = await self.start(*options)
        output, errors = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def once(self, *options: str) -> tuple[int, str, str]:
        """Configure, run one cycle and end."""
        return await self.run("--config", str(self.file), "--once", *options)

    @asynccontextmanager
    async def running(self, *options: str) -> AsyncIterator[Process]:
        """Configure and run until the block ends, if nobody ended it before."""
        process = await self.start("--config", str(self.file), "--interval", "5", *options)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def services(self) -> Services:
        """Return the product's services on the same database, as another process would have them."""
        url = self.environment["DATABASE_URL"]
        return await build_services(Settings(_env_file=None, database_url=url, outbound_allow_loopback=True))


@pytest.fixture
async def bench(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Bench]:
    """Return a bench whose store holds one cart that was left 45 minutes ago."""
    store, partner, secret = CustomSimulator(), PartnerSimulator(), make_secret()
    store.add_tenant("s0")
    partner.register("p", [secret])
    async with AsyncExitStack() as stack:
        addresses = {
            "store": await stack.enter_async_context(store.running()),
            "partner": await stack.enter_async_context(partner.running()),
        }
        store.add_cart("s0", "c1", store.now() - timedelta(minutes=45))
        environment = {
            **os.environ, "DATABASE_URL": sqlite_url, "OUTBOUND_ALLOW_LOOPBACK": "true", "MASTER_KEY": "",
            "ACME_TOKEN": "token-s0", "ACME_SECRET": secret,
        }  # fmt: skip
        file = tmp_path / "set-up.yaml"
        file.write_text(CONFIGURATION.format(**addresses), encoding="utf-8")
        yield Bench(tmp_path, store, partner, environment, file)


async def line_with(process: Process, words: str) -> str:
    """Return the next line of standard output that holds `words`."""
    assert process.stdout is not None
    while line := (await asyncio.wait_for(process.stdout.readline(), LIMIT)).decode():
        if words in line:
            return line
    raise AssertionError(f"it ended without saying {words!r}")


def faults(report: Any) -> list[str]:
    """Return where a report does not fit its schema."""
    return [f"{fault.json_path}: {fault.message}" for fault in SCHEMA.iter_errors(report)]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)


# -- one cycle -------------------------------------------------------------------------------------------------------


async def test_once_hands_a_cart_off_and_exits_0(bench: Bench) -> None:
    code, _output, errors = await bench.once()
    assert code == 0, errors
    assert len(bench.partner.hook("p").effects) == 1


async def test_what_the_command_did_is_recorded_in_its_name(bench: Bench) -> None:
    await bench.once()
    services = await bench.services()
    company = (await services.companies.list()).items[0].id
    done = [(each.actor, each.action) for each in (await services.audit.records(INSTALLATION)).items]
    made = {each.actor for each in (await services.audit.records(company)).items}
    await services.aclose()
    assert (done, made) == ([("command:local", "polling.once")], {"command:local"})


async def test_once_exits_1_when_a_store_failed_and_says_why(bench: Bench) -> None:
    bench.store.tenants["s0"].refused = True
    code, output, _errors = await bench.once()
    assert code == 1
    assert "acme-shop (custom): fix_credentials" in output


async def test_once_exits_1_when_a_delivery_failed(bench: Bench) -> None:
    bench.partner.inject("status", status=500)
    code, output, _errors = await bench.once()
    assert code == 1
    assert "deliveries 0 of 1, 1 failed" in output


async def test_once_with_json_prints_nothing_but_a_report_that_fits_its_schema(bench: Bench) -> None:
    _code, output, errors = await bench.once("--json")
    report = json.loads(output)
    assert faults(report) == []
    assert (report["kind"], report["deliveries_succeeded"], report["ok"]) == ("once", 1, True)
    assert '"event":"cycle.finished"' in errors


async def test_the_report_of_a_failed_cycle_fits_the_schema_too(bench: Bench) -> None:
    bench.store.inject("status", status=503, headers={"Retry-After": "60"})
    _code, output, _errors = await bench.once("--json")
    report = json.loads(output)
    assert faults(report) == []
    assert (report["polls_failed"], report["ok"]) == (1, False)


async def test_a_store_that_waits_is_listed_and_is_no_failure(bench: Bench) -> None:
    bench.store.inject("status", status=503, headers={"Retry-After": "600"})
    await bench.once()
    code, output, _errors = await bench.run("--once", "--json")
    report = json.loads(output)
    assert faults(report) == []
    assert (code, [row["name"] for row in report["waiting"]]) == (0, ["acme-shop"])


async def test_once_leaves_the_wanted_state_as_it_was(bench: Bench) -> None:
    await bench.once()
    services = await bench.services()
    assert (await services.poller.status())["running"] is False
    await services.aclose()


async def test_the_demo_needs_no_set_up(bench: Bench) -> None:
    code, output, errors = await bench.run("--demo", "--once", "--json")
    assert code == 0, errors
    assert json.loads(output)["deliveries_succeeded"] > 0


# -- until it is told to end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order(bench: Bench, number: signal.Signals) -> None:
    async with bench.running() as process:
        await line_with(process, "polling 1 store every 5 s")
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), LIMIT) == 0


async def test_each_beat_is_reported_as_json_that_fits_the_schema(bench: Bench) -> None:
    async with bench.running("--json") as process:
        report = json.loads(await line_with(process, "beat_"))
    assert faults(report) == []
    assert (report["kind"], report["carts_new"]) == ("beat", 1), report


async def test_a_second_runner_on_the_same_sqlite_database_exits_2_and_says_what_to_set(bench: Bench) -> None:
    async with bench.running() as process:
        await line_with(process, "polling")
        code, _output, errors = await bench.run()
    assert code == 2
    assert "DATABASE_URL" in errors
    assert "--once" in errors


async def test_once_works_beside_a_runner(bench: Bench) -> None:
    async with bench.running() as process:
        await line_with(process, "stores 1/1")
        code, _output, errors = await bench.run("--once")
    assert code == 0, errors


async def test_it_obeys_a_stop_and_a_later_start(bench: Bench) -> None:
    async with bench.running() as process:
        await line_with(process, "polling 1 store every 5 s")
        services = await bench.services()
        await services.poller.stop()
        await line_with(process, "polling was stopped")
        await services.poller.start(7)
        await line_with(process, "polling 1 store every 7 s")
        await services.aclose()


async def test_on_a_terminal_progress_is_one_live_line(bench: Bench) -> None:
    ours, theirs = pty.openpty()
    bench.environment |= {"TERM": "xterm", "COLUMNS": "120"}
    process = await bench.start("--config", str(bench.file), "--interval", "5", terminal=theirs)
    os.close(theirs)
    shown = await asyncio.wait_for(asyncio.to_thread(_read_until, ours, b"polling every 5 s"), LIMIT)
    process.send_signal(signal.SIGINT)
    drained = asyncio.create_task(asyncio.to_thread(_read_until, ours, None))
    assert await asyncio.wait_for(process.wait(), LIMIT) == 0
    await drained
    os.close(ours)
    assert b"polling every 5 s" in shown  # as the bar says it; a line says how many stores
    assert b'"event"' not in shown


def _read_until(terminal: int, word: bytes | None) -> bytes:
    """Read from a terminal until `word` has come, or to its end, which Linux tells as an error."""
    shown = b""
    with suppress(OSError):
        while word is None or word not in shown:
            shown += os.read(terminal, 4096)
    return shown


# -- faults of the set-up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DATABASE_URL": "mysql://u@db/carts"}, "DATABASE_URL: mysql is not supported"),
        ({"DATABASE_URL": "sqlite:////dev/null/carts.db"}, "the database cannot be brought up to date"),
        ({"MASTER_KEY": "short"}, "MASTER_KEY"),
        ({"POLLING_INTERVAL": "1"}, "POLLING_INTERVAL: "),
        ({"ENV": "production"}, "DATABASE_URL: production needs PostgreSQL"),
    ],
    ids=["no such database", "no such folder", "bad key", "out of bounds", "production on SQLite"],
)
async def test_a_faulty_setting_is_one_clear_line(bench: Bench, variables: dict[str, str], words: str) -> None:
    code, output, errors = await bench.run("--once", **({"OUTBOUND_ALLOW_LOOPBACK": "false"} | variables))
    told = [line for line in errors.splitlines() if not line.startswith("{")]
    assert (code, output, len(told)) == (2, "", 1)
    assert words in told[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("companies:\n  - name: Acme\n    colour: red\n", "line 3: companies[0].colour is not a known key"),
        ("companies: [", "line"),
        (None, "No such file"),
    ],
    ids=["unknown key", "no YAML", "no file"],
)
async def test_a_faulty_configuration_is_told_with_its_line(bench: Bench, text: str | None, words: str) -> None:
    if text is None:
        bench.file.unlink()
    else:
        bench.file.write_text(text, encoding="utf-8")
    code, _output, errors = await bench.once()
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


async def test_an_interval_out_of_bounds_is_refused(bench: Bench) -> None:
    code, _output, errors = await bench.run("--interval", "4")
    assert code == 2
    assert "--interval" in errors
