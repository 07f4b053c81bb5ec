"""Fair shares, destinations worked off by one worker at a time, alerts, and a hold after a restore.

Only adds what the code before it can do without, so that old and new processes work side by side on it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHECKED = sa.text("next_check_at IS NOT NULL")
LEASED = sa.text("lease_token IS NOT NULL")
OPEN = sa.text("closed_at IS NULL")
DEAD = sa.text("state = 'dead'")


def _added() -> dict[str, list[sa.Column[object]]]:
    """Return new columns by table."""
    return {
        "companies": [sa.Column("weight", sa.Integer(), server_default="1", nullable=False)],
        "destinations": [
            sa.Column("lease_token", sa.String(length=40)),
            sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        ],
        "integrations": [
            sa.Column("walk_pages", sa.Integer(), server_default="0", nullable=False),
            sa.Column("clock_offset_seconds", sa.Integer(), server_default="0", nullable=False),
        ],
        "installation_state": [
            sa.Column("alive_at", sa.DateTime(timezone=True)),
            sa.Column("place", sa.String(length=200)),
            sa.Column("hold_reason", sa.String(length=300)),
            sa.Column("held_at", sa.DateTime(timezone=True)),
        ],
        "workers": [sa.Column("lanes", sa.String(length=200)), sa.Column("bell", sa.String(length=20))],
    }


def upgrade() -> None:
    """Go to this revision."""
    for table, added in _added().items():
        for column in added:
            op.add_column(table, column)
    op.create_table(
        "alerts",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("words", sa.String(length=1000), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_list", "alerts", ["company_id", "opened_at"])
    _index("ix_alerts_open", "alerts", ["company_id", "subject_id", "kind"], OPEN, unique=True)
    _index("ix_deliveries_dead", "deliveries", ["company_id", "destination_id", "finished_at"], DEAD)
    _index("ix_destinations_lease", "destinations", ["lease_token"], LEASED)
    op.create_index("ix_integrations_company_due", "integrations", ["company_id", "next_poll_at"])
    _index("ix_carts_company_due", "carts", ["company_id", "next_check_at"], CHECKED)
    op.drop_index("ix_carts_due", table_name="carts")
    if op.get_bind().dialect.name == "postgresql":
        _build_wall("alerts")


def _index(name: str, table: str, columns: list[str], where: sa.TextClause, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, postgresql_where=where, sqlite_where=where)


def _build_wall(table: str) -> None:
    """Show cart_app one company's rows of `table`, and cart_worker all of them."""
    mine = "company_id = current_setting('app.company', true)"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_of_company ON {table} TO cart_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY {table}_of_worker ON {table} TO cart_worker USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO cart_app, cart_worker")


def downgrade() -> None:
    """Go back."""
    _index("ix_carts_due", "carts", ["next_check_at"], CHECKED)
    op.drop_index("ix_carts_company_due", table_name="carts")
    op.drop_index("ix_integrations_company_due", table_name="integrations")
    op.drop_index("ix_deliveries_dead", table_name="deliveries")
    op.drop_index("ix_destinations_lease", table_name="destinations")
    op.drop_table("alerts")
    for table, added in _added().items():
        for column in added:
            op.drop_column(table, column.name)
