"""apply_config.py as people start it: exit codes, what is printed where, and that a fault changes nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILE = """\
companies:
  - name: Acme
    agents:
      - name: Recovery
        destinations:
          - {name: partner, url: https://partner.example/hook, secret: env:HOOK}
"""


class Desk:
    """A folder with a file and an empty database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "set-up.yaml"
        self.environment = {
            **os.environ, "DATABASE_URL": f"sqlite:///{folder / 'carts.db'}", "HOOK": SECRET, "TERM": "dumb",
        }  # fmt: skip

    def command(self, *options: str) -> list[str]:
        return [sys.executable, str(ROOT / "scripts" / "apply_config.py"), str(self.file), *options]

    def run(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command from another folder, as no terminal."""
        self.file.write_text(text, encoding="utf-8")
        return subprocess.run(
            self.command(*options), env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def run_on_terminal(self, text: str) -> str:
        """Run the command with a terminal as its output; return what the terminal shows."""
        self.file.write_text(text, encoding="utf-8")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(self.command(), env=self.environment, cwd=self.folder, stdout=theirs)
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        os.close(ours)
        assert process.wait() == 0
        return shown.decode()


def _read(terminal: int) -> bytes:
    """Read from a terminal; nothing once the other side has closed it, which Linux tells as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_file_is_applied_to_an_empty_database(desk: Desk) -> None:
    done = desk.run(FILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "+ company Acme",
        "+ agent Acme / Recovery",
        "+ destination Acme / Recovery / partner: https://partner.example/hook",
        "applied: Acme",
    ]


def test_a_second_run_says_nothing_to_change(desk: Desk) -> None:
    desk.run(FILE)
    assert desk.run(FILE).stdout == "nothing to change\n"


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    dry = desk.run(FILE, "--dry-run")
    assert (dry.returncode, dry.stdout.splitlines()[-1]) == (0, "dry run: nothing was changed")
    assert desk.run(FILE).stdout.endswith("applied: Acme\n")


def test_a_faulty_file_is_named_with_its_line_and_exits_2(desk: Desk) -> None:
    done = desk.run(FILE.replace("agents:", "agnets:"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{desk.file}: line 3: companies[0].agnets is not a known key; did you mean agents?\nnothing was changed\n"
    )


def test_pruning_deactivates(desk: Desk) -> None:
    desk.run(FILE)
    pruned = desk.run("companies:\n  - name: Acme\n", "--prune")
    assert pruned.stdout.splitlines() == ["- agent Acme / Recovery: not in the file, deactivated", "applied: Acme"]


def test_a_missing_secret_needs_a_terminal(desk: Desk) -> None:
    done = desk.run(FILE.replace(", secret: env:HOOK", ""))
    assert done.returncode == 2
    assert "no terminal to show a new one on" in done.stderr


def test_a_terminal_shows_a_new_secret_once(desk: Desk) -> None:
    text = FILE.replace(", secret: env:HOOK", "")
    assert desk.run_on_terminal(text).count("whsec_") == 1
    assert "whsec_" not in desk.run_on_terminal(text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", "mysql://x", "DATABASE_URL: mysql is not supported"),
        ("POLLING_INTERVAL", "soon", "POLLING_INTERVAL: "),
        ("MASTER_KEY", "short", "MASTER_KEY"),
    ],
)
def test_a_wrong_setting_is_named_and_exits_2(desk: Desk, name: str, value: str, told: str) -> None:
    desk.environment[name] = value
    done = desk.run(FILE)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_exits_2(desk: Desk) -> None:
    done = subprocess.run(desk.command(), env=desk.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"{desk.file}: No such file or directory\n")


def test_a_file_that_is_no_text_exits_2(desk: Desk) -> None:
    desk.file.write_bytes(b"\xff\xfe\x00")
    done = subprocess.run(desk.command(), env=desk.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"{desk.file}: is not UTF-8 text\n")


def test_help_tells_of_options_and_exit_codes(desk: Desk) -> None:
    shown = desk.run("", "--help").stdout
    assert all(word in shown for word in ("--dry-run", "--prune", "Exit codes", "env:NAME"))
