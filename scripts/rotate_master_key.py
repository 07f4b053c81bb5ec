"""Wrap every company's data key with MASTER_KEY, where a key of MASTER_KEY_OTHERS wraps it still. See docs/keys.md.

The service may run meanwhile, if each of its processes knows both keys. What is sealed is not touched: only the keys to
it are. A run that was cut off is gone on with by the next one.

Exit codes: 0 every data key is wrapped by MASTER_KEY; 2 a setting or the database is at fault.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
from backend.services.audit import note
from backend.services.wiring import build_services


async def run() -> None:
    """Rewrap, and say how many keys it was."""
    settings = load_settings()
    set_up_logs(settings.model_copy(update={"log_level": "error"}))
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        done = await services.keyring.rewrap(services.database)
        if done:
            async with services.database.work() as tx:
                await note(
                    tx, INSTALLATION, Clock().now(), "master_key.rotated", services.keyring.fingerprint, keys=done
                )
    finally:
        await services.aclose()
    print(f"{done} data keys wrapped anew; all of them are wrapped by MASTER_KEY now")


def main() -> None:
    """Rewrap every data key with MASTER_KEY."""
    try:
        with acting_as(AS_COMMAND):
            asyncio.run(run())
    except (SetupProblem, Unavailable) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
