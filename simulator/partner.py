"""A partner's recovery API: verifies, dedupes and counts what it is sent, and can be as troublesome as partners are.

Signatures are verified with code of its own, so that a mistake in the product's signing shows.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from simulator.base import Simulator

TOLERANCE = 300.0  # seconds
# The work is done in both: the answer then drips a byte a `seconds`, or is `status`.
OWN_FAULTS = frozenset({"accepted_then_drip", "accepted_then_status"})


@dataclass(frozen=True, slots=True)
class PartnerOptions:
    """How the partner behaves.

    `secrets` are accepted for hooks without their own. `verify` False skips signatures. `keep_bodies`: how many of the
    last bodies each hook keeps. `journal`: a file to which every effect is appended before the answer, and from which
    a restarted partner knows what it had already.
    """

    secrets: tuple[str, ...] = ()
    verify: bool = True
    keep_bodies: int = 5
    journal: Path | None = None


class Effect(NamedTuple):
    """A cart of an event that was accepted for the first time."""

    type: str
    cart_id: str
    source_cart_id: str
    store_id: str


# Event id, effect, and what happened in the world, whatever id it goes by.
Item = tuple[str, Effect, tuple[Any, ...]]


@dataclass(slots=True)
class Hook:
    """What arrived at one address; `effects` by `event_id`."""

    effects: dict[str, Effect] = field(default_factory=dict)
    messages: dict[str, None] = field(default_factory=dict)
    happenings: dict[tuple[Any, ...], str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    doubled: list[list[str]] = field(default_factory=list)
    bodies: deque[bytes] = field(default_factory=deque)

    def record(self, message_id: str, carts: Iterable[Item]) -> None:
        """Let a message have its effects."""
        self.messages[message_id] = None
        for event_id, effect, happening in carts:
            self.effects[event_id] = effect
            self.types[effect.type] += 1
            first = self.happenings.setdefault(happening, event_id)
            if first != event_id:
                self.doubled.append([first, event_id])

    def report(self) -> dict[str, Any]:
        """Return the figures; see `PartnerSimulator` for their meaning."""
        counts = self.counts
        return {
            "messages": {"raw": counts["messages"], "unique": len(self.messages)},
            "carts": {"raw": counts["carts"], "unique": len(self.effects)},
            "repeated_messages": counts["messages"] - len(self.messages),
            "repeated_events": counts["repeated_events"],
            "doubled_effects": len(self.doubled),
            "doubled": self.doubled[:100],
            "bad_signatures": counts["bad_signatures"],
            "bad_bodies": counts["bad_bodies"],
            "types": dict(self.types),
            "last_bodies": [body.decode(errors="replace") for body in self.bodies],
        }


class PartnerSimulator(Simulator):
    """Serves `POST /hook/{name}`.

    Reported per hook: messages and carts as they arrived (raw) and in effect (unique); `repeated_events`, the same
    `event_id` again under another `webhook-id`, which has no second effect; `doubled_effects`, one happening (type,
    agent, store, cart, episode, and revision for updates) that came under several event ids: a fault of the sender that
    no receiver can dedupe.
    """

    name = "partner"
    keep_requests = 0

    def __init__(self, options: PartnerOptions | None = None, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.options = options or PartnerOptions()
        self.hooks: dict[str, Hook] = {}
        self.secrets: dict[str, list[bytes]] = {}
        self._default_keys = _keys(self.options.secrets)
        self._journal: int | None = None
        if self.options.journal is not None:
            self._replay(self.options.journal)

    def routes(self) -> list[web.RouteDef]:
        """Return the hook and the control routes."""
        return [
            web.post("/hook/{name}", self._receive),
            web.post("/_control/secrets", self._control_secrets),
            web.get("/_control/report", self._control_report),
            web.get("/_control/effects", self._control_effects),
        ]

    def app(self) -> web.Application:
        """Build the application; its journal is open while it runs."""
        app = super().app()
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)
        return app

    def hook(self, name: str) -> Hook:
        """Return what arrived at `/hook/{name}`."""
        if name not in self.hooks:
            self.hooks[name] = Hook(bodies=deque(maxlen=self.options.keep_bodies))
        return self.hooks[name]

    def register(self, name: str, secrets: Iterable[str]) -> None:
        """Accept only messages signed with one of `secrets` at `/hook/{name}`."""
        self.secrets[name] = _keys(secrets)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        hook = self.hook(request.match_info["name"])
        body = await request.read()
        if self.options.verify and not self._is_signed(request, body):
            hook.counts["bad_signatures"] += 1
            return web.json_response({"error": "bad signature"}, status=401)
        try:
            carts = _read_payload(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            hook.counts["bad_bodies"] += 1
            return web.json_response({"error": "not a payload"}, status=400)
        self._accept(hook, request, carts)
        if self.options.keep_bodies:
            hook.bodies.append(body)
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self.fault_for(request.raw_path, OWN_FAULTS) if self.faults else None
        if fault is None:
            return web.Response(status=204)
        if fault.kind == "accepted_then_status":
            return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
        return await drip(request, fault.seconds)

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        message_id = request.headers.get("webhook-id", "")
        stamp = request.headers.get("webhook-timestamp", "")
        signatures = request.headers.get("webhook-signature", "")
        if not (message_id and stamp.isascii() and stamp.isdigit()):
            return False
        if abs((self.now() + self.clock_skew).timestamp() - int(stamp[:12])) > TOLERANCE:
            return False
        text = f"{message_id}.{stamp}.".encode("utf-8", "surrogateescape") + body
        given = signatures.encode("utf-8", "surrogateescape").split(b" ")
        keys = self.secrets.get(request.match_info["name"], self._default_keys)
        good = [b"v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)) for key in keys]
        return any(hmac.compare_digest(entry, expected) for entry in given for expected in good)

    def _accept(self, hook: Hook, request: web.Request, carts: list[Item]) -> None:
        message_id = request.headers.get("webhook-id", "")
        hook.counts["messages"] += 1
        hook.counts["carts"] += len(carts)
        if message_id in hook.messages:
            return
        fresh = [item for item in carts if item[0] not in hook.effects]
        hook.counts["repeated_events"] += len(carts) - len(fresh)
        hook.record(message_id, fresh)
        if self._journal is not None:
            name = request.match_info["name"]
            lines = [[event_id, tuple(effect), happening] for event_id, effect, happening in fresh]
            os.write(self._journal, orjson.dumps([name, message_id, lines], option=orjson.OPT_APPEND_NEWLINE))

    def _replay(self, journal: Path) -> None:
        """Know what an earlier process of this partner accepted; a last line cut short was never answered."""
        if not journal.exists():
            return
        kept = 0
        for line in journal.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                name, message_id, fresh = orjson.loads(line)
                self.hook(name).record(message_id, [(event, Effect(*effect), tuple(at)) for event, effect, at in fresh])
                kept += len(line)
        os.truncate(journal, kept)

    async def _open(self, _app: web.Application) -> None:
        if self.options.journal is not None:
            self._journal = os.open(self.options.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def _close(self, _app: web.Application) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    async def _control_secrets(self, request: web.Request) -> web.Response:
        """Register secrets: `{name, secrets: [whsec_...]}`."""
        asked = await request.json()
        self.register(asked["name"], asked["secrets"])
        return web.Response(status=204)

    async def _control_report(self, _request: web.Request) -> web.Response:
        return web.json_response({name: hook.report() for name, hook in self.hooks.items()})

    async def _control_effects(self, request: web.Request) -> web.Response:
        """Return every effect of one hook, by event id."""
        hook = self.hooks.get(request.query["name"])
        effects = {event_id: effect._asdict() for event_id, effect in hook.effects.items()} if hook else {}
        return web.Response(body=orjson.dumps(effects), content_type="application/json")


async def drip(request: web.Request, seconds: float) -> web.StreamResponse:
    """Answer 200 and then one byte a `seconds`, for as long as the other side listens."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):  # it has hung up
        for _ in range(10_000):
            await response.write(b" ")
            await asyncio.sleep(seconds or 0.05)
    return response


def _read_payload(body: bytes) -> list[Item]:
    """Read the carts of a payload. Raises what a malformed one makes Python raise."""
    payload = orjson.loads(body)
    return [_read_cart(payload, cart) for cart in payload["abandoned_carts"]]


def _read_cart(payload: Mapping[str, Any], cart: Mapping[str, Any]) -> Item:
    kind, cart_id = str(payload.get("type", "")), str(cart["cart_id"])
    source_id, store_id = str(cart.get("source_cart_id") or cart_id), str(cart.get("store_id") or "")
    revision = cart.get("revision") if kind == "cart.updated" else None
    happening = (kind, payload["agent_info"]["id"], store_id, cart_id, cart.get("episode"), revision)
    return str(cart["event_id"]), Effect(kind, cart_id, source_id, store_id), happening


def _keys(secrets: Iterable[str]) -> list[bytes]:
    return [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
