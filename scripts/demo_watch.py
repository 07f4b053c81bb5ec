"""What the demo can say of itself: what arrived at the partner, and the figures of the polling status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from scripts.demo_stock import Control


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """One store in the summary."""

    company: str
    name: str
    platform: str
    state: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The summary's figures."""

    is_running: bool
    interval: int
    stores: tuple[StoreFigures, ...]
    carts: int
    abandoned: int
    messages: int
    delivered_carts: int
    pending: int
    refused: int
    repeated: int

    @property
    def line(self) -> str:
        """The summary in one line."""
        state = f"every {self.interval} s" if self.is_running else "stopped"
        return (
            f"polling {state} | {len(self.stores)} stores | carts seen {self.carts}, abandoned {self.abandoned} | "
            f"partner has {self.delivered_carts} carts in {self.messages} messages, {self.refused} bad signatures, "
            f"{self.repeated} twice | {self.pending} waiting"
        )


class PartnerWatch:
    """Reads what the partner accepted: every message told of here had a good signature."""

    def __init__(self, partner: Control) -> None:
        self._partner = partner
        self._seen: set[str] = set()
        self.carts = self.messages = self.refused = self.repeated = 0

    async def news(self) -> list[str]:
        """Return a line per message that is new since the last call."""
        report: Mapping[str, Any] = await self._partner.ask("GET", "/report")
        self.carts = sum(hook["carts"]["unique"] for hook in report.values())
        self.messages = sum(hook["messages"]["unique"] for hook in report.values())
        self.refused = sum(hook["bad_signatures"] for hook in report.values())
        self.repeated = sum(hook["doubled_effects"] for hook in report.values())
        bodies = [(name, body) for name, hook in report.items() for body in hook["last_bodies"]]
        return [line for name, body in bodies for line in self._line(name, orjson.loads(body))]

    def _line(self, hook: str, payload: Mapping[str, Any]) -> list[str]:
        carts = payload["abandoned_carts"]
        ids = {cart["event_id"] for cart in carts}
        if ids <= self._seen:
            return []
        self._seen |= ids
        sums = payload["recovery_analytics"]
        who = next((cart["customer"]["name"] for cart in carts if cart["customer"]["name"]), "somebody")
        more = f" and {len(carts) - 1} more" if len(carts) > 1 else ""
        mock = ", mock" if carts[0].get("is_mock") else ""
        count = f"{len(carts)} cart{'' if len(carts) == 1 else 's'}"
        whose = f"{payload['company']['name']} ({sums['platform']}{mock})"
        return [f"delivered to {hook}: {count} of {whose}, {sums['currency']} {sums['total_value']:,.2f}: {who}{more}"]


def figures(status: Mapping[str, Any], partner: PartnerWatch) -> Figures:
    """Put the polling status and the partner's word together."""
    stores = tuple(
        StoreFigures(row["company"], row["name"], row["platform"], row["state_in_words"])
        for row in status["integrations"]
    )
    return Figures(
        is_running=status["running"],
        interval=status["interval_seconds"],
        stores=stores,
        carts=status["totals"]["carts_new"],
        abandoned=status["totals"]["carts_abandoned"],
        messages=partner.messages,
        delivered_carts=partner.carts,
        pending=status["deliveries"]["pending"],
        refused=partner.refused,
        repeated=partner.repeated,
    )
