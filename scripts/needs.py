"""What every command looks for first: that this Python is new enough and has the packages. Standard library only."""

from __future__ import annotations

import sys
from importlib.util import find_spec

OLDEST = (3, 11)
PACKAGES = (
    "aiohttp aiosqlite alembic apscheduler asyncpg cryptography fastapi greenlet httpx httpx_aiohttp jinja2 orjson "
    "phonenumbers pydantic pydantic_settings rich shopify sqlalchemy structlog typer uvicorn uvloop woocommerce yaml"
).split()


def need_packages() -> None:
    """End the process with one line and exit code 2 when this Python cannot run the product."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if sys.version_info >= OLDEST and not missing:
        return
    lack = f"lacks the package {missing[0]}" if missing else f"is older than {OLDEST[0]}.{OLDEST[1]}"
    command = " ".join([".venv/bin/python", *sys.argv])
    print(f"error: {sys.executable} {lack}; install first: make install, then run {command}", file=sys.stderr)
    sys.exit(2)
