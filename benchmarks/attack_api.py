"""Does any request that the OpenAPI document allows, or forbids, make a fault of ours or an answer it does not tell of?

Schemathesis asks every operation of a real web process on PostgreSQL: examples, its boundary values, random ones, and
chains of operations that hand ids on. Each run is one caller: a role, in all companies or in one, or nobody. The
control is the same attack on an application with three faults in it, of which each must be found.

`--role` runs one caller alone; the page keeps the others as they were.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from backend.domain.access import Role
from benchmarks import attack_control
from benchmarks.attack_hooks import RULES
from benchmarks.attack_kept import keep, kept, read_options
from benchmarks.attack_scene import ALL, ONE, Key, Scene, scene
from benchmarks.grounds import Ground, ground
from benchmarks.pages import Check, Page, told
from benchmarks.servers import ROOT, die_with_parent

NAME = "attack-api"
PERSON, NOBODY = "a person, owner", "nobody"
CALLERS = [f"{role}, {reach}" for role, reach in itertools.product(reversed(Role), (ALL, ONE))]
CALLERS += [PERSON, NOBODY]
CONTROL = "control"
PHASES, QUICK = "examples,coverage,fuzzing,stateful", "examples,fuzzing,stateful"  # coverage: boundary values
SHORT_CALLERS = (f"{Role.OWNER}, {ALL}", f"{Role.VIEWER}, {ONE}")
REAL = 0.7  # how often a real id is drawn: with made-up ones all that could be found is 404
DRAWN = 5  # ids of each kind
SERVER_ERRORS = ("ServerError", "ContentTypeServerError")


def known_ids(where: Scene, document: Any, own: Key | None) -> dict[str, list[str]]:
    """Return ids of things of the scene's company, by the name of their parameter, without the attack's own key.

    They are taken from the lists that the document tells of: `/things` lists what `/things/{thing_id}` takes.
    """
    found = {"company_id": [where.company]}
    for path in document["paths"]:
        above, _, last = path.rpartition("/")
        name = last.strip("{}")
        if name in {last, "company_id"} or "get" not in document["paths"].get(above, {}):
            continue
        try:
            rows = where.ask("GET", above.replace("{company_id}", where.company))["items"]
        except urllib.error.HTTPError:
            continue  # nothing of the owner's key: what a person has, for example
        ids = [row.get(name) or row["id"] for row in rows]
        found.setdefault(name, []).extend([each for each in ids if own is None or each not in own.ids][:DRAWN])
    return found


def configuration(ids: dict[str, list[str]], *, signs_in: bool) -> Iterator[str]:
    """Yield the lines of Schemathesis's configuration. The key itself stays in the environment."""
    yield 'hooks = "benchmarks.attack_hooks"'
    if signs_in:
        yield '[auth.openapi.bearer]\nbearer = "${ATTACK_KEY}"'
    drawn = {name: values for name, values in ids.items() if values}
    for name, values in drawn.items():
        yield f"[dictionaries.{name}]\nvalues = {json.dumps(values)}"
    yield "[parameters]"
    for name in drawn:
        yield f'"path.{name}" = {{ dictionary = "{name}", probability = {REAL} }}'
    if "agent_id" in drawn:
        yield f'"body.agent_id" = {{ dictionary = "agent_id", probability = {REAL} }}'


def attack(url: str, document: Any, key: Key | None, ids: dict[str, list[str]], options: argparse.Namespace) -> Any:
    """Run Schemathesis to its end and return its report; `raised` has what it says of each failure."""
    folder: Path = options.folder
    for name, text in (("openapi.json", json.dumps(document)), ("report.json", "")):
        (folder / name).write_text(text)
    (folder / "attack.toml").write_text("\n".join(configuration(ids, signs_in=key is not None)) + "\n")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "attack.toml"), "run"]
    command += [str(folder / "openapi.json"), "--url", url, "--seed", str(options.seed), "--continue-on-failure"]
    command += [
        "--phases",
        options.phases,
        "-n",
        str(options.examples),
        "--report",
        "json",
        "--report-json-path",
        str(folder / "report.json"),
    ]
    command += [
        "--generation-database",
        "none",
        "--no-color",
        *(["--max-time", str(options.time)] if options.time else []),
    ]
    own = {}
    if key is not None:
        own = {"ATTACK_KEY": key.text, "ATTACK_OWN_IDS": " ".join(key.ids), "ATTACK_OTHER_ID": ids["key_id"][0]}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_PROXY": "*", **own}, capture_output=True, text=True, check=False,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    written = (folder / "report.json").read_text()
    if not written:
        raise RuntimeError(f"Schemathesis did not run:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(written) | {"said": done.stdout}


def row_of(caller: str, report: Any, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Return what is kept of one caller's run."""
    failures = {each["title"]: each["count"] for each in report["failures"]}
    errors = sum(each["count"] for each in report["failures"] if each["type"] in SERVER_ERRORS)
    cases = report["test_cases"]
    return {
        "caller": caller,
        "operations": report["operations"]["tested"],
        "of": report["operations"]["total"],
        "cases": cases["generated"],
        "examples": options.examples,
        "seed": report["seed"],
        "server_errors": errors,
        "breaks": sum(failures.values()) - errors,
        "failures": failures,
        "aside": report["filtered"],
        "not_run": [each["title"] for each in report["errors"]],
        "phases": options.phases,
        "seconds": round(seconds),
    }


def key_of(where: Scene, caller: str) -> Key | None:
    """Return what the caller shows; None for nobody."""
    if caller == PERSON:
        return where.sign_in()
    role, _, reach = caller.partition(", ")
    return None if caller == NOBODY else where.keys[Role(role), reach]


def run_caller(place: Ground, caller: str, options: argparse.Namespace) -> dict[str, Any]:
    """Attack as one caller, on a database of its own."""
    began = time.perf_counter()
    with scene(place) as where:
        key, document = key_of(where, caller), where.ask("GET", "/openapi.json")
        report = attack(where.url, document, key, known_ids(where, document, key), options)
        row = row_of(caller, report, options, time.perf_counter() - began)
        faults = where.log.read_text(errors="replace").count('"event":"request.failed"')
    row["faults_logged"] = faults
    if row["failures"] or row["not_run"] or faults:
        sys.stdout.write(f"{report['said']}\n{where.words()}\n")
    return row


def run_control(options: argparse.Namespace) -> dict[str, Any]:
    """Attack the application with faults in it."""
    began = time.perf_counter()
    with attack_control.served() as (url, document, _):
        report = attack(url, document, None, {}, options)
    return row_of(CONTROL, report, options, time.perf_counter() - began)


def page(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    runs, control = [row for row in rows if row["caller"] != CONTROL], [row for row in rows if row["caller"] == CONTROL]
    made = Page(
        NAME,
        "The whole OpenAPI document, asked what it allows and what it forbids",
        "Schemathesis, all checks; a web process on PostgreSQL, asked "
        "over loopback, set up as in production but for its rate limits, which are off",
        (
            "caller",
            "phases",
            "operations",
            "cases",
            "examples per operation",
            "seed",
            "server errors",
            "breaks",
            "set aside",
            "s",
        ),
        raw=list(rows),
    )
    for row in rows:
        counts = [row["seed"], row["server_errors"] + row.get("faults_logged", 0), row["breaks"], row["aside"]]
        operations = f"{row['operations']} of {row['of']}"
        made.rows.append(
            [row["caller"], row["phases"], operations, f"{row['cases']:,}", row["examples"], *counts, row["seconds"]]
        )
    errors = sum(row["server_errors"] + row["faults_logged"] for row in runs)
    breaks = sum(row["breaks"] for row in runs)
    missed = sum(row["of"] - row["operations"] for row in runs) + sum(len(row["not_run"]) for row in runs)
    seen = {title for row in control for title in row["failures"]}
    made.checks = [
        Check(
            "no answer of 5xx, and no fault in the log",
            f"{errors} in {sum(row['cases'] for row in runs):,}",
            not errors,
        ),
        Check("every answer is as the document says, every request judged as it says", f"{breaks} breaks", not breaks),
        Check("every operation was asked by every caller", f"{missed} were not", not missed),
        Check("the control's faults are found", ", ".join(sorted(seen)) or "none", len(seen) >= attack_control.FAULTS),
    ]
    reasons = "\n".join(f"- {rule.because}" for rule in RULES)
    made.notes = (
        "A break: an undocumented status, an answer or header that its schema does not fit, a request let through that "
        "the schema forbids or refused that it allows, a missing or wrong `Allow`, an open operation that should be "
        "closed, a removed thing that is still there. Set aside: refusals (422) of what the schema allows where no "
        f"schema can state the rule:\n\n{reasons}\n\nNor is the 404 for another company's agent in a body a break. The "
        "attack's own key or session is never revoked, rotated or ended: another one is, in its place. Whether one "
        "company's keys open another's things is for the matrix of routes and roles to find: here nothing may break."
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_api", description=__doc__)
    parser.add_argument(
        "--role", action="append", choices=[*CALLERS, CONTROL], help="only this caller; the page keeps others"
    )
    parser.add_argument("--examples", type=int, help="random cases of each operation; 5, or 100 with --long")
    parser.add_argument("--time", type=int, default=0, help="seconds that each caller's random phases may repeat for")
    options = read_options(parser, arguments)
    options.examples = options.examples or (100 if options.long else 5)
    wanted = options.role or [*(CALLERS if options.long else SHORT_CALLERS), CONTROL]
    rows = {str(row["caller"]): row for row in (kept(NAME, options) if options.role else [])}
    wanted += [] if CONTROL in {*rows, *wanted} else [CONTROL]
    with ground() as place:
        options.folder = place.folder
        for caller in wanted:
            options.phases = PHASES if options.long or caller in {SHORT_CALLERS[0], CONTROL} else QUICK
            rows[caller] = run_control(options) if caller == CONTROL else run_caller(place, caller, options)
            told(f"{caller}: {rows[caller]['cases']} cases, {rows[caller]['failures'] or 'nothing found'}")
    return keep(page([rows[each] for each in (*CALLERS, CONTROL) if each in rows], options), options)


if __name__ == "__main__":
    sys.exit(main())
