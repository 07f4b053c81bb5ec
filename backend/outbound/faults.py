"""What the HTTP library's errors mean, as our own. Messages are written here: the library's may quote whole URLs."""

from __future__ import annotations

import errno
import os
import ssl

import aiohttp
import httpx

from backend.errors import AddressBlocked, BadBody, ConnectionFailed, OurFault, OutboundError

# Our machine had no socket, memory, port or route to try with; the other side was never asked.
OUR_ERRNOS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.ENETDOWN,
        errno.ENETUNREACH,
    }
)


def classed(exc: Exception, host: str) -> OutboundError:
    """Return our error for what the transport raised.

    The transport's own classes mislead (a disconnect becomes a connect timeout), so its `__cause__` decides.
    """
    cause = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ is not None else exc
    if isinstance(cause, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return AddressBlocked(f"{host} is not a plain host name or address")
    if isinstance(cause, aiohttp.ClientResponseError):
        return BadBody(f"the answer from {host} is not well-formed HTTP")
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return ConnectionFailed(f"the name {host} is unknown")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return _not_connected(cause.os_error, host)
    return ConnectionFailed(f"{host} closed the connection before the answer was whole")


def _not_connected(error: OSError, host: str) -> OutboundError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionFailed(f"the certificate of {host} is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return ConnectionFailed(f"no TLS connection to {host}: {error.reason or 'handshake failed'}")
    reason = os.strerror(error.errno) if error.errno else "closed while connecting"
    if error.errno in OUR_ERRNOS:
        return OurFault(f"our side could not connect to {host}: {reason}")
    return ConnectionFailed(f"could not connect to {host}: {reason}")
