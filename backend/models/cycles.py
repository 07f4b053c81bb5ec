"""The installation's wanted state, its workers, poll cycles and polls."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from backend.domain.work import COUNTS
from backend.models.base import Json, belongs_to, key, metadata, moment, text

installation_state = Table(
    "installation_state",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("is_wanted", Boolean, nullable=False),
    Column("interval_seconds", Integer, nullable=False),
    moment("changed_at", required=True),
    # a database that came from a backup holds its deliveries until somebody releases them
    moment("alive_at"),  # when a process last said that it works on this database
    text("place", 200),  # where the database was then (db.py)
    text("hold_reason", 300),
    moment("held_at"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(80), primary_key=True),
    text("host", 200, required=True),
    Column("pid", Integer, nullable=False),
    text("role", 40, required=True),
    Column("runs_loops", Boolean, nullable=False),
    text("lanes", 200),  # which it works on, separated by commas
    text("bell", 20),  # who rings it: ticks | celery
    moment("started_at", required=True),
    moment("seen_at", required=True),
)

poll_cycles = Table(
    "poll_cycles",
    metadata,
    Column("id", String(80), primary_key=True),
    text("kind", 20, required=True),  # beat | test_once | once
    Column("interval_seconds", Integer),
    moment("started_at", required=True),
    moment("finished_at"),
    Index("ix_poll_cycles_started", "started_at"),
)

# One row per cycle, company and worker, so that counting up never waits for another worker.
poll_cycle_counts = Table(
    "poll_cycle_counts",
    metadata,
    *key(),
    Column("cycle_id", String(80), ForeignKey("poll_cycles.id", ondelete="CASCADE"), nullable=False),
    text("worker_id", 80, required=True),
    *(Column(name, Integer, nullable=False, server_default="0") for name in COUNTS),
    Column("platforms", Json, nullable=False),
    Column("value", Json, nullable=False),  # currency -> amount handed off, as text
    UniqueConstraint("company_id", "cycle_id", "worker_id"),
    Index("ix_poll_cycle_counts_cycle", "cycle_id"),
)

poll_runs = Table(
    "poll_runs",
    metadata,
    *key(),
    text("integration_id", 80, required=True),
    text("cycle_id", 80, required=True),
    text("worker_id", 80, required=True),
    text("outcome", 40, required=True),
    moment("started_at", required=True),
    Column("elapsed_ms", Integer, nullable=False),
    Column("counts", Json, nullable=False),
    text("error_code", 100),
    text("error", 1000),
    belongs_to("integrations", "integration_id"),
    Index("ix_poll_runs_integration", "company_id", "integration_id", "started_at"),
)
