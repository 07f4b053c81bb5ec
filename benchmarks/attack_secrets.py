"""Do secrets come out anywhere? Canaries go through the live product, then everything it wrote or said is searched.

The canaries: stores' credentials, signing secrets, API keys, the master key, passwords of database, Redis and broker,
people's passwords, links, tokens and second factors, tokens in partners' addresses, shoppers' names, e-mails and
phones. They are given over the API, echoed by stores and partners in answers and headers, sent in requests that are
refused, and left in statements that a broken database refuses. Then are searched: every row and the files of the
database, the logs of real processes at debug level, every page, GET route and refusal, the metrics, the reports, what
failing starts and commands print: in clear and in some forms more. A shopper's data have places where they belong;
anywhere else they count too.

The control plants every canary in every form, and finds it; and a line in the log, and finds that.

`--suite` lets tests run (all, or those that are named behind it) with what they seal and wrap as canaries, instead.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from benchmarks.attack_pages import keep
from benchmarks.attack_secrets_people import live_as_a_person
from benchmarks.attack_secrets_product import Tables, files, ran, web
from benchmarks.attack_secrets_search import Hit, Search, control
from benchmarks.attack_secrets_story import Canaries, Story, opened
from benchmarks.grounds import Ground, ground
from benchmarks.pages import Check, Page, told
from benchmarks.servers import ROOT

SHOPPERS = 4  # carts in each store, each of a person of its own
# What must have happened, or nothing was put to the test: each counted over at least one row.
FACTS = {
    "messages that partners accepted": "SELECT count(*) FROM deliveries WHERE state = 'delivered'",
    "answers that were kept": "SELECT count(*) FROM delivery_attempts WHERE length(answer) > 0",
    "polls that failed": "SELECT count(*) FROM poll_runs WHERE outcome <> 'ok'",
    "shoppers": "SELECT count(*) FROM customers WHERE email IS NOT NULL",
    "records that could not be read": "SELECT count(*) FROM quarantine",
}


@dataclass(slots=True)
class Run:
    """One database's run."""

    database: str
    search: Search
    story: Story
    logs: Counter[str] = field(default_factory=Counter)
    planted: int = 0
    facts: dict[str, int] = field(default_factory=dict)


def settings(canaries: Canaries, url: str) -> dict[str, str]:
    """Return the environment of the product: a canary wherever a setting may hold a secret."""
    master = canaries.chance.randbytes(32)
    canaries.add("master key", base64.b64encode(master).decode(), raw=master)
    spare = canaries.chance.randbytes(32)
    canaries.add("other master key", base64.b64encode(spare).decode(), raw=spare)
    return {
        "DATABASE_URL": url,
        "MASTER_KEY": base64.b64encode(master).decode(),
        "MASTER_KEY_OTHERS": base64.b64encode(spare).decode(),
        "REDIS_URL": f"redis://:{canaries.word('password of Redis')}@127.0.0.1:1/0",
        "CELERY_BROKER_URL": f"amqp://carts:{canaries.word('password of the broker')}@127.0.0.1:1//",
        "EXTERNAL_API_URL": f"https://127.0.0.1:1/{canaries.word('token in EXTERNAL_API_URL', allowed=OWN_ADDRESS)}",
        "EXTERNAL_API_SECRET": canaries.signing("EXTERNAL_API_SECRET"),
        "OUTBOUND_ALLOW_LOOPBACK": "true",
        "DEBUG_MODE": "true",
        "LOG_FORMAT": "json",
        "PYTHONASYNCIODEBUG": "1",
        "POLLING_INTERVAL": "5",
        "AUTO_MIGRATE": "true",
    }


OWN_ADDRESS = ("table: destinations.url", "file: ", "api: GET /api/v1/companies/*/destinations", "answer: ")


@contextmanager
def database(where: Ground, kind: str, canaries: Canaries, folder: Path) -> Iterator[tuple[str, Tables]]:
    """Give a URL with a password, and the tables behind it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/carts.db", Tables(None, f"{folder}/carts.db")
        return
    with where.database() as name:
        password = canaries.word("password of the database")
        url = where.server.url(name).replace("cart_owner@", f"cart_owner:{password}@")
        yield url, Tables(where.server, name)


async def live(run: Run, address: str, tables: Tables, folder: Path) -> None:
    """Tell the whole story to a running service."""
    story, world = run.story, run.story.world
    await story.set_up()
    await live_as_a_person(story)
    for number in range(SHOPPERS):
        world.shop(number)
    await story.ask("POST", "/polling/start?interval=5")
    await story.ask("POST", "/polling/stop")
    await story.cycle()
    await story.verify()
    await story.blunder()
    for number, status in enumerate((200, 302, 400, 401, 410, 429, 500)):
        world.shop(100 + number)
        world.echo([world.partner], "status", status=status)
        world.echo([world.partner], "accepted_then_status", status=status)
        await story.cycle()
        await resume(story, tables)
    for status in (401, 403, 404, 429, 500, 302, 200):
        world.echo(world.stores, "status", status=status)
        await story.cycle()
        await story.verify()
        await resume(story, tables)
    for kind in ("html", "truncated", "nan", "cut"):
        world.echo(world.stores, kind)
        await story.cycle()
        await resume(story, tables)
    await broken(run, tables)
    await story.rotate()
    world.partner.secrets.clear()
    await story.cycle()
    run.facts = {name: tables.count(question) for name, question in FACTS.items()}
    told(f"{run.database}: {run.facts}")
    told(f"{run.database}: {await story.crawl()} pages and routes read, answers by status {dict(story.statuses)}")


async def resume(story: Story, tables: Tables) -> None:
    """Let stores that were refused, and a partner that was gone, answer again and be asked at once."""
    story.world.clear()
    await story.credentials()
    tables.execute("UPDATE integrations SET status = 'active', next_poll_at = created_at, pause_reason = NULL")
    tables.execute("UPDATE destinations SET status = 'active', held_until = NULL, failures = 0")
    tables.execute("UPDATE deliveries SET next_attempt_at = created_at WHERE state = 'pending'")


async def broken(run: Run, tables: Tables) -> None:
    """Let statements fail that carry secrets and shoppers: our own bugs, with all their traces."""
    story, world = run.story, run.story.world
    for number, table in enumerate(TABLES):
        breaks, mends = _breaks(run.database, table)
        tables.execute(breaks)
        world.shop(1_000 + number)
        await story.cycle()
        for platform, values, credentials in story.stores():
            body = {"agent_id": "none", "name": f"{platform} 2", "platform": platform, "settings": values}
            path = f"/api/v1/companies/{story.company}/integrations"
            await story.ask("POST", path, json={**body, "credentials": credentials})
        await story.ask(
            "POST", f"/api/v1/companies/{story.company}/keys", json={"name": "k", "role": "viewer"}, tells=False
        )
        await asyncio.sleep(1)
        tables.execute(mends)
        await resume(story, tables)


def _breaks(database: str, table: str) -> tuple[str, str]:
    if database == "sqlite":
        refuse = f"BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        return f"CREATE TRIGGER refuse {refuse}", "DROP TRIGGER refuse"
    change = f"ALTER TABLE {table}"
    return f"{change} ADD CONSTRAINT refuse CHECK (company_id IS NULL) NOT VALID", f"{change} DROP CONSTRAINT refuse"


TABLES = ("customers", "integrations", "delivery_attempts", "api_keys")


def starts(canaries: Canaries, folder: Path, environment: dict[str, str]) -> None:
    """Let processes fail at their start, and run commands, with secrets in their settings."""
    bad = canaries.word("secret in a faulty setting")
    faulty = {
        "DATABASE_URL": (
            f"postgresql://carts:{bad}@127.0.0.1:1/carts", f"postgresql://carts:{bad}@db:many/x", f"mysql://u:{bad}@db/x",
            f"postgresql://carts:{bad}@nowhere.invalid/carts?sslmode=require", f"postgresql://db/x?sslmode={bad}",
        ),
        "MASTER_KEY": (bad, base64.b64encode(bad.encode()).decode()),
        "MASTER_KEY_OTHERS": (bad,),
        "REDIS_URL": (f"redis:/:{bad}@x", f"http://:{bad}@x"),
        "EXTERNAL_API_SECRET": (bad,),
        "EXTERNAL_API_URL": (f"nonsense {bad}",),
        "REDIS_PASSWORD": (bad,),
        "POLLING_INTERVAL": (bad,),
    }  # fmt: skip
    for name, values in faulty.items():
        for number, value in enumerate(values):
            given = {**environment, name: value}
            if name == "REDIS_PASSWORD":
                given["REDIS_URL"] = ""
            ran(folder, f"start-{name}-{number}", ["-m", "backend", "worker"], given)


def commands(folder: Path, environment: dict[str, str]) -> None:
    """Run the commands that read what is sealed."""
    ran(folder, "once", ["run_abandoned_cart_polling.py", "--once", "--json"], environment)
    for name, arguments in {
        "keys": ["scripts/access.py", "keys"],
        "audit": ["scripts/verify_audit.py"],
        "rewrap": ["scripts/rotate_master_key.py"],
    }.items():
        ran(folder, name, arguments, environment)


async def attack(where: Ground, kind: str, seed: int) -> Run:
    """Run the story on one database, and search."""
    canaries = Canaries(random.Random(f"{seed} {kind}"))
    folder = where.folder / f"secrets-{kind}"
    folder.mkdir()
    async with opened(canaries) as world:
        with database(where, kind, canaries, folder) as (url, tables):
            environment = settings(canaries, url)
            story = Story(world, httpx.AsyncClient())
            run = Run(kind, Search(canaries.all), story)
            with web(folder, environment) as address:
                story.client = httpx.AsyncClient(base_url=address.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104
                async with story.client:
                    await live(run, address, tables, folder)
                    run.search.look_at(files(folder))  # with the write-ahead log as it is while it is open
            await asyncio.to_thread(commands, folder, environment)
            await asyncio.to_thread(starts, canaries, folder, environment)
            run.search.look_at(tables.rows())
            run.search.look_at(files(folder))
            run.search.look_at(story.answers)
            run.planted = planted(canaries, folder)
    for path in folder.glob("*.log"):
        run.logs[path.name] = path.stat().st_size
    return run


def planted(canaries: Canaries, folder: Path) -> int:
    """Write a canary into a log, as a slip would; return how many canaries a search finds there."""
    with (folder / "web.log").open("ab") as log:
        log.write(f'{{"event": "slip", "authorization": "{canaries.all[0].value}"}}\n'.encode())
    again = Search([canaries.all[0]])
    again.look_at(files(folder))
    return len({hit.canary for hit in again.hits})


def page(runs: Sequence[Run], forms: tuple[int, int], options: argparse.Namespace) -> Page:
    """Return the page."""
    made = Page(
        "attack-secrets",
        "Canary secrets through the product",
        f"{sum(len(run.search.canaries) for run in runs)} canaries, each in every form; seed {options.seed}",
        ("database", "where", "places", "MB", "hits"),
    )
    for run in runs:
        hits = Counter(hit.place.partition(":")[0] for hit in run.search.hits)
        for kind, (places, size) in sorted(run.search.looked.items()):
            made.rows.append([run.database, kind, f"{places:,}", f"{size / 1e6:.1f}", hits[kind]])
            made.raw.append(
                {"database": run.database, "where": kind, "places": places, "bytes": size, "hits": hits[kind]}
            )
        made.raw.append({"database": run.database, "statuses": run.story.statuses})
    hits_in_all = [hit for run in runs for hit in run.search.hits]
    facts = "; ".join(", ".join(f"{count} {name}" for name, count in run.facts.items()) for run in runs)
    statuses = Counter[int]()
    for run in runs:
        statuses.update(run.story.statuses)
    made.checks = [
        Check("no canary is found anywhere", f"{len(hits_in_all)} hits", not hits_in_all),
        Check("what was to be searched came about", facts, all(min(run.facts.values()) > 0 for run in runs)),
        Check("the control: every planted form is found", f"{forms[1]:,} of {forms[0]:,}", forms[0] == forms[1]),
        Check(
            "the control: a line planted in a log is found",
            f"{[run.planted for run in runs]}",
            all(run.planted == 1 for run in runs),
        ),
        Check(
            "refusals of every kind were among the answers",
            ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
            {200, 201, 401, 404, 422, 500} <= set(statuses),
        ),
    ]
    made.notes = WHERE + "\n\n" + "\n".join(f"- {_told(hit)}" for hit in _first(hits_in_all))
    return made


WHERE = (
    "Shoppers' data stand in the rows of customers and in the bodies of deliveries, and in the pages and routes that "
    "show one cart or one delivery; partners' addresses in their own rows and routes. There they are not counted. "
    "What a partner answers is kept without secrets; one sent back in a form that no software writes would be kept."
)


def _told(hit: Hit) -> str:
    return f"**{hit.canary}**, {hit.form}, in {hit.place}"


def _first(hits: Sequence[Hit], most: int = 40) -> list[Hit]:
    return sorted(set(hits), key=lambda hit: (hit.place, hit.canary))[:most]


def suite(tests: Sequence[str]) -> tuple[int, Counter[str], list[dict[str, str]]]:
    """Run tests under the plugin; return pytest's exit code, what was looked through, and the hits."""
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        file = Path(folder) / "canaries"
        plugin = ["-p", "benchmarks.attack_secrets_plugin", "--canary-file", str(file)]
        code = subprocess.run([sys.executable, "-m", "pytest", "-q", *plugin, *tests], cwd=ROOT, check=False).returncode
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    counts = Counter[str]()
    for line in lines:
        counts.update(line.get("counts", {}))
    return code, counts, [line for line in lines if "hit" in line]


def suite_page(code: int, counts: Counter[str], hits: list[dict[str, str]]) -> Page:
    """Return the page of the suite."""
    made = Page(
        "attack-secrets-suite", "Canary secrets through the tests", "the test suite", ("looked through", "times")
    )
    made.rows = [[name, f"{count:,}"] for name, count in sorted(counts.items())]
    made.checks = [
        Check("no canary is found anywhere", f"{len(hits)} hits", not hits),
        Check("the tests passed", f"exit code {code}", code == 0),
        Check(
            "the control: every planted form is found",
            f"{counts['control: found']:,} of {counts['control: planted']:,}",
            0 < counts["control: planted"] == counts["control: found"],
        ),
    ]
    made.notes = "\n".join(f"- **{hit['hit']}**, {hit['form']}, in {hit['place']}" for hit in hits[:40])
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when something leaked, or when a control failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_secrets", description=__doc__)
    parser.add_argument("--long", action="store_true", help="both databases")
    parser.add_argument("--seed", type=int, default=1, help="what the canaries are drawn from")
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], help="instead of these")
    parser.add_argument("--suite", nargs="*", metavar="TEST", help="the test suite instead of the live product")
    options = parser.parse_args(arguments)
    if options.suite is not None:
        return keep(suite_page(*suite(options.suite or ["tests"])), is_long=True)
    kinds = options.databases or (["sqlite", "postgresql"] if options.long else ["sqlite"])
    runs = []
    with ground() as where:
        for kind in kinds:
            runs.append(asyncio.run(attack(where, kind, options.seed)))
            for hit in _first(runs[-1].search.hits, 60):
                told(f"{kind}: {_told(hit)}: {hit.around}")
    planted_forms = control([canary for run in runs for canary in run.search.canaries])
    return keep(page(runs, planted_forms, options), is_long=options.long)


if __name__ == "__main__":
    sys.exit(main())
