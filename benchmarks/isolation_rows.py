"""Deliveries by the hundred thousand, written by the database itself, as a partner would accept them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.databases import PostgresServer

MARK = "#"  # in the template: the delivery's id
BODY = json.dumps(
    {
        "type": "cart.abandoned",
        "agent_info": {"id": "agent", "name": "agent", "company": "company"},
        "abandoned_carts": [{"cart_id": MARK, "event_id": MARK, "episode": 1, "items": [], "total_value": 10.0}],
        "recovery_analytics": {"total_carts": 1, "total_value": 10.0, "platform": "custom"},
    }
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Deliveries of some destinations: `count` each, the first of all due at `start` (Unix time), then one `every` s.

    Where `every` or `spread` is more than 0 the destinations begin one after another over that time. `like` is a SQL
    pattern of destination ids; `prefix` keeps the ids of two flows apart.
    """

    prefix: str
    like: str
    count: int
    start: float
    every: float = 0.0
    spread: float = 0.0


def add_flow(server: PostgresServer, database: str, flow: Flow) -> None:
    """Insert a flow. Each delivery's id is also its only cart's."""
    turn = "(row_number() OVER (PARTITION BY n.i ORDER BY md5(to_.id)) - 1)::float / count(*) OVER (PARTITION BY n.i)"
    server.execute(
        f"""
        INSERT INTO deliveries (company_id, id, destination_id, agent_id, integration_id, type, webhook_id, state,
            body, cart_count, attempts, next_attempt_at, created_at)
        SELECT company_id, name, id, agent_id, id, 'cart.abandoned', 'msg_' || name, 'pending',
            convert_to(replace('{BODY}', '{MARK}', name), 'UTF8'), 1, 0, to_timestamp(due), now()
        FROM (
            SELECT to_.company_id, to_.id, to_.agent_id, '{flow.prefix}-' || to_.id || '-' || n.i AS name,
                {flow.start} + {flow.every} * (n.i - 1 + {turn}) + {flow.spread} * {turn} AS due
            FROM destinations to_ CROSS JOIN generate_series(1, {flow.count}) n(i)
            WHERE to_.id LIKE '{flow.like}'
        ) made
        """,  # noqa: S608  our own values
        database,
    )


def due_times(server: PostgresServer, database: str, like: str) -> dict[str, float]:
    """Return when (Unix time) the deliveries whose ids are like this are due, by id."""
    query = f"SELECT id, extract(epoch FROM next_attempt_at) FROM deliveries WHERE id LIKE '{like}'"  # noqa: S608  ours
    rows = server.execute(query, database)
    return {name: float(at) for name, at in (line.split("|") for line in rows.splitlines())}
