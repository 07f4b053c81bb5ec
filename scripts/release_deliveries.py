"""Show what a release of held deliveries would let go, and release them with --yes. Works without the web server.

Exit codes: 0 deliveries go, or --yes was left out; 2 a setting or the database is at fault, told in one line.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

import typer

from backend.config import load_settings
from backend.db import prepare_database
from backend.domain.acting import AS_COMMAND, acting_as
from backend.errors import SetupProblem, Unavailable
from backend.logs import set_up_logs
from backend.services.wiring import build_services


async def run(*, yes: bool) -> None:
    """Print the plan; release if asked to."""
    settings = load_settings()
    set_up_logs(settings.model_copy(update={"log_level": "error"}))
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        plan = await services.hold.plan()
        held = plan["held"]
        print(f"held since {held['held_at']}: {held['reason']}" if held else "deliveries are not held")
        print(plan["in_words"])
        if held and yes:
            await services.hold.release()
            print("released: deliveries go again")
        elif held:
            print("to release them: scripts/release_deliveries.py --yes")
    finally:
        await services.aclose()


def main(*, yes: Annotated[bool, typer.Option("--yes", help="Release them.")] = False) -> None:
    """Show what a release would let go; with --yes, release."""
    try:
        with acting_as(AS_COMMAND):
            asyncio.run(run(yes=yes))
    except (SetupProblem, Unavailable) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
