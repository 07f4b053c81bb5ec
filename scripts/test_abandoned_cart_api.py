"""Single test: one cart of a simulated store is polled once and arrives, signed, at a simulated partner.

Runs from any folder, needs nothing and leaves nothing. Exit code 0 when every check holds, else 1.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

from scripts.small_line import SmallLine, run


async def work(line: SmallLine) -> None:
    """One cart, one cycle, one payload; and a second cycle, which has nothing to do."""
    left_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=45)
    line.store.add_cart("s0", "cart_123", left_at, total="159.99")
    await line.configure(
        [
            {
                "platform": "custom",
                "name": "acme-shop",
                "base_url": f"{line.store.base_url}/s0",
                "allow_http": True,
                "credentials": {"token": "token-s0"},
            }
        ]
    )
    print(f"A store at {line.store.base_url}/s0 has one cart, left 45 minutes ago. One cycle:")
    report = await line.cycle()
    line.check("the store was polled without an error", report["ok"] and report["polls_succeeded"] == 1)
    line.check_arrival(messages=1, carts=1)
    for payload in line.payloads():
        cart = payload["abandoned_carts"][0]
        line.check("it has agent_info, abandoned_carts and recovery_analytics", _has_its_parts(payload))
        line.check("the cart is the store's", cart["source_cart_id"] == "cart_123" and cart["total_value"] == 159.99)
        line.check("abandoned_at is UTC with Z", cart["abandoned_at"].endswith("Z"))
    again = await line.cycle()
    line.check("a second cycle sends nothing", again["ok"] and again["deliveries_made"] == 0)


def _has_its_parts(payload: dict[str, object]) -> bool:
    return payload.keys() >= {"agent_info", "abandoned_carts", "recovery_analytics", "company"}


if __name__ == "__main__":
    sys.exit(run(work))
