"""Rows for tests: a company, an agent, an integration and a destination, written straight into the tables.

Every builder returns the new row's id; `fields` replace any column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, insert

from backend.domain.ids import new_id
from backend.domain.signing import make_secret
from backend.models import companies, company_agents, destinations, integrations
from tests.worlds import World

CUSTOM_SETTINGS: Mapping[str, Any] = {"base_url": "https://shop.example/api"}
CUSTOM_CREDENTIALS: Mapping[str, str] = {"token": "custom-token"}


async def make_company(world: World, name: str = "Acme", **fields: Any) -> str:
    """Add an active company with its first data key."""
    company_id, now = new_id(), world.clock.now()
    async with world.database.transaction(company_id) as tx:
        row = {"id": company_id, "name": name, "status": "active", "created_at": now, "updated_at": now}
        await tx.execute(insert(companies), [row | fields])
        await world.keyring.newest_version(tx, company_id, now)
    return company_id


async def make_agent(world: World, company_id: str, **fields: Any) -> str:
    """Add an active agent of the default template."""
    row = {
        "name": "Recovery agent",
        "template_slug": world.settings.target_template_slug,
        "status": "active",
        "abandonment_threshold_minutes": 30,
        "recovery_horizon_days": 30,
        "attribution_window_days": 7,
    }
    return await _add(world, company_agents, company_id, row | fields)


async def make_integration(
    world: World,
    company_id: str,
    agent_id: str,
    platform: str = "custom",
    settings: Mapping[str, Any] = CUSTOM_SETTINGS,
    credentials: Mapping[str, str] = CUSTOM_CREDENTIALS,
    **fields: Any,
) -> str:
    """Add an active integration that is due now. `settings` and `credentials` are stored as given."""
    row_id, now = str(fields.pop("id", new_id())), world.clock.now()
    place = (company_id, "integrations", "credentials_sealed", row_id)
    async with world.database.transaction(company_id) as tx:
        sealed, version = await world.keyring.seal_json(tx, place, credentials, now)
    row = {
        "id": row_id,
        "agent_id": agent_id,
        "name": f"store {row_id[-6:]}",
        "platform": platform,
        "store_id": f"{platform}/{row_id}",
        "status": "active",
        "settings": dict(settings),
        "credentials_sealed": sealed,
        "credentials_version": version,
        "initial_lookback_days": 3,
        "next_poll_at": now,
    }
    return await _add(world, integrations, company_id, row | fields)


async def make_destination(
    world: World, company_id: str, agent_id: str, url: str, secret: str | None = None, **fields: Any
) -> str:
    """Add an active destination; without `secret` it gets a random one."""
    row_id, now = str(fields.pop("id", new_id())), world.clock.now()
    place = (company_id, "destinations", "secrets_sealed", row_id)
    async with world.database.transaction(company_id) as tx:
        sealed, version = await world.keyring.seal_json(tx, place, [secret or make_secret()], now)
    row = {
        "id": row_id,
        "agent_id": agent_id,
        "name": f"partner {row_id[-6:]}",
        "url": url,
        "secrets_sealed": sealed,
        "secrets_version": version,
        "status": "active",
        "max_carts_per_payload": 100,
        "include_uncontactable": False,
        "include_opted_out": False,
    }
    return await _add(world, destinations, company_id, row | fields)


async def _add(world: World, table: Table, company_id: str, row: Mapping[str, Any]) -> str:
    """Insert one row as its company."""
    now = world.clock.now()
    values = {"company_id": company_id, "id": new_id(), "created_at": now, "updated_at": now, **row}
    async with world.database.transaction(company_id) as tx:
        await tx.execute(insert(table), [values])
    return str(values["id"])
