"""People, their roles, sessions and links. For the worker's role alone, as whose request it is turns out by them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TABLES = ("people", "grants", "sessions", "links")


def _at(name: str, *, required: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required)


def _of_company(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    name = op.f(f"fk_{table}_company_id")
    key = sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name=name, ondelete="CASCADE")
    return sa.Column("company_id", sa.String(length=36), nullable=True), key


def _of_person(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    name = op.f(f"fk_{table}_person_id")
    key = sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=name, ondelete="CASCADE")
    return sa.Column("person_id", sa.String(length=80), nullable=False), key


def upgrade() -> None:
    """Go to this revision."""
    _people()
    _grants()
    _sessions()
    _links()
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO cart_worker")


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("totp_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("totp_key_version", sa.Integer(), nullable=True),
        sa.Column("has_second_factor", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.Column("recovery_hashes", JSON, nullable=True),
        _at("created_at", required=True),
        _at("password_changed_at", required=True),
        _at("disabled_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.String(length=120), nullable=False),
        *_of_person("grants"),
        sa.Column("role", sa.String(length=20), nullable=False),
        *_of_company("grants"),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        _at("created_at", required=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_person", "grants", ["person_id"])
    op.create_index("ix_grants_company", "grants", ["company_id"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=80), nullable=False),
        *_of_person("sessions"),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("mark", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        _at("rotated_at", required=True),
        sa.Column("client", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        _at("created_at", required=True),
        _at("expires_at", required=True),
        _at("ended_at"),
        sa.Column("ended_because", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_person", "sessions", ["person_id", "created_at"])


def _links() -> None:
    op.create_table(
        "links",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=True),
        *_of_company("links"),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        _at("created_at", required=True),
        _at("expires_at", required=True),
        _at("used_at"),
        _at("withdrawn_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
    )
    op.create_index("ix_links_list", "links", ["company_id", "created_at"])


def downgrade() -> None:
    """Go back."""
    for table in reversed(TABLES):
        op.drop_table(table)
