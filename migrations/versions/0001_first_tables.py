"""The first tables, and the walls between companies (Row-Level Security on PostgreSQL)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "companies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("website", sa.String(length=500), nullable=True),
        sa.Column("support_email", sa.String(length=320), nullable=True),
        sa.Column("phone", sa.String(length=40), nullable=True),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companies")),
        sa.UniqueConstraint("name", name=op.f("uq_companies_name")),
    )
    op.create_table(
        "data_keys",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("master_key", sa.String(length=40), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_data_keys")),
        sa.UniqueConstraint("company_id", "version", name=op.f("uq_data_keys_company_id_version")),
    )
    op.create_table(
        "installation_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("is_wanted", sa.Boolean(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation_state")),
    )
    op.create_table(
        "poll_cycles",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_poll_cycles")),
    )
    op.create_index("ix_poll_cycles_started", "poll_cycles", ["started_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("runs_loops", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "company_agents",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("template_slug", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("abandonment_threshold_minutes", sa.Integer(), nullable=False),
        sa.Column("recovery_horizon_days", sa.Integer(), nullable=False),
        sa.Column("attribution_window_days", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name=op.f("fk_company_agents_company_id")),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_company_agents")),
        sa.UniqueConstraint("company_id", "name", name=op.f("uq_company_agents_company_id_name")),
    )
    op.create_index("ix_company_agents_template", "company_agents", ["template_slug", "status"], unique=False)
    op.create_table(
        "poll_cycle_counts",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("cycle_id", sa.String(length=80), nullable=False),
        sa.Column("worker_id", sa.String(length=80), nullable=False),
        sa.Column("agents_found", sa.Integer(), server_default="0", nullable=False),
        sa.Column("polls_succeeded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("polls_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("carts_seen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("carts_new", sa.Integer(), server_default="0", nullable=False),
        sa.Column("carts_changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("carts_abandoned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("carts_excluded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("records_quarantined", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries_made", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries_succeeded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_ms", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fetch_ms", sa.Integer(), server_default="0", nullable=False),
        sa.Column("save_ms", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliver_ms", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "platforms",
            JSON,
            nullable=False,
        ),
        sa.Column(
            "value",
            JSON,
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["cycle_id"], ["poll_cycles.id"], name=op.f("fk_poll_cycle_counts_cycle_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_poll_cycle_counts")),
        sa.UniqueConstraint(
            "company_id", "cycle_id", "worker_id", name=op.f("uq_poll_cycle_counts_company_id_cycle_id_worker_id")
        ),
    )
    op.create_index("ix_poll_cycle_counts_cycle", "poll_cycle_counts", ["cycle_id"], unique=False)
    op.create_table(
        "destinations",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("agent_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secrets_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("secrets_version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("status_reason", sa.String(length=300), nullable=True),
        sa.Column("max_carts_per_payload", sa.Integer(), nullable=False),
        sa.Column("include_uncontactable", sa.Boolean(), nullable=False),
        sa.Column("include_opted_out", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(length=1000), nullable=True),
        sa.Column("last_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "agent_id"],
            ["company_agents.company_id", "company_agents.id"],
            name=op.f("fk_destinations_company_id_agent_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_destinations")),
        sa.UniqueConstraint("company_id", "agent_id", "name", name=op.f("uq_destinations_company_id_agent_id_name")),
    )
    op.create_table(
        "integrations",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("agent_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("platform", sa.String(length=40), nullable=False),
        sa.Column("store_id", sa.String(length=500), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("pause_reason", sa.String(length=100), nullable=True),
        sa.Column(
            "settings",
            JSON,
            nullable=False,
        ),
        sa.Column("credentials_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("credentials_version", sa.Integer(), nullable=False),
        sa.Column("poll_interval_seconds", sa.Integer(), nullable=True),
        sa.Column("initial_lookback_days", sa.Integer(), nullable=False),
        sa.Column("watermark", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("page_token", sa.String(), nullable=True),
        sa.Column("next_watermark", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_poll_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waiting_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting_for", sa.String(length=200), nullable=True),
        sa.Column("lease_token", sa.String(length=40), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error_code", sa.String(length=100), nullable=True),
        sa.Column("last_error", sa.String(length=1000), nullable=True),
        sa.Column("last_remedy", sa.String(length=1000), nullable=True),
        sa.Column("last_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("empty_polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "budget",
            JSON,
            nullable=True,
        ),
        sa.Column(
            "notices",
            JSON,
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "agent_id"],
            ["company_agents.company_id", "company_agents.id"],
            name=op.f("fk_integrations_company_id_agent_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_integrations")),
        sa.UniqueConstraint("company_id", "agent_id", "name", name=op.f("uq_integrations_company_id_agent_id_name")),
    )
    op.create_index("ix_integrations_due", "integrations", ["next_poll_at"], unique=False)
    op.create_index(
        "ix_integrations_lease",
        "integrations",
        ["lease_token"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_table(
        "customers",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("integration_id", sa.String(length=80), nullable=False),
        sa.Column("identity", sa.String(length=400), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("phone", sa.String(length=60), nullable=True),
        sa.Column("first_name", sa.String(length=200), nullable=True),
        sa.Column("last_name", sa.String(length=200), nullable=True),
        sa.Column("locale", sa.String(length=40), nullable=True),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("is_guest", sa.Boolean(), nullable=False),
        sa.Column("consent_email", sa.String(length=10), nullable=False),
        sa.Column("consent_sms", sa.String(length=10), nullable=False),
        sa.Column("consent_source", sa.String(length=100), nullable=True),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "integration_id"],
            ["integrations.company_id", "integrations.id"],
            name=op.f("fk_customers_company_id_integration_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_customers")),
        sa.UniqueConstraint(
            "company_id", "integration_id", "identity", name=op.f("uq_customers_company_id_integration_id_identity")
        ),
    )
    op.create_table(
        "deliveries",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("destination_id", sa.String(length=80), nullable=False),
        sa.Column("agent_id", sa.String(length=80), nullable=False),
        sa.Column("integration_id", sa.String(length=80), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("webhook_id", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("cart_count", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_outcome", sa.String(length=60), nullable=True),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("superseded_by", sa.String(length=80), nullable=True),
        sa.Column("cycle_id", sa.String(length=80), nullable=True),
        sa.Column("lease_token", sa.String(length=40), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "destination_id"],
            ["destinations.company_id", "destinations.id"],
            name=op.f("fk_deliveries_company_id_destination_id"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "integration_id"],
            ["integrations.company_id", "integrations.id"],
            name=op.f("fk_deliveries_company_id_integration_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_destination", "deliveries", ["company_id", "destination_id", "state"], unique=False)
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["company_id", "destination_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_deliveries_lease",
        "deliveries",
        ["lease_token"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index("ix_deliveries_list", "deliveries", ["company_id", "created_at"], unique=False)
    op.create_table(
        "poll_runs",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("integration_id", sa.String(length=80), nullable=False),
        sa.Column("cycle_id", sa.String(length=80), nullable=False),
        sa.Column("worker_id", sa.String(length=80), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("elapsed_ms", sa.Integer(), nullable=False),
        sa.Column(
            "counts",
            JSON,
            nullable=False,
        ),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error", sa.String(length=1000), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "integration_id"],
            ["integrations.company_id", "integrations.id"],
            name=op.f("fk_poll_runs_company_id_integration_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_poll_runs")),
    )
    op.create_index(
        "ix_poll_runs_integration", "poll_runs", ["company_id", "integration_id", "started_at"], unique=False
    )
    op.create_table(
        "quarantine",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("integration_id", sa.String(length=80), nullable=False),
        sa.Column("source_cart_id", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("record_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("record_version", sa.Integer(), nullable=False),
        sa.Column("times_seen", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "integration_id"],
            ["integrations.company_id", "integrations.id"],
            name=op.f("fk_quarantine_company_id_integration_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_quarantine")),
    )
    op.create_index("ix_quarantine_integration", "quarantine", ["company_id", "integration_id"], unique=False)
    op.create_table(
        "carts",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("integration_id", sa.String(length=80), nullable=False),
        sa.Column("agent_id", sa.String(length=80), nullable=False),
        sa.Column("source_cart_id", sa.String(length=200), nullable=False),
        sa.Column("store_id", sa.String(length=500), nullable=False),
        sa.Column("customer_id", sa.String(length=80), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("revision", sa.String(length=40), nullable=False),
        sa.Column("activity", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("subtotal", sa.BigInteger(), nullable=True),
        sa.Column("discount", sa.BigInteger(), nullable=True),
        sa.Column("tax", sa.BigInteger(), nullable=True),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column(
            "coupons",
            JSON,
            nullable=False,
        ),
        sa.Column("recovery_url", sa.String(), nullable=True),
        sa.Column("order_ref", sa.String(length=200), nullable=True),
        sa.Column("exclusion", sa.String(length=100), nullable=True),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("is_mock", sa.Boolean(), nullable=False),
        sa.Column("source_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_activity_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("abandoned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("contacted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("awaits_read", sa.Boolean(), nullable=False),
        sa.Column("lease_token", sa.String(length=40), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "customer_id"],
            ["customers.company_id", "customers.id"],
            name=op.f("fk_carts_company_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "integration_id"],
            ["integrations.company_id", "integrations.id"],
            name=op.f("fk_carts_company_id_integration_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_carts")),
        sa.UniqueConstraint(
            "company_id",
            "integration_id",
            "source_cart_id",
            name=op.f("uq_carts_company_id_integration_id_source_cart_id"),
        ),
    )
    op.create_index(
        "ix_carts_due",
        "carts",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
        sqlite_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_carts_lease",
        "carts",
        ["lease_token"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index("ix_carts_list", "carts", ["company_id", "updated_at"], unique=False)
    op.create_index(
        "ix_carts_waiting",
        "carts",
        ["company_id", "integration_id"],
        unique=False,
        postgresql_where=sa.text("awaits_read"),
        sqlite_where=sa.text("awaits_read"),
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("delivery_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("elapsed_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=60), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("worker_id", sa.String(length=80), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "delivery_id"],
            ["deliveries.company_id", "deliveries.id"],
            name=op.f("fk_delivery_attempts_company_id_delivery_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_delivery_attempts")),
    )
    op.create_index("ix_delivery_attempts_delivery", "delivery_attempts", ["company_id", "delivery_id"], unique=False)
    op.create_table(
        "abandonment_log",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("cart_id", sa.String(length=80), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("abandoned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "cart_id"],
            ["carts.company_id", "carts.id"],
            name=op.f("fk_abandonment_log_company_id_cart_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_abandonment_log")),
        sa.UniqueConstraint(
            "company_id", "cart_id", "episode", name=op.f("uq_abandonment_log_company_id_cart_id_episode")
        ),
    )
    op.create_table(
        "cart_events",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("cart_id", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("revision", sa.String(length=40), nullable=False),
        sa.Column(
            "data",
            JSON,
            nullable=False,
        ),
        sa.Column("personal_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("subject_key_id", sa.String(length=80), nullable=True),
        sa.Column("cycle_id", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "cart_id"], ["carts.company_id", "carts.id"], name=op.f("fk_cart_events_company_id_cart_id")
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_cart_events")),
        sa.UniqueConstraint("company_id", "cart_id", "seq", name=op.f("uq_cart_events_company_id_cart_id_seq")),
    )
    op.create_table(
        "cart_items",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("cart_id", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.String(length=200), nullable=False),
        sa.Column("product_id", sa.String(length=200), nullable=True),
        sa.Column("variant_id", sa.String(length=200), nullable=True),
        sa.Column("sku", sa.String(length=200), nullable=True),
        sa.Column("title", sa.String(length=1000), nullable=False),
        sa.Column("variant", sa.String(length=500), nullable=True),
        sa.Column("quantity", sa.String(length=40), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("line_total", sa.BigInteger(), nullable=False),
        sa.Column("image_url", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "cart_id"], ["carts.company_id", "carts.id"], name=op.f("fk_cart_items_company_id_cart_id")
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_cart_items")),
    )
    op.create_index("ix_cart_items_cart", "cart_items", ["company_id", "cart_id"], unique=False)
    op.create_table(
        "delivery_carts",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("delivery_id", sa.String(length=80), nullable=True),
        sa.Column("destination_id", sa.String(length=80), nullable=False),
        sa.Column("cart_id", sa.String(length=80), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("event_type", sa.String(length=60), nullable=False),
        sa.Column("revision", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=True),
        sa.Column(
            "trace",
            JSON,
            nullable=False,
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "cart_id"],
            ["carts.company_id", "carts.id"],
            name=op.f("fk_delivery_carts_company_id_cart_id"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "delivery_id"],
            ["deliveries.company_id", "deliveries.id"],
            name=op.f("fk_delivery_carts_company_id_delivery_id"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "destination_id"],
            ["destinations.company_id", "destinations.id"],
            name=op.f("fk_delivery_carts_company_id_destination_id"),
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_delivery_carts")),
        sa.UniqueConstraint(
            "company_id",
            "destination_id",
            "cart_id",
            "episode",
            "event_type",
            "revision",
            name=op.f("uq_delivery_carts_company_id_destination_id_cart_id_episode_event_type_revision"),
        ),
    )
    op.create_index("ix_delivery_carts_cart", "delivery_carts", ["company_id", "cart_id"], unique=False)
    op.create_index("ix_delivery_carts_delivery", "delivery_carts", ["company_id", "delivery_id"], unique=False)
    op.create_table(
        "subject_keys",
        sa.Column("company_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("cart_id", sa.String(length=80), nullable=False),
        sa.Column("customer_id", sa.String(length=80), nullable=True),
        sa.Column("data_key_version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "cart_id"], ["carts.company_id", "carts.id"], name=op.f("fk_subject_keys_company_id_cart_id")
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("pk_subject_keys")),
    )
    op.create_index("ix_subject_keys_cart", "subject_keys", ["company_id", "cart_id"], unique=False)
    op.create_index("ix_subject_keys_customer", "subject_keys", ["company_id", "customer_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        build_walls()


INSTALLATION_TABLES = ("poll_cycles", "installation_state", "workers")
TENANT_TABLES = (
    "company_agents",
    "integrations",
    "destinations",
    "customers",
    "carts",
    "cart_items",
    "cart_events",
    "abandonment_log",
    "deliveries",
    "delivery_carts",
    "delivery_attempts",
    "poll_cycle_counts",
    "poll_runs",
    "quarantine",
    "data_keys",
    "subject_keys",
)

# Another database of the same server may be migrating at this moment: losing that race is fine.
MAKE_ROLES = """
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['cart_app', 'cart_worker'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        IF NOT EXISTS (
            SELECT 1 FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
            WHERE g.rolname = wanted AND u.rolname = current_user AND (__SET_OPTION__)
        ) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER __HOW__', wanted);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', wanted);
    END LOOP;
END $$
"""


def build_walls() -> None:
    """Make the two roles and give every tenant table its two policies."""
    version = op.get_bind().execute(sa.text("SELECT current_setting('server_version_num')::int")).scalar_one()
    # Before PostgreSQL 16 a grant cannot say INHERIT FALSE; the login itself must then be NOINHERIT.
    is_new = version >= 160_000
    roles = MAKE_ROLES.replace("__SET_OPTION__", "m.set_option AND NOT m.inherit_option" if is_new else "true")
    op.execute(sa.text(roles.replace("__HOW__", "WITH INHERIT FALSE, SET TRUE" if is_new else "").replace(":", r"\:")))
    build_wall("companies", "id")
    for table in TENANT_TABLES:
        build_wall(table, "company_id")
    for table in INSTALLATION_TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO cart_worker")
        op.execute(f"GRANT SELECT ON {table} TO cart_app")


def build_wall(table: str, column: str) -> None:
    """Show cart_app one company's rows of `table`, and cart_worker all of them."""
    mine = f"{column} = current_setting('app.company', true)"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_of_company ON {table} TO cart_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY {table}_of_worker ON {table} TO cart_worker USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO cart_app, cart_worker")


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_subject_keys_customer", table_name="subject_keys")
    op.drop_index("ix_subject_keys_cart", table_name="subject_keys")
    op.drop_table("subject_keys")
    op.drop_index("ix_delivery_carts_delivery", table_name="delivery_carts")
    op.drop_index("ix_delivery_carts_cart", table_name="delivery_carts")
    op.drop_table("delivery_carts")
    op.drop_index("ix_cart_items_cart", table_name="cart_items")
    op.drop_table("cart_items")
    op.drop_table("cart_events")
    op.drop_table("abandonment_log")
    op.drop_index("ix_delivery_attempts_delivery", table_name="delivery_attempts")
    op.drop_table("delivery_attempts")
    op.drop_index(
        "ix_carts_waiting",
        table_name="carts",
        postgresql_where=sa.text("awaits_read"),
        sqlite_where=sa.text("awaits_read"),
    )
    op.drop_index("ix_carts_list", table_name="carts")
    op.drop_index(
        "ix_carts_lease",
        table_name="carts",
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.drop_index(
        "ix_carts_due",
        table_name="carts",
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
        sqlite_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.drop_table("carts")
    op.drop_index("ix_quarantine_integration", table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_index("ix_poll_runs_integration", table_name="poll_runs")
    op.drop_table("poll_runs")
    op.drop_index("ix_deliveries_list", table_name="deliveries")
    op.drop_index(
        "ix_deliveries_lease",
        table_name="deliveries",
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.drop_index(
        "ix_deliveries_due",
        table_name="deliveries",
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.drop_index("ix_deliveries_destination", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("customers")
    op.drop_index(
        "ix_integrations_lease",
        table_name="integrations",
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.drop_index("ix_integrations_due", table_name="integrations")
    op.drop_table("integrations")
    op.drop_table("destinations")
    op.drop_index("ix_poll_cycle_counts_cycle", table_name="poll_cycle_counts")
    op.drop_table("poll_cycle_counts")
    op.drop_index("ix_company_agents_template", table_name="company_agents")
    op.drop_table("company_agents")
    op.drop_table("workers")
    op.drop_index("ix_poll_cycles_started", table_name="poll_cycles")
    op.drop_table("poll_cycles")
    op.drop_table("installation_state")
    op.drop_table("data_keys")
    op.drop_table("companies")
