"""Any store that speaks the fixed contract of docs/custom-platform.md."""

from __future__ import annotations

from backend.platforms.custom.adapter import CustomPlatform

__all__ = ["CustomPlatform"]
