"""Abandoned-cart recovery for many stores at once."""
