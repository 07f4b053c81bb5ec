"""Which URLs a company may give us to call: the rules that can be told from the URL alone.

The address guard asks again, with the looked-up address, whenever a connection is made. Here the answer comes early,
while the person who typed the URL is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from backend.domain.addresses import Network, classify_address, is_loopback, is_odd_number
from backend.errors import BadInput

DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What this installation lets companies call. `http`: whether a target without TLS may be elsewhere.

    `denied` are addresses that this installation refuses beyond those that every one does.
    """

    allow_loopback: bool
    allowed_ports: frozenset[int]
    http: bool = False
    denied: tuple[Network, ...] = ()


def check_target(url: str, field: str, rules: TargetRules) -> None:
    """Raise `BadInput` about `field` unless `url` may be called under `rules`."""
    parts = _split(url, field)
    host = parts.hostname or ""
    here = is_here(host)
    _check_scheme(parts.scheme, here=here and rules.allow_loopback, field=field, rules=rules)
    if here:
        _require(
            rules.allow_loopback,
            "the address is on this machine",
            field,
            "give a public address; OUTBOUND_ALLOW_LOOPBACK=true allows local ones in development",
        )
        return
    _check_host(host, field, rules)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    ports = ", ".join(str(allowed) for allowed in sorted(rules.allowed_ports))
    _require(port in rules.allowed_ports, f"port {port} is not allowed", field, f"use one of the ports {ports}")


def is_here(host: str) -> bool:
    """Whether a host name or literal is this machine: loopback, or a name that always means it."""
    name = host.rstrip(".").lower()
    return is_loopback(name) or name == "localhost" or name.endswith(".localhost")


def _split(url: str, field: str) -> SplitResult:
    remedy = "give an address such as https://example.com/path"
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    _require(is_whole, "this is not an https:// address with a host", field, remedy)
    parts = urlsplit(url)
    _require(
        parts.username is None and parts.password is None,
        "the address must not hold a user name or password",
        field,
        "leave out what stands before the @",
    )
    _require(not parts.fragment, "the address must not hold a fragment", field, "leave out what follows the #")
    return parts


def _check_scheme(scheme: str, *, here: bool, field: str, rules: TargetRules) -> None:
    _require(
        scheme == "https" or here or rules.http,
        "the address must begin with https://",
        field,
        "use https; plain http is for this machine only, with OUTBOUND_ALLOW_LOOPBACK=true",
    )


def _check_host(host: str, field: str, rules: TargetRules) -> None:
    """Refuse literal addresses that the guard would refuse, and odd spellings of addresses."""
    try:
        literal = str(ip_address(host))
    except ValueError:
        is_name = ":" not in host and not is_odd_number(host)
        _require(is_name, "the host is no name and no address", field, "give the host's name")
        return
    reason = classify_address(literal, rules.denied)
    _require(reason is None, f"the address is not one that may be called: {reason}", field, "give a public address")


def _require(holds: bool, message: str, field: str, remedy: str) -> None:
    if not holds:
        raise BadInput(message, field=field, remedy=remedy)
