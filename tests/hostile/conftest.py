"""The line of one sound store, and quiet logs."""

from __future__ import annotations

from tests.services.conftest import line, quiet_log  # noqa: F401 (fixtures, found by their names here)
