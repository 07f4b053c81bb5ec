"""One more look across companies: agents that no destination was ever given to."""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import companies, company_agents, destinations


async def agents_without_destination(connection: AsyncConnection, template_slug: str) -> list[tuple[str, str]]:
    """Return (company, agent) of the active agents of a template that have no destination, not even a removed one.

    `connection` is a transaction as the worker's role.
    """
    has_one = exists().where(
        destinations.c.company_id == company_agents.c.company_id, destinations.c.agent_id == company_agents.c.id
    )
    query = (
        select(company_agents.c.company_id, company_agents.c.id)
        .join(companies, companies.c.id == company_agents.c.company_id)
        .where(
            company_agents.c.template_slug == template_slug,
            company_agents.c.status == "active",
            companies.c.status == "active",
            ~has_one,
        )
        .order_by(company_agents.c.company_id, company_agents.c.id)
    )
    return [(row[0], row[1]) for row in await connection.execute(query)]
