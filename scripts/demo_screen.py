"""The demo's face: a live summary on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scripts.demo_watch import Figures

SUMMARY_EVERY = 15.0  # seconds between two plain summary lines
LATEST = 6  # deliveries shown live


def lines_to_paste(url: str) -> list[str]:
    """Return what to open, and the documented calls with this demo's port."""
    return [
        f"Console            {url}/",
        f"API documentation  {url}/docs",
        "",
        "Paste next, in another terminal:",
        f'  curl -X POST "{url}/polling/start-abandoned-cart?interval=60"',
        f'  curl "{url}/polling/status"',
        f'  curl -X POST "{url}/polling/abandoned-cart/test-once"',
        f'  curl -X POST "{url}/polling/stop"',
        "",
        "Ctrl-C ends all of it.",
    ]


class Screen(Protocol):
    """Where the demo shows itself."""

    def say(self, line: str) -> None:
        """Say something once."""
        ...

    def happened(self, line: str) -> None:
        """Tell of a delivery."""
        ...

    def introduce(self, url: str, seconds: float) -> None:
        """Say that the first carts arrived after so many seconds, and what can be done now."""
        ...

    def update(self, figures: Figures) -> None:
        """Bring the summary up to date."""
        ...


class PlainScreen:
    """Lines, each said once; a summary now and then."""

    def __init__(self) -> None:
        self._summed_at: float | None = None

    def say(self, line: str) -> None:
        """See `Screen`."""
        print(line, flush=True)

    def happened(self, line: str) -> None:
        """See `Screen`."""
        self.say(line)

    def introduce(self, url: str, seconds: float) -> None:
        """See `Screen`."""
        self.say(f"first carts delivered after {seconds:.1f} s\n")
        for line in lines_to_paste(url):
            self.say(line)
        self.say("")
        self._summed_at = time.monotonic() - SUMMARY_EVERY

    def update(self, figures: Figures) -> None:
        """See `Screen`."""
        if self._summed_at is not None and time.monotonic() - self._summed_at >= SUMMARY_EVERY:
            self._summed_at = time.monotonic()
            self.say(figures.line)


class LiveScreen:
    """A table of the stores, the latest deliveries and the lines to paste, kept up to date in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._latest: deque[str] = deque(maxlen=LATEST)
        self._paste: list[str] = []

    def say(self, line: str) -> None:
        """See `Screen`."""
        self._live.console.print(line, markup=False, highlight=False)

    def happened(self, line: str) -> None:
        """See `Screen`."""
        self._latest.append(f"{time.strftime('%H:%M:%S')}  {line}")

    def introduce(self, url: str, seconds: float) -> None:
        """See `Screen`."""
        self.say(f"first carts delivered after {seconds:.1f} s")
        self._paste = lines_to_paste(url)

    def update(self, figures: Figures) -> None:
        """See `Screen`."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("Company", "Store", "Platform", "State"):
            table.add_column(heading)
        for store in figures.stores:
            table.add_row(store.company, store.name, store.platform, store.state)
        latest = Text("\n".join(["", *self._latest, ""]), style="green")
        paste = Text("\n".join(["", *self._paste]))
        self._live.update(Group(table, latest, Text(figures.line, style="bold"), paste))


@contextmanager
def screen() -> Iterator[Screen]:
    """Show the demo while the block lasts."""
    if not sys.stdout.isatty():
        yield PlainScreen()
        return
    with Live(console=Console(), refresh_per_second=4) as live:
        yield LiveScreen(live)
