"""Which addresses are this machine's own: a name that leads back here reaches what listens for nobody outside.

The kernel is asked, at every connection, because addresses come and go while a process runs.
"""

from __future__ import annotations

import errno
import socket
from functools import cache

import structlog

from backend.errors import OurFault

log = structlog.get_logger()

# Not an address of this machine; or no address at all, where the kernel does not speak the family.
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
# Reserved, and the discard prefix: no machine has them.
NOBODYS = {socket.AF_INET: "240.0.0.1", socket.AF_INET6: "100::1"}


def is_own(address: str) -> bool:
    """Whether an IP literal without a zone is one of this machine's own. Raises `OurFault` when it cannot be told."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _can_be_told(family) and _binds(family, address)


def _binds(family: socket.AddressFamily, address: str) -> bool:
    """Whether a socket can take the address, which only this machine's own allow. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as fault:
        if fault.errno in NOT_HERE:
            return False
        raise OurFault("our side could not compare the target's address with its own") from fault
    return True


@cache
def _can_be_told(family: socket.AddressFamily) -> bool:
    """Whether sockets take only own addresses; a machine that stands in for others may let them take any."""
    takes_any = _binds(family, NOBODYS[family])
    if takes_any:
        log.warning(
            "outbound.own_addresses_unknown", family=family.name, remedy="name them in OUTBOUND_DENIED_ADDRESSES"
        )
    return not takes_any
