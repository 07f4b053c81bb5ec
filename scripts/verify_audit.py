"""Read every audit chain from its beginning and name the first record that is not as it was written.

`--heads FILE` compares with heads that were kept elsewhere: lines of the log with the event `audit.head_signed`. Only
those show a chain whose end was written anew by somebody who can read the master key.

Exit codes: 0 every chain holds; 1 one is broken; 2 a setting, a file or the database is at fault.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

import typer

from backend.config import load_settings
from backend.db import prepare_database
from backend.domain.audit import Head
from backend.errors import SetupProblem, Unavailable
from backend.logs import set_up_logs
from backend.services.audit_trail import Verdict
from backend.services.wiring import build_services

SIGNED = "audit.head_signed"


def read_heads(path: Path) -> list[Head]:
    """Return the heads in a log. Raises `SetupProblem` for a line of that event that cannot be read."""
    heads = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupProblem(f"{path}: cannot be read") from error
    for number, line in enumerate(lines, start=1):
        if SIGNED not in line:
            continue
        try:
            heads.append(_head(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise SetupProblem(f"{path}: line {number} is not a head as the log holds it") from error
    if not heads:
        raise SetupProblem(f"{path}: holds no line {SIGNED}")
    return heads


def _head(values: dict[str, str]) -> Head:
    return Head(
        company_id=values["company_id"],
        seq=int(values["seq"]),
        hash=bytes.fromhex(values["hash"]),
        signed_at=datetime.fromisoformat(values["signed_at"]),
        key_version=int(values["key_version"]),
        signature=bytes.fromhex(values["seal"]),
    )


def in_words(verdict: Verdict) -> str:
    """Return what was found of one chain."""
    if verdict.broken is not None:
        return f"BROKEN {verdict.company_id}: record {verdict.broken.seq}: {verdict.broken.why}"
    return f"holds  {verdict.company_id}: {verdict.records} records, signed up to {verdict.signed}"


async def run(company: str | None, heads: list[Head]) -> bool:
    """Print a line per chain; return whether all hold."""
    settings = load_settings()
    set_up_logs(settings.model_copy(update={"log_level": "error"}))
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        known = {*await services.audit.chains(), *(head.company_id for head in heads)}
        if company is not None and company not in known:
            raise SetupProblem(f"there is no chain of {company}")
        wanted = {company} if company else known
        verdicts = [await services.audit.verify(name, heads) for name in sorted(wanted)]
    finally:
        await services.aclose()
    for verdict in verdicts:
        print(in_words(verdict))
    if not verdicts:
        print("There is no record yet.")
    return all(verdict.broken is None for verdict in verdicts)


def main(
    company: Annotated[str | None, typer.Option(help="Only this chain: a company's id, or `installation`.")] = None,
    heads: Annotated[Path | None, typer.Option(help="A log with heads that were kept elsewhere.")] = None,
) -> None:
    """Verify the audit chains."""
    try:
        holds = asyncio.run(run(company, read_heads(heads) if heads else []))
    except (SetupProblem, Unavailable) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if holds else 1)


if __name__ == "__main__":
    typer.run(main)
