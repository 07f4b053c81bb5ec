"""Manual poll test: one cycle over made-up stores of the three flavours, and what arrived at a simulated partner.

Runs from any folder, needs nothing and leaves nothing. Exit code 0 when every check holds, else 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

from scripts.progress import report_lines
from scripts.small_line import SmallLine, run

FLAVOURS = ("shopify", "woocommerce", "custom")


async def work(line: SmallLine) -> None:
    """One cycle over three mock integrations."""
    await line.configure(
        [
            {
                "platform": "mock",
                "name": f"{flavour}-store",
                "initial_lookback_days": 1,
                "options": {"flavour": flavour, "carts_per_hour": 1, "seed": "manual"},
            }
            for flavour in FLAVOURS
        ]
    )
    print("One agent with three made-up stores. One cycle:")
    report = await line.cycle()
    for text in report_lines(report):
        print(f"  {text}")
    line.check("each store was polled", [store["outcome"] for store in report["integrations"]] == ["ok"] * 3)
    line.check("on three platforms", report["platforms_processed"] == sorted(FLAVOURS))
    payloads = line.payloads()
    carts = [cart for payload in payloads for cart in payload["abandoned_carts"]]
    platforms = {payload["recovery_analytics"]["platform"] for payload in payloads}
    line.check("the partner has carts of each platform", platforms == set(FLAVOURS))
    line.check("every one of them says that it is made up", carts and all(cart["is_mock"] for cart in carts))
    line.check_arrival(messages=report["deliveries_succeeded"], carts=len(carts))
    line.check(
        "the totals add up",
        all(
            payload["recovery_analytics"]["total_value_minor"]
            == sum(cart["total_value_minor"] for cart in payload["abandoned_carts"])
            for payload in payloads
        ),
    )


if __name__ == "__main__":
    sys.exit(run(work))
