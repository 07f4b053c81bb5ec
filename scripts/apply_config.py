"""Bring companies, agents, integrations and destinations to what a file says.

Objects are matched by name within their parent. What the file leaves out is left alone and listed; --prune deactivates
it. `env:NAME` in the file reads a secret from the environment. Running the same file again changes nothing. A
destination without a secret gets one made, which is printed once, on a terminal only.

The database comes from DATABASE_URL (environment, .env.local or .env). A running service may go on meanwhile.

Exit codes: 0 done, or nothing to change; 1 some companies could not be changed, each is named; 2 the file or the set-up
is faulty, nothing was changed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

from rich.console import Console
from rich.text import Text

from backend.clock import Clock
from backend.config import Settings, load_settings
from backend.crypto import load_master_key, other_master_keys
from backend.db import Database, prepare_database
from backend.domain.acting import AS_COMMAND, acting_as
from backend.domain.configuration import FaultyConfiguration
from backend.errors import SetupProblem
from backend.outbound import Outbound, OutboundPolicy
from backend.services.configuration import Applied, ConfigurationService
from backend.services.configuration_plan import Plan
from backend.services.keyring import Keyring

COLOURS = {"+": "green", "~": "yellow", "-": "red", "!": "magenta", "=": "dim"}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        "apply_config.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("file", type=Path, metavar="FILE", help="the configuration, in YAML")
    made.add_argument("--dry-run", action="store_true", help="print the difference and change nothing")
    made.add_argument("--prune", action="store_true", help="deactivate what the file leaves out")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    asked = parser().parse_args(arguments)
    try:
        text = asked.file.read_text(encoding="utf-8")
        with acting_as(AS_COMMAND):
            return asyncio.run(run(load_settings(), text, dry_run=asked.dry_run, prune=asked.prune))
    except FaultyConfiguration as faulty:
        for fault in faulty.faults:
            complain(f"{asked.file}: {fault}")
        complain("nothing was changed")
    except OSError as error:
        complain(f"{asked.file}: {error.strerror or 'cannot be read'}")
    except UnicodeDecodeError:
        complain(f"{asked.file}: is not UTF-8 text")
    except SetupProblem as problem:
        complain(str(problem))
    return 2


async def run(settings: Settings, text: str, *, dry_run: bool, prune: bool) -> int:
    """Plan, show, and unless it is a dry run apply; return the exit code."""
    await prepare_database(settings)
    database, http = Database(settings), Outbound(OutboundPolicy())
    try:
        keyring = Keyring(load_master_key(settings), other_master_keys(settings))
        service = ConfigurationService(database, Clock(), settings, keyring, http)
        plan = await service.plan(text, os.environ, prune=prune, may_generate=sys.stdout.isatty())
        show(plan)
        if dry_run:
            print("dry run: nothing was changed")
        if dry_run or plan.is_empty:
            return 0
        applied = await service.apply(plan)
    finally:
        await http.aclose()
        await database.close()
    return report(applied)


def show(plan: Plan) -> None:
    """Print the plan: in colour on a terminal, as plain lines anywhere else."""
    console = Console() if sys.stdout.isatty() else None
    for line in plan.lines():
        if console is None:
            print(line)
        else:
            console.print(Text(line, style=COLOURS.get(line[0], "")))


def report(applied: Applied) -> int:
    """Print the secrets that were made and the companies that could not be changed; return the exit code."""
    for made in applied.secrets:
        print(f"secret of {made.path}, shown this once: {made.secret}")
    for name, reason in applied.failed:
        complain(f"{name} was left as it was: {reason}")
    if applied.companies:
        print(f"applied: {', '.join(applied.companies)}")
    return 1 if applied.failed else 0


def complain(message: str) -> None:
    """Print to standard error."""
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
