"""Bring the database of DATABASE_URL up to date, whatever AUTO_MIGRATE says. `make migrate` calls this.

Exit codes: 0 it is up to date; 2 a setting or the database is at fault, told in one line.
"""

from __future__ import annotations

import asyncio
import sys

from backend.config import load_settings
from backend.db import prepare_database
from backend.errors import SetupProblem


def main() -> int:
    """Run the command; return its exit code."""
    try:
        settings = load_settings()
        asyncio.run(prepare_database(settings.model_copy(update={"auto_migrate": True})))
    except SetupProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print("the database is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
