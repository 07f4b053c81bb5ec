"""Polls hostile stores at once in a process of its own and prints the most memory it ever held, in MiB."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backend.clock import Clock
from backend.domain.limits import fitted
from backend.errors import OurFault, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.custom import CustomPlatform


async def poll(http: Outbound, base_url: str) -> None:
    """Ask one store for its first page."""
    connection = Connection("c", "i", {"base_url": base_url, "allow_http": True}, {"token": "t"})
    try:
        fitted(
            await CustomPlatform(connection, http, Clock().now).fetch_page(datetime.now(UTC) - timedelta(days=3), None)
        )
    except (TryLater, OurFault) as decision:
        sys.stderr.write(f"{base_url.rsplit('/', 2)[-2]} {decision.code}\n")


async def main(origin: str, kinds: list[str], at_once: int, longest: timedelta) -> None:
    """Poll `at_once` stores, of each kind in turn, each for `longest` at most."""
    http = Outbound(OutboundPolicy(allow_loopback=True, longest=longest))
    async with asyncio.TaskGroup() as polls:
        for number in range(at_once):
            polls.create_task(poll(http, f"{origin}/{kinds[number % len(kinds)]}/{number}"))
    await http.aclose()
    sys.stdout.write(f"{most_mib()}\n")


def most_mib() -> int:
    """Return the most memory that this process held; ``getrusage`` would count what its parent held before it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), timedelta(seconds=float(sys.argv[4]))))
