"""The web app as a process of its own for attacks, with one difference: nothing it does leaves this machine.

What an attacker connects (stores, partners) has addresses that may exist. Names are answered as unknown and other
machines as out of reach, below every library, so that the product sees what a cut-off machine sees.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from typing import Any

from backend.config import load_settings
from backend.main import serve


def _keep_in(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what would leave this machine. Raises `OSError` as the system would."""
    if event == "socket.getaddrinfo" and not _is_here(_text(arguments[0])):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        connection, address = arguments[0], arguments[1]
        if connection.family in {socket.AF_INET, socket.AF_INET6} and address and not _is_here(str(address[0])):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")


def _text(host: str | bytes | None) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host or "localhost"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.addaudithook(_keep_in)
    serve(load_settings())
