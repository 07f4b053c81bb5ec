"""Carts of an earlier life, by the hundred thousand: SQL that SQLite and PostgreSQL both understand."""

from __future__ import annotations

LONG_AGO, LATER, AT_ONCE = "'2026-01-01 00:00:00.000000'", "'2036-01-01 00:00:00.000000'", 100_000

# For each table what a row holds, by column; `{c}` is the cart's own name, made of its number.
_ROWS: dict[str, dict[str, str]] = {
    "customers": {
        "integration_id": "'{store}'", "identity": "{c}", "email": "{c} || '@example.com'", "is_guest": "false",
        "consent_email": "'unknown'", "consent_sms": "'unknown'", "created_at": LONG_AGO, "updated_at": LONG_AGO,
    },
    "carts": {
        "integration_id": "'{store}'", "agent_id": "'{company}'", "source_cart_id": "{c}", "store_id": "'{store}'",
        "customer_id": "{c}", "state": "'abandoned'", "episode": "1", "revision": "'r' || n.i",
        "activity": "'a' || n.i", "currency": "'USD'", "total": "1498500", "item_count": "1", "coupons": "'[]'",
        "is_test": "false", "is_mock": "false", "source_created_at": LONG_AGO, "source_updated_at": LONG_AGO,
        "last_activity_at": LONG_AGO,
        "abandoned_at": LONG_AGO, "contacted_at": LONG_AGO, "events": "1", "next_check_at": LATER,
        "awaits_read": "false", "created_at": LONG_AGO, "updated_at": LONG_AGO,
    },
    "cart_items": {
        "cart_id": "{c}", "position": "0", "line_id": "'1'", "title": "'Enamel mug'", "quantity": "'1'",
        "unit_price": "1498500", "line_total": "1498500",
    },
    "cart_events": {
        "cart_id": "{c}", "seq": "1", "type": "'cart.abandoned'", "episode": "1", "occurred_at": LONG_AGO,
        "recorded_at": LONG_AGO, "source": "'poll'", "revision": "'r' || n.i", "data": "'{{}}'",
    },
    "abandonment_log": {
        "cart_id": "{c}", "episode": "1", "currency": "'USD'", "total": "1498500", "abandoned_at": LONG_AGO,
        "recorded_at": LONG_AGO,
    },
    "deliveries": {
        "destination_id": "'{company}'", "agent_id": "'{company}'", "integration_id": "'{store}'",
        "type": "'cart.abandoned'", "webhook_id": "'msg_' || n.i", "state": "'delivered'", "body": "'{{}}'",
        "cart_count": "1", "attempts": "1", "finished_at": LONG_AGO, "created_at": LONG_AGO,
    },
    "delivery_carts": {
        "delivery_id": "{c}", "destination_id": "'{company}'", "cart_id": "{c}", "episode": "1",
        "event_type": "'cart.abandoned'", "revision": "''", "event_id": "'evt_' || n.i", "verdict": "'allow'",
        "trace": "'[]'", "decided_at": LONG_AGO,
    },
    "delivery_attempts": {
        "delivery_id": "{c}", "number": "1", "started_at": LONG_AGO, "elapsed_ms": "12", "outcome": "'delivered'",
        "status": "204",
    },
}  # fmt: skip


def filling(company: str, store: str, count: int) -> list[str]:
    """Return statements that store so many handed-off carts of one company's store, with all that belongs to them.

    The company is also the name of its agent and of its destination.
    """
    return [
        _insert(table, columns, (company, store), (first, min(first + AT_ONCE - 1, count)))
        for table, columns in _ROWS.items()
        for first in range(1, count + 1, AT_ONCE)
    ]


def _insert(table: str, columns: dict[str, str], owner: tuple[str, str], numbers: tuple[int, int]) -> str:
    company, store = owner
    values = [value.format(c="'old-' || n.i", company=company, store=store) for value in columns.values()]
    series = f"SELECT {numbers[0]} UNION ALL SELECT i + 1 FROM n WHERE i < {numbers[1]}"  # noqa: S608
    return (
        f"WITH RECURSIVE n(i) AS ({series}) INSERT INTO {table} (company_id, id, {', '.join(columns)}) "  # noqa: S608
        f"SELECT '{company}', 'old-' || n.i, {', '.join(values)} FROM n"
    )
