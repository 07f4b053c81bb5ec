"""Figures of this process: counted where things happen, by a few additions each, and shown by `/metrics`.

Own counters rather than the library's: those take a lock and look up labels with every step, and these hooks stand in
the poll and delivery lanes. One event loop counts, so no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.domain.work import Tally

# Seconds. A poll may take minutes, an attempt 15 seconds, an answer of ours should take milliseconds.
LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_CURRENCIES = 40  # of a store's records, which may say anything
CART_COUNTS = ("seen", "new", "changed", "abandoned", "excluded")


class Timings:
    """How many times something took how long."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def show(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add what was counted to a family, each bucket with all that are smaller."""
        buckets, below = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(labels, buckets, self._sum)


class Metrics(Collector):
    """What happened in this process since it began. Each hook costs a microsecond or two."""

    def __init__(self) -> None:
        self._polls: Counter[str] = Counter()
        self._stages = {name: Timings(LONG) for name in ("total", "fetch", "save")}
        self._attempts: Counter[str] = Counter()
        self._attempt_seconds = Timings(LONG)
        self._tally = Tally()
        self._requests: dict[tuple[str, str, str], Timings] = {}
        self._alerts_opened: Counter[str] = Counter()
        self._alerts_closed: Counter[str] = Counter()
        self._pauses: Counter[str] = Counter()
        self._cards = 0
        self._clients_closed: Counter[str] = Counter()

    # -- hooks ---------------------------------------------------------------------------------------------------

    def poll_finished(self, outcome: str, seconds: Mapping[str, float]) -> None:
        """Count a poll; `seconds` has total, fetch and save, as a poll's report does."""
        self._polls[outcome] += 1
        for name, timings in self._stages.items():
            timings.add(seconds[name])

    def attempt(self, outcome: str, seconds: float) -> None:
        """Count an attempt at a delivery; `outcome` is the word that is stored with it."""
        self._attempts[outcome] += 1
        self._attempt_seconds.add(seconds)

    def count(self, tally: Tally) -> None:
        """Count what a poll or a sweep came to: carts, records, deliveries made, value by currency."""
        self._tally.counts.update(tally.counts)
        for currency, amount in tally.value.items():
            if currency in self._tally.value or len(self._tally.value) < MOST_CURRENCIES:
                self._tally.add_value(currency, amount)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request; `route` is the pattern that matched, never the path that was asked for."""
        key = (method, route, f"{status // 100}xx")
        timings = self._requests.get(key)
        if timings is None:
            timings = self._requests[key] = Timings(SHORT)
        timings.add(seconds)

    def alert_opened(self, kind: str) -> None:
        """Count an alert that this process opened."""
        self._alerts_opened[kind] += 1

    def alert_closed(self, kind: str) -> None:
        """Count an alert that this process closed."""
        self._alerts_closed[kind] += 1

    def integration_paused(self, reason: str) -> None:
        """Count a store that this process paused; `reason` is one of ours, such as credentials_rejected."""
        self._pauses[reason] += 1

    def cards_removed(self, count: int) -> None:
        """Count numbers of payment cards that were taken out of what stores sent."""
        self._cards += count

    def client_closed(self, reason: str) -> None:
        """Count a connection of a client that kept us waiting, or for which there was no room."""
        self._clients_closed[reason] += 1

    # -- what is shown -------------------------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        """Return everything as the library's families."""
        counts = self._tally.counts
        carts = {name: counts[f"carts_{name}"] for name in CART_COUNTS}
        yield _counter("cart_polls", "Polls of stores, by outcome.", "outcome", self._polls)
        yield _counter("cart_carts", "Carts in the pages that were read, by what they were.", "what", carts)
        yield _plain("cart_pages", "Pages read from stores.", counts["pages"])
        yield _plain("cart_records_quarantined", "Records that could not be read.", counts["records_quarantined"])
        yield _plain("cart_deliveries_made", "Deliveries written, to be sent.", counts["deliveries_made"])
        value = "Value of carts whose hand-off was allowed, per currency."
        yield _counter("cart_recovery_value", value, "currency", self._tally.value)
        yield _counter("cart_attempts", "Attempts at deliveries, by outcome.", "outcome", self._attempts)
        yield _counter("cart_alerts_opened", "Alerts that this process opened.", "kind", self._alerts_opened)
        yield _counter("cart_alerts_closed", "Alerts that this process closed.", "kind", self._alerts_closed)
        yield _counter("cart_integrations_paused", "Stores paused by this process.", "reason", self._pauses)
        yield _plain("cart_card_numbers_removed", "Card numbers taken out of texts.", self._cards)
        closed = "Connections closed because the client was too slow, or for want of room."
        yield _counter("cart_clients_closed", closed, "reason", self._clients_closed)
        yield from self._histograms()

    def _histograms(self) -> Iterable[Metric]:
        stages = HistogramMetricFamily("cart_poll_seconds", "How long polls took, by stage.", labels=["stage"])
        for name, timings in self._stages.items():
            timings.show(stages, [name])
        attempts = HistogramMetricFamily("cart_attempt_seconds", "How long attempts at deliveries took.", labels=[])
        self._attempt_seconds.show(attempts, [])
        labels = ["method", "route", "status"]
        requests = HistogramMetricFamily("cart_http_request_seconds", "How long our answers took.", labels=labels)
        for key, timings in self._requests.items():
            timings.show(requests, key)
        return stages, attempts, requests


def _counter(name: str, words: str, label: str, values: Mapping[str, int | Decimal]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], float(count))
    return family


def _plain(name: str, words: str, count: int) -> Metric:
    return CounterMetricFamily(name, words, value=count)
