"""Verify that lock files pin and hash every requirement and name no index, address or path.

Usage: python -m scripts.check_requirements FILE...   (exit 1 and one line per fault when something is wrong)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)==[^\s;*]+(\s*;\s*[^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+$")
FOREIGN = re.compile(r"://|^-|\s--(?!hash=)|(^|[\s@])/|\s@\s")


def requirements(text: str) -> list[str]:
    """Return one line per requirement: continuation lines joined, comments and blank lines gone."""
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in joined.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def faults(text: str) -> list[str]:
    """Return what is wrong with a lock file, one sentence per fault."""
    lines = requirements(text)
    if not lines:
        return ["holds no requirement"]
    return [f"{reason}: {line[:80]}" for line in lines if (reason := _fault(line))]


def _fault(line: str) -> str:
    """Return why one requirement is refused, or nothing."""
    if FOREIGN.search(line):
        return "names an address, a path or an option"
    if not PINNED.match(line):
        return "is not pinned to one version with its hashes"
    return ""


def main(paths: list[str]) -> int:
    """Check each file and say so; return the exit code."""
    wrong = 0
    for path in map(Path, paths):
        found = faults(path.read_text(encoding="utf-8"))
        wrong += len(found)
        for fault in found:
            print(f"{path}: {fault}", file=sys.stderr)
        if not found:
            print(f"{path}: {len(requirements(path.read_text(encoding='utf-8')))} requirements, each pinned and hashed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
