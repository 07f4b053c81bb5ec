"""Tables only, one file per noun. Importing this package fills `metadata`."""

from backend.models.access import api_keys
from backend.models.alerts import alerts
from backend.models.audit import audit_heads, audit_log
from backend.models.base import metadata
from backend.models.carts import abandonment_log, cart_events, cart_items, carts, customers
from backend.models.companies import companies, company_agents
from backend.models.cycles import installation_state, poll_cycle_counts, poll_cycles, poll_runs, workers
from backend.models.deliveries import deliveries, delivery_attempts, delivery_carts, destinations
from backend.models.integrations import integrations, quarantine
from backend.models.keys import data_keys, subject_keys
from backend.models.people import grants, links, people, sessions

# Tables without a company and without personal data. Every table that is not named here is walled off per company.
INSTALLATION_TABLES = frozenset({"poll_cycles", "installation_state", "workers"})
# Who may come in, of any company or of all: for the worker's role alone.
ACCESS_TABLES = frozenset({"api_keys", "grants", "links", "people", "sessions"})

__all__ = [
    "ACCESS_TABLES",
    "INSTALLATION_TABLES",
    "abandonment_log",
    "alerts",
    "api_keys",
    "audit_heads",
    "audit_log",
    "cart_events",
    "cart_items",
    "carts",
    "companies",
    "company_agents",
    "customers",
    "data_keys",
    "deliveries",
    "delivery_attempts",
    "delivery_carts",
    "destinations",
    "grants",
    "installation_state",
    "integrations",
    "links",
    "metadata",
    "people",
    "poll_cycle_counts",
    "poll_cycles",
    "poll_runs",
    "quarantine",
    "sessions",
    "subject_keys",
    "workers",
]
