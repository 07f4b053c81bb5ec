"""Platform name to adapter class, one line each."""

from __future__ import annotations

from backend.platforms.base import Platform

PLATFORMS: dict[str, type[Platform]] = {}
