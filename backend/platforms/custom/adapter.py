"""The adapter of the custom HTTP contract: one GET per page, errors as decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from backend.domain.carts import CartPage
from backend.errors import BadBody, FixCredentials, OurFault, OutboundError, PlatformError, TryLater
from backend.outbound import HttpRequest, HttpResponse, Sends, retry_after, wire_url
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, Finding, StrictModel
from backend.platforms.custom.records import RecordReader
from backend.platforms.custom.settings import (
    CustomCredentials,
    CustomSettings,
    Outgoing,
    auth_headers,
    missing_credentials,
)
from backend.platforms.custom.walk import Walk

BODY_LIMIT = 5 * 1024 * 1024
MOST_RECORDS = 5000  # on one page, which is five times what we ever ask for
CHECK_WINDOW = timedelta(days=3)
CURSOR_REFUSED = "cursor_refused"
_CREDENTIALS = "Check the credentials of this integration, and that they may read /abandoned-carts."


class CustomPlatform:
    """One store that speaks docs/custom-platform.md."""

    name: ClassVar[str] = "custom"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=False, pages_by="cursor")
    Settings: ClassVar[type[StrictModel]] = CustomSettings
    Credentials: ClassVar[type[StrictModel]] = CustomCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        self._settings = CustomSettings.model_validate(dict(connection.settings))
        self._credentials = {name: value for name, value in connection.credentials.items() if value}
        self._http = http
        self._now = now
        fields = {str(name): tuple(path.split(".")) for name, path in self._settings.options.fields.items()}
        self._reader = RecordReader(self._settings.store_id, fields)

    @property
    def store_id(self) -> str:
        """Host, port where unusual, and path of the store's base URL."""
        return self._reader.store_id

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page; see `Platform.fetch_page`.

        A cursor that the store no longer takes begins the window again, which shows carts twice and loses none.
        """
        walk = Walk.from_token(page_token)
        try:
            response = await self._get(window_from, walk.cursor)
        except TryLater as refusal:
            if refusal.code != CURSOR_REFUSED:
                raise
            walk = walk.restarted(self._now())
            response = await self._get(window_from, None)
        return self._page(response, walk)

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """The contract has no reading by id: `capabilities.rereads` is false."""
        raise NotImplementedError("the custom contract has no reading by id")

    async def check(self) -> ConnectionCheck:
        """Fetch one page as a first poll would."""
        try:
            page = await self.fetch_page(self._now() - CHECK_WINDOW, None)
        except PlatformError as problem:
            return _trouble(problem.code, str(problem), problem.remedy)
        except OurFault as fault:
            remedy = "Give the store's public https address; private and local addresses are not called."
            return _trouble(fault.code, str(fault), remedy)
        return ConnectionCheck((_answers(page), _records(page)), self.store_id)

    async def _get(self, window_from: datetime, cursor: str | None) -> HttpResponse:
        """Ask for one page. Raises the decision for anything but a 200, or a 304 to a first page."""
        options = self._settings.options
        missing = missing_credentials(options.auth, self._credentials)
        if missing:
            raise FixCredentials(
                f"auth {options.auth} needs {' and '.join(missing)}",
                code="credentials_missing",
                remedy=f"Save {' and '.join(missing)}, or choose the kind of auth that fits what is saved.",
            )
        url = wire_url(f"{self._settings.base_url}/abandoned-carts?{self._query(window_from, cursor)}")
        parts = urlsplit(url)
        outgoing = Outgoing("GET", f"{parts.path}?{parts.query}", self._now())
        headers = {"Accept": "application/json", **auth_headers(options, self._credentials, outgoing)}
        request = HttpRequest("GET", url, headers, allow_http=self._settings.allow_http, raw_limit=BODY_LIMIT)
        try:
            response = await self._http.send(request)
        except OurFault:
            raise
        except OutboundError as problem:
            raise TryLater(str(problem), code=problem.code) from problem
        if response.status != 200 and not (response.status == 304 and cursor is None):
            raise self._refusal(response, cursor)
        return response

    def _query(self, window_from: datetime, cursor: str | None) -> str:
        since = window_from.astimezone(UTC).isoformat().replace("+00:00", "Z")
        query = {"updated_since": since, "limit": str(self._settings.options.page_size)}
        if cursor is not None:
            query["cursor"] = cursor
        return urlencode(query, quote_via=quote, safe=":")  # as it goes over the wire

    def _page(self, response: HttpResponse, walk: Walk) -> CartPage:
        server_time = response.date
        if response.status == 304:
            return CartPage(server_time=server_time)
        body = _body(response)
        page = self._reader.page(body["carts"], server_time or self._now())
        following = walk.next(page, body.get("next_cursor"))
        return replace(page, server_time=server_time, next_page_token=following.as_token() if following else None)

    def _refusal(self, response: HttpResponse, cursor: str | None) -> PlatformError:
        """Return what a status other than 200 means."""
        status, code = response.status, _error_code(response)
        wait = retry_after(response.headers, response.date or self._now())
        if code == "clock_skew" and status == 401:
            return TryLater("the store finds our clock wrong", code="clock_skew", retry_after=wait)
        if status in (401, 403):
            word = "credentials_refused" if status == 401 else "access_denied"
            return FixCredentials(f"the store answered {status}", code=word, remedy=_CREDENTIALS)
        if status in (402, 423):
            return FixCredentials(f"the store answered {status}", code="store_locked", remedy="Unlock the store.")
        if cursor is not None and (status == 410 or code == "invalid_cursor"):
            return TryLater("the store no longer takes this cursor", code=CURSOR_REFUSED, retry_after=wait)
        if status == 429:
            return TryLater("the store asks us to slow down", code="throttled", retry_after=wait)
        if 300 <= status < 400:
            return TryLater("the store redirects", code="redirected", remedy="Give the address it redirects to.")
        if status in (404, 405, 410):
            return TryLater(
                f"the store answered {status}",
                code="endpoint_missing",
                remedy="Check base_url: /abandoned-carts is added.",
            )
        return TryLater(f"the store answered {status}", code=f"http_{status}", retry_after=wait)


def _trouble(code: str, detail: str, remedy: str) -> ConnectionCheck:
    return ConnectionCheck((Finding(code, ok=False, detail=detail, remedy=remedy),))


def _answers(page: CartPage) -> Finding:
    more = "" if page.next_page_token is None else " on its first page"
    return Finding("answers", ok=True, detail=f"the store answered with {len(page.carts)} carts{more}")


def _records(page: CartPage) -> Finding:
    reasons = ", ".join(sorted({record.reason for record in page.unreadable}))
    if not reasons:
        return Finding("records", ok=True, detail="every record can be read")
    return Finding(
        "records",
        ok=False,
        detail=f"{len(page.unreadable)} records cannot be read: {reasons}",
        remedy="Compare the records with the contract, or map their fields in options.fields.",
    )


def _body(response: HttpResponse) -> dict[str, Any]:
    """Return the contract's object. Raises `TryLater` for an answer that is none."""
    if "json" not in response.headers.get("content-type", "").lower():
        raise TryLater("the store's answer is not JSON", code="not_json", remedy="Answer with application/json.")
    try:
        body = response.json()
    except BadBody as problem:
        raise TryLater(str(problem), code=problem.code) from problem
    if not isinstance(body, dict) or not isinstance(body.get("carts"), list):
        raise TryLater("the store's answer has no list of carts", code="bad_body")
    if len(body["carts"]) > MOST_RECORDS:
        raise TryLater(
            f"one page holds {len(body['carts'])} carts",
            code="page_too_long",
            remedy="Answer with `limit` carts a page at most, and name the rest in next_cursor.",
        )
    return body


def _error_code(response: HttpResponse) -> str:
    """Return the contract's error code from a refusal, empty when there is none to be read."""
    try:
        return str(response.json()["error"]["code"])
    except (BadBody, KeyError, TypeError, IndexError):
        return ""
