"""The audit of the lock files."""

from __future__ import annotations

import json

import pytest

from scripts.audit_requirements import lock_faults, vulnerabilities

HASH = "--hash=sha256:" + "0a" * 32


def test_a_pinned_and_hashed_requirement_passes() -> None:
    assert lock_faults(f"# made by hand\nyarl==1.25.1 \\\n    {HASH} \\\n    {HASH}\n    # via aiohttp\n") == []


def test_a_requirement_for_some_systems_only_passes() -> None:
    assert lock_faults(f"uvloop==0.23.0 ; sys_platform != 'win32' \\\n    {HASH}\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "yarl==1.25.1",
        f"yarl>=1.25 {HASH}",
        f"yarl==1.* {HASH}",
        f"--index-url https://index.example/simple\nyarl==1.25.1 {HASH}",
        f"--find-links /wheels\nyarl==1.25.1 {HASH}",
        f"yarl @ https://files.example/yarl.whl {HASH}",
        f"-e .\nyarl==1.25.1 {HASH}",
        "",
    ],
)
def test_anything_else_is_a_fault(line: str) -> None:
    assert lock_faults(line) != []


def test_a_known_vulnerability_is_named_with_its_fix() -> None:
    found = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": []}
    packages = [{"name": "a", "version": "1.0", "vulns": [found]}, {"name": "b", "version": "1.0", "vulns": []}]
    assert vulnerabilities(json.dumps({"dependencies": packages})) == ["a 1.0: PYSEC-1, fixed in 2.0"]
