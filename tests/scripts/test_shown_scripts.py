"""The scripts that show the line by hand: they work from any folder, and pytest does not take them for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.config import ROOT

SCRIPTS = ("test_abandoned_cart_api.py", "test_polling_abandoned_cart.py", "test_enhanced_abandoned_cart.py")


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_from_any_folder_and_finds_all_well(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, str(ROOT / "scripts" / name))
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all is well"]), done.stdout + done.stderr


def test_a_script_touches_no_database_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "carts.db"
    run(tmp_path, str(ROOT / "scripts" / SCRIPTS[0]), DATABASE_URL=f"sqlite:///{path}")
    assert not path.exists()


def test_the_full_data_script_shows_the_sample(tmp_path: Path) -> None:
    shown = run(tmp_path, str(ROOT / "scripts" / "test_enhanced_abandoned_cart.py")).stdout
    assert '"total_value": 459.97' in shown
    assert '"platform": "shopify"' in shown


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_holds_nothing_that_pytest_collects(name: str) -> None:
    collected = run(ROOT, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", f"scripts/{name}")
    assert "no tests collected" in collected.stdout
