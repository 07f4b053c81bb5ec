"""The product's own run: one whole cycle over one Shopify store into one destination, on a fresh SQLite file."""

from __future__ import annotations

import asyncio
import cProfile
import json
import sys
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import insert

from backend.clock import Clock
from backend.config import Settings
from backend.db import prepare_database
from backend.domain.ids import new_id
from backend.logs import set_up_logs
from backend.models import companies, company_agents, destinations, integrations
from backend.services.engine import Base, build_base, build_engine
from backend.worker import quiet_collector
from benchmarks.meter import Meter


async def no_defaults() -> None:
    """Make no default destinations."""


async def connect(base: Base, ask: dict[str, Any]) -> None:
    """Store the company, its agent, the store and the destination."""
    now, company, agent, store, to = base.clock.now(), new_id(), new_id(), new_id(), new_id()
    stamps = {"created_at": now, "updated_at": now}
    async with base.database.transaction(company) as tx:
        await tx.execute(insert(companies).values(id=company, name="Bench", status="active", **stamps))
        credentials, key = await base.keyring.seal_json(
            tx, (company, "integrations", "credentials_sealed", store), {"access_token": ask["token"]}, now
        )
        secrets, _ = await base.keyring.seal_json(
            tx, (company, "destinations", "secrets_sealed", to), [ask["secret"]], now
        )
        row = {"company_id": company, "id": agent, "name": "agent", **stamps}
        figures = {"abandonment_threshold_minutes": 30, "recovery_horizon_days": 30, "attribution_window_days": 7}
        template = {"template_slug": "ecommerce-abandoned-cart", "status": "active"}
        await tx.execute(insert(company_agents).values(**row, **figures, **template))
        settings = {
            "shop": "s0.myshopify.com",
            "base_url": ask["store"],
            "allow_http": True,
            "options": {"page_size": 250},
        }
        await tx.execute(
            insert(integrations).values(
                company_id=company,
                id=store,
                agent_id=agent,
                name="store",
                platform="shopify",
                store_id="s0",
                status="active",
                settings=settings,
                credentials_sealed=credentials,
                credentials_version=key,
                initial_lookback_days=3,
                next_poll_at=now,
                **stamps,
            )
        )
        await tx.execute(
            insert(destinations).values(
                company_id=company,
                id=to,
                agent_id=agent,
                name="partner",
                url=ask["hook"],
                secrets_sealed=secrets,
                secrets_version=key,
                status="active",
                max_carts_per_payload=ask["carts_per_payload"],
                include_uncontactable=False,
                include_opted_out=False,
                **stamps,
            )
        )


async def main(ask: dict[str, Any]) -> dict[str, Any]:
    """Set up, then measure one cycle."""
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite:///{ask['database']}",
        outbound_allow_loopback=True,
        log_level="warning" if ask.get("quiet") else "info",
        destination_in_flight=int(ask.get("in_flight", 4)),
    )
    set_up_logs(settings)
    await prepare_database(settings)
    base = build_base(settings, clock=Clock())
    engine = build_engine(base, no_defaults)
    await connect(base, ask)
    quiet_collector()
    meter = Meter()
    report = await engine.poller.run_once("once")
    figures: dict[str, Any] = dict(meter.read())
    figures["report"] = {name: report[name] for name in ("carts_new", "deliveries_succeeded", "ok", "timings_ms")}
    await base.leases.aclose()
    await base.http.aclose()
    await base.database.close()
    return figures


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    if asked.get("profile"):
        profile = cProfile.Profile()
        result = profile.runcall(lambda: asyncio.run(main(asked)))
        profile.dump_stats(Path(asked["profile"]))
    else:
        result = uvloop.run(main(asked))
    sys.stdout.write(json.dumps(result) + "\n")
