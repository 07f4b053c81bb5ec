"""Made-up stores for demonstrations: real-looking carts, the same whenever asked, and no network."""

from __future__ import annotations

from backend.platforms.mock.adapter import MockPlatform

__all__ = ["MockPlatform"]
