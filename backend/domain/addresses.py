"""Which network addresses a tenant's URL may lead to.

Own tables, because `ipaddress.is_global` calls multicast, NAT64 and 6to4 forms of private addresses, and the platform
address of a large cloud global, and because its answer changes between Python versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

DENIED_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud platform"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)

DENIED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discard"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
LOOPBACK_V6 = IPv6Address("::1")
# A last label of digits or hexadecimal makes a host an IPv4 address to most clients, in forms nobody means to type.
NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE | re.ASCII)


def classify_address(ip: str, also_denied: Iterable[Network] = ()) -> str | None:
    """Return why `ip`, a literal as the resolver or a URL gives it, must not be dialled; None when it may be.

    IPv6 forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4) are refused whatever they carry: every
    name behind them also has its plain form. Zone ids are refused. `also_denied` is the installation's own list.
    """
    if "%" in ip:
        return "zone id"
    if reason := _classify_v6(ip) if ":" in ip else _classify_v4(ip):
        return reason
    address = ip_address(ip)
    return "denied here" if any(address in network for network in also_denied) else None


def _classify_v4(ip: str) -> str | None:
    try:
        address = IPv4Address(ip)
    except AddressValueError:
        return "not an address"
    return next((reason for network, reason in DENIED_V4 if address in network), None)


def _classify_v6(ip: str) -> str | None:
    try:
        address = IPv6Address(ip)
    except AddressValueError:
        return "not an address"
    for network, reason in DENIED_V6:
        if address in network:
            return reason
    return None if address in GLOBAL_UNICAST_V6 else "outside global unicast"


def is_loopback(ip: str) -> bool:
    """Whether `ip` is in 127.0.0.0/8 or is ::1, in its plain form only."""
    try:
        return IPv6Address(ip) == LOOPBACK_V6 if ":" in ip else IPv4Address(ip) in LOOPBACK_V4
    except AddressValueError:
        return False


def is_odd_number(host: str) -> bool:
    """Whether a host is a number that clients may read as an IPv4 address, without being one in its plain form."""
    if not NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return False
    try:
        IPv4Address(host)
    except AddressValueError:
        return True
    return False


def peer_group(address: str | None) -> str:
    """Return under what name a peer is counted: one IPv4 address, or a whole /64, as one machine can have all of it."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return str(getattr(found, "ipv4_mapped", None) or found)
