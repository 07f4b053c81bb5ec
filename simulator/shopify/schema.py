"""The schema of each API version, from the one file that marks what came when."""

from __future__ import annotations

import re
from pathlib import Path

VERSIONS = ("2025-10", "2026-01", "2026-04", "2026-07", "2026-10")
_SINCE = re.compile(r'^(?P<field>.*?) @since\(version: "(?P<version>[\d-]+)"\)$', re.MULTILINE)
_DEPRECATED = re.compile(r'\s+@deprecatedSince\(version: "(?P<version>[\d-]+)", (?P<reason>reason: "[^"]*")\)')


def schema_text(version: str) -> str:
    """Return the schema as `version` has it, in plain schema language without the version marks."""
    text = (Path(__file__).parent / "schema.graphql").read_text(encoding="utf-8")
    text = re.sub(r"^directive .*\n", "", text, flags=re.MULTILINE)
    text = _SINCE.sub(lambda mark: mark["field"] if version >= mark["version"] else "", text)
    return _DEPRECATED.sub(lambda mark: f" @deprecated({mark['reason']})" if version >= mark["version"] else "", text)
