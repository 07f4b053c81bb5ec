"""Magento 2 and Adobe Commerce: quotes found over REST, product details filled in over GraphQL."""

from backend.platforms.magento.adapter import MagentoPlatform

__all__ = ["MagentoPlatform"]
