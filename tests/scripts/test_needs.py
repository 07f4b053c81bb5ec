"""The commands under a Python that has no packages: one line that says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.config import ROOT

COMMANDS = (
    "run_abandoned_cart_polling.py",
    "scripts/apply_config.py",
    "scripts/test_abandoned_cart_api.py",
    "scripts/test_enhanced_abandoned_cart.py",
    "scripts/test_polling_abandoned_cart.py",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_the_packages_a_command_says_how_to_get_them(tmp_path: Path, name: str) -> None:
    command = str(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-E", "-S", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert f"install first: make install, then run .venv/bin/python {command}" in done.stderr
