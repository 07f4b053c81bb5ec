"""No test talks to another machine: every connection and every name look-up of the process is watched.

An audit hook sees what no monkeypatch of one library would, and it raises before the packet leaves. The error is
not an `OSError`, so product code cannot take it for a partner that is down; and it is remembered, so that code
which swallows it fails the test all the same.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

# Reserved by RFC 2606 and RFC 6761: nobody needs to be asked to know that they do not exist.
NOWHERE = (".invalid", ".test", ".example", "example.com", "example.net", "example.org")

_violations: list[str] = []
_installed = False


class OutsideNetworkError(BaseException):
    """A test tried to reach another machine."""


def install() -> None:
    """Watch this process from now on; a second call does nothing."""
    global _installed  # noqa: PLW0603 (an audit hook cannot be removed, so it is added once a process)
    if not _installed:
        sys.addaudithook(_watch)
        _installed = True


def take_violations() -> list[str]:
    """Return what was refused since the last call."""
    taken = _violations.copy()
    _violations.clear()
    return taken


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what leaves this machine."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        connection, address = arguments[0], arguments[1]
        if connection.family in {socket.AF_INET, socket.AF_INET6} and address and not _is_here(str(address[0])):
            _refuse(f"{event} to {address}")
    elif event == "socket.getaddrinfo":
        _check_name(arguments[0])


def _check_name(host: str | bytes | None) -> None:
    """Let local names and addresses through, answer for names that exist nowhere, refuse all others."""
    name = (host.decode() if isinstance(host, bytes) else host or "localhost").rstrip(".").lower()
    if name.endswith(NOWHERE):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if not _is_here(name) and not _is_address(name):
        _refuse(f"look-up of {name}")


def _refuse(what: str) -> None:
    """Remember and raise."""
    _violations.append(what)
    raise OutsideNetworkError(what)


def _is_address(name: str) -> bool:
    """Whether it is an address already, so that nobody is asked for it."""
    try:
        ipaddress.ip_address(name.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    """Whether it names this machine's loopback interface."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
