"""The audit log: both roles may add to it and read it, neither may change or delete."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TABLES = ("audit_log", "audit_heads")


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "audit_log",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("action", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("company_id", "seq", name=op.f("uq_audit_log_company_id_seq")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_audit_heads")),
        sa.UniqueConstraint("company_id", "seq", name=op.f("uq_audit_heads_company_id_seq")),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            _build_wall(table)


def _build_wall(table: str) -> None:
    """Show cart_app one company's rows of `table`, and cart_worker all of them; both may only add."""
    mine = "company_id = current_setting('app.company', true)"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_of_company ON {table} TO cart_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY {table}_of_worker ON {table} TO cart_worker USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT ON {table} TO cart_app, cart_worker")


def downgrade() -> None:
    """Go back."""
    for table in TABLES:
        op.drop_table(table)
