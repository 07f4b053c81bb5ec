"""Test with full data: company, customers and carts of the printed sample, shown as the partner received them.

The sample is three carts of a Shopify store, 459.97 together. Runs from any folder, needs nothing and leaves nothing.
Exit code 0 when every check holds, else 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

from jsonschema import Draft202012Validator

from backend.services.companies import CompanyChanges
from scripts.small_line import SmallLine, run

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "payload.schema.json"


async def work(line: SmallLine) -> None:
    """Poll the sample store once and show the payload."""
    sample = {"flavour": "shopify", "seed": "sample"}
    await line.configure([{"platform": "mock", "name": "sample-store", "options": sample}])
    company = (await line.services.companies.list()).items[0]
    details = CompanyChanges(website="https://acme.example.com", support_email="help@acme.example.com", country="US")
    await line.services.companies.change(company.id, details)

    report = await line.cycle()
    payloads = line.payloads()
    for payload in payloads:
        print(json.dumps(payload, ensure_ascii=False, indent=2))
    line.check("the cycle went well", report["ok"])
    line.check_arrival(messages=1, carts=3)
    for payload in payloads:
        sums, carts = payload["recovery_analytics"], payload["abandoned_carts"]
        line.check("3 carts", sums["total_carts"] == len(carts) == 3)
        line.check("459.97 together", sums["total_value"] == 459.97)
        line.check("on shopify, marked as made up", sums["platform"] == "shopify" and carts[0]["is_mock"])
        line.check("the company with its details", payload["company"]["support_email"] == "help@acme.example.com")
        line.check("every customer has a name and an address", all(_is_reachable(cart["customer"]) for cart in carts))
        line.check("every cart has items", all(cart["items"] for cart in carts))
        schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
        line.check("it fits docs/payload.schema.json", Draft202012Validator(schema).is_valid(payload))


def _is_reachable(customer: dict[str, object]) -> bool:
    return bool(customer["name"] and customer["email"])


if __name__ == "__main__":
    sys.exit(run(work))
