"""What the door lets through, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from backend.domain.addresses import Network


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What the door lets through. Byte figures are per answer."""

    allow_loopback: bool = False
    allowed_ports: frozenset[int] = frozenset({80, 443, 8080, 8443})
    denied: tuple[Network, ...] = ()  # beyond what is refused everywhere
    raw_limit: int = 10 * 1024 * 1024
    inflated_limit: int = 20 * 1024 * 1024
    longest: timedelta = timedelta(minutes=1)  # no exchange takes longer, whatever deadline its request names
    user_agent: str = "cart-recovery/1.0"
    require_tls13: bool = False
    # Requests on the way at once, and of these to one host and port. More wait for a place, within their deadline.
    # One host may serve hundreds of companies, some of whose addresses hang: those must not fill it for the others.
    connections: int = 640
    connections_per_host: int = 512
    # Bodies of more than 1 MiB in memory at once, up to the limits above. More are left with their senders meanwhile.
    large_bodies: int = 4
