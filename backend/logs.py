"""structlog set-up: one wide line per unit of work, no secrets, no contact data."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import orjson
import structlog

from backend.config import Settings

SECRET_WORDS = ("secret", "token", "password", "authorization", "api_key", "consumer_key", "master_key", "signature")
SHAPES = re.compile(
    r"whsec_[A-Za-z0-9+/=]+|shpat_[0-9a-f]+|\bc[ks]_[0-9a-f]{8,}|[\w.+-]+@[\w-]+\.[\w.]+|(?<=Bearer )\S+"
    r"|crk_[a-z]+_\w+|(?<=://)[^\s/@]*:[^\s@]*(?=@)|(?<=invalid input for query argument )[^\n]*"
)
# Text without any of these holds nothing that SHAPES would mask: most values are ids and words.
HINTS = re.compile(r"@|whsec_|shpat_|c[ks]_|crk_|Bearer |query argument ")
MASK = "[redacted]"


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return any(word in key.lower() for word in SECRET_WORDS)


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask values of secret-looking keys, and secrets and e-mail addresses inside any text."""
    for key, value in line.items():
        if _names_a_secret(key):
            line[key] = MASK
        elif isinstance(value, str) and HINTS.search(value):
            line[key] = SHAPES.sub(MASK, value)
    return line


def _dumps(line: object, **_options: object) -> str:
    return orjson.dumps(line, default=str).decode()


def set_up_logs(settings: Settings) -> None:
    """Configure structlog, and route the standard library's loggers the same way, to standard error."""
    level = logging.DEBUG if settings.debug_mode else getattr(logging, settings.log_level.upper())
    readable = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(_dumps)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a logger made before this call follows it too
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("alembic", "aiosqlite", "httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every tick that finds the one before still busy; the next tick does the same work.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
