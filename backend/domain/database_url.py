"""What a PostgreSQL URL says of TLS, in libpq's words, in the form that reaches asyncpg through SQLAlchemy. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# SQLAlchemy gives every part of the query to the driver as an argument, and these are none: asyncpg reads them from a
# URL only. So they are put into one of their own.
LIBPQ = frozenset(
    {
        "sslmode",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
    }
)
# The others that have a meaning here; the driver fails with a traceback at any more.
KNOWN = (
    "command_timeout",
    "dsn",
    "host",
    "passfile",
    "password",
    "port",
    "ssl",
    "target_session_attrs",
    "timeout",
    "user",
)


def asyncpg_query(query: str) -> str:
    """Return a URL's query as asyncpg takes it; one that says nothing of TLS stays as it is. Raises `ValueError`."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name not in LIBPQ and name not in KNOWN for name, _value in pairs):
        raise ValueError(f"DATABASE_URL: behind the ? may stand {', '.join(KNOWN)}, sslmode and what goes with it")
    sealing = {name: value for name, value in pairs if name in LIBPQ}
    if not sealing:
        return query
    if sealing.get("sslmode", "require") not in MODES:
        raise ValueError(f"DATABASE_URL: sslmode is one of {', '.join(MODES)}")
    rest = [(name, value) for name, value in pairs if name not in LIBPQ]
    return urlencode([*rest, ("dsn", f"postgresql://?{urlencode(sealing)}")])
