"""URLs: the form that goes over the wire, the checks before a connection is tried, and the form fit for logs."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

import httpx
import idna
from yarl import URL

from backend.domain.addresses import is_odd_number
from backend.errors import AddressBlocked

LONGEST_HOST = 253
INTERNATIONAL = "xn--"
HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
MASK = "***"
# Prefixes of well-known credentials, and anything long that mixes letters and digits as only generated names do.
SECRET_PREFIX = re.compile(r"(?:whsec|shp[a-z]{2}|ck|cs|[sprw]k|xox[a-z])[_-]", re.IGNORECASE)
SECRET_SHAPE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_\-.~+=:]{16,}")


def wire_url(url: str) -> str:
    """Return the exact form of `url` that goes over the wire, made once.

    Escapes are normalised on the way out (``%2C`` becomes a plain comma in a query), so a signature over anything
    else would not match. The wire form of a wire form is itself. Raises `AddressBlocked` if it cannot be read.
    """
    target = _read(url)[1]
    return str(target.with_path(target.raw_path, encoded=True, keep_query=True))


@lru_cache(maxsize=512)  # the same destinations again and again; reading one costs a tenth of a whole exchange
def checked_url(url: str, allow_http: bool) -> httpx.URL:
    """Return `url` for the request.

    Raises `AddressBlocked` for what no connection should be tried to; addresses are checked when connecting.
    """
    outer, target = _read(url)
    if target.scheme != "https" and not (allow_http and target.scheme == "http"):
        raise AddressBlocked(f"the scheme must be {'http or https' if allow_http else 'https'}")
    if target.raw_user is not None or target.raw_password is not None:
        raise AddressBlocked("a URL must not carry a user name or password")
    _check_host(target.raw_host or "")
    return outer


def legal_url(url: str) -> str:
    """Return the wire form of an http or https URL whose host is legal. Raises `AddressBlocked` for any other."""
    checked_url(url, allow_http=True)
    return wire_url(url)


@lru_cache(maxsize=512)  # a wire form is read once more when it is sent
def _read(url: str) -> tuple[httpx.URL, URL]:
    """Return `url` as the request holds it and, made of that, as the connection uses it."""
    try:
        outer = httpx.URL(url)
        return outer, URL(str(outer))
    except (httpx.InvalidURL, ValueError):
        raise AddressBlocked("the URL cannot be read") from None


def _check_host(host: str) -> None:
    """Refuse what is no host name; an IPv6 literal, which alone has colons, is left to the guard."""
    if ":" in host:
        return
    name = host.removesuffix(".")
    if len(name) > LONGEST_HOST:
        raise AddressBlocked(f"the URL's host name is longer than {LONGEST_HOST} characters")
    if not all(map(_is_label, name.split("."))):
        raise AddressBlocked("the URL has no legal host name")
    if is_odd_number(host):
        raise AddressBlocked("the URL's host is no name and no address in its plain form")


def _is_label(label: str) -> bool:
    """Whether a part of a host name is legal, and means something where it says that it is international."""
    if not HOST_LABEL.fullmatch(label):
        return False
    try:
        return not label.startswith(INTERNATIONAL) or bool(idna.ulabel(label))
    except UnicodeError:  # the base of the library's own errors
        return False


def redacted_url(url: str) -> str:
    """Return `url` without userinfo and with query values and secret-looking path parts masked, for logs."""
    try:
        parsed = URL(url)
        origin = str(parsed.origin())
    except ValueError:
        return "(unreadable URL)"
    path = "/".join(MASK if _looks_secret(unquote(part)) else part for part in parsed.raw_path.split("/"))
    return origin + path + _masked_query(parsed.raw_query_string)


def _masked_query(query: str) -> str:
    """Keep the names and mask the values; a part without a value is masked whole, as it may be the secret itself."""
    if not query:
        return ""
    pairs = (part.partition("=") for part in query.split("&"))
    return "?" + "&".join(f"{name}={MASK}" if sep and not _looks_secret(name) else MASK for name, sep, _ in pairs)


def _looks_secret(part: str) -> bool:
    return bool(SECRET_PREFIX.match(part) or SECRET_SHAPE.fullmatch(part))
