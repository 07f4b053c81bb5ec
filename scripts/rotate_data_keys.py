"""Give companies another version of their data key and seal anew what older versions sealed. See docs/keys.md.

The service may run meanwhile. A run that was cut off is gone on with by the next one: a version that is younger than
`--hours` is not followed by another. A version that nothing needs any more is removed by the run after the one that
emptied it.

Exit codes: 0 everything is sealed with each company's newest version; 1 some value does not open with any key and was
left as it is; 2 a setting or the database is at fault.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

import typer

from backend.clock import Clock
from backend.config import load_settings
from backend.db import prepare_database
from backend.domain.acting import AS_COMMAND, acting_as
from backend.domain.audit import INSTALLATION
from backend.errors import SetupProblem, Unavailable
from backend.logs import set_up_logs
from backend.services.data_keys import OLD_ENOUGH, DataKeyRotation, Rotation
from backend.services.wiring import build_services


def in_words(rotation: Rotation) -> str:
    """Return what became of one company's keys."""
    parts = [f"version {rotation.version}" + (", new" if rotation.is_new else "")]
    parts.append(f"{rotation.resealed:,} values sealed anew")
    if rotation.removed:
        parts.append(f"removed {', '.join(f'v{version}' for version in rotation.removed)}")
    for version, rows in rotation.kept.items():
        parts.append(f"{rows:,} rows need v{version}" if rows else _why_kept(rotation.company_id, version))
    if rotation.broken:
        parts.append(f"NO KEY OPENS {', '.join(sorted(rotation.broken)[:5])} ({len(rotation.broken):,} in all)")
    return f"{rotation.company_id}: {'; '.join(parts)}"


def _why_kept(company_id: str, version: int) -> str:
    if company_id == INSTALLATION:
        return f"v{version} is kept for sessions and links that it signed"
    return f"the next run may remove v{version}"


async def run(company: str | None, hours: float) -> bool:
    """Rotate one company's keys or all; print a line for each, and return whether everything opened."""
    settings = load_settings()
    set_up_logs(settings.model_copy(update={"log_level": "error"}))
    await prepare_database(settings)
    services = await build_services(settings)
    rotation = DataKeyRotation(services.database, Clock(), services.keyring)
    all_open = True
    try:
        known = await rotation.companies()
        if company is not None and company not in known:
            raise SetupProblem(f"there is no data key of {company}")
        for name in [company] if company else known:
            done = await rotation.rotate(name, timedelta(hours=hours))
            print(in_words(done), flush=True)
            all_open = all_open and not done.broken
    finally:
        await services.aclose()
    return all_open


def main(
    company: Annotated[str | None, typer.Option(help="Only this company's id, or `installation`.")] = None,
    hours: Annotated[
        float, typer.Option(min=0, help="Leave a version that is younger than this as the newest; 0: make one.")
    ] = OLD_ENOUGH.total_seconds() / 3600,
) -> None:
    """Rotate data keys and seal anew what older ones sealed."""
    try:
        with acting_as(AS_COMMAND):
            all_open = asyncio.run(run(company, hours))
    except (SetupProblem, Unavailable) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if all_open else 1)


if __name__ == "__main__":
    typer.run(main)
