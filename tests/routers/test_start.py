"""Both ways to start the server, as real processes, and the ways in which it refuses to start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from backend.config import ROOT, load_settings
from backend.errors import SetupProblem

STARTED = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # no zeros: those are refused
FROM_ROOT = (ROOT, "backend.main:app")
FROM_BACKEND = (ROOT / "backend", "main:app")
PATIENT = ("--http", "backend.routers.slow_clients:PatientProtocol")


def server(where: tuple[Path, str], tmp_path: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start uvicorn on a free port with a database of its own."""
    folder, target = where
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", target, "--port", "0", *options],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/carts.db", "LOG_FORMAT": "console", **environment},
    )  # fmt: skip


@contextmanager
def running(where: tuple[Path, str], tmp_path: Path, *options: str) -> Iterator[str]:
    """Yield a running server's address; end it as Ctrl-C does."""
    process = server(where, tmp_path, *options)
    lines: list[str] = []
    try:
        yield f"http://127.0.0.1:{_port(process, lines)}"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


def _port(process: subprocess.Popen[str], lines: list[str]) -> str:
    """Return the port that the server says it listens on, once it does; keep reading so that it never blocks."""
    found = threading.Event()
    assert process.stdout is not None

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line)
            if "startup complete" in line:
                found.set()
        found.set()

    threading.Thread(target=read, daemon=True).start()
    assert found.wait(60), lines
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        match = STARTED.search("".join(lines))
        if match:
            return match[1]
        time.sleep(0.01)
    raise AssertionError("".join(lines))


@pytest.mark.parametrize(
    ("where", "options"),
    [(FROM_ROOT, ()), (FROM_BACKEND, ()), (FROM_BACKEND, ("--reload",)), (FROM_ROOT, PATIENT)],
    ids=["from the root", "from backend/", "from backend/ with --reload", "with our own protocol"],
)
def test_the_server_starts_and_serves(where: tuple[Path, str], options: tuple[str, ...], tmp_path: Path) -> None:
    with running(where, tmp_path, *options) as address, httpx.Client(base_url=address) as client:
        assert client.get("/api/health").json() == {"status": "ok"}
        assert client.post("/polling/start-abandoned-cart?interval=60").json()["running"] is True
        assert client.get("/polling/status").json()["loops_here"] is True
        assert "Console" in client.get("/").text


LOADED_TWICE = """
import sys
sys.path.insert(0, "")
import main
from backend import main as same
assert same is main
assert main.app is main.app
files = [module.__file__ for module in {id(each): each for each in sys.modules.values()}.values()
         if getattr(module, "__file__", None) and module.__name__.split(".")[0] in {"backend", "main"}]
assert len(files) > 50
assert len(files) == len(set(files)), sorted(files)
assert not {"config", "db", "domain", "models", "routers", "services", "store"} & set(sys.modules)
"""


def test_from_inside_backend_no_module_is_loaded_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED_TWICE], cwd=ROOT / "backend", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def refused(tmp_path: Path, **environment: str) -> tuple[int, str]:
    """Return the exit code and the output of a server that does not start."""
    process = server(FROM_ROOT, tmp_path, **environment)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"ENV": "production", "MASTER_KEY": KEY}, "production needs PostgreSQL"),
        ({"ENV": "production", "DATABASE_URL": "postgresql://localhost/x"}, "MASTER_KEY is not set"),
        ({"POLLING_INTERVAL": "1"}, "POLLING_INTERVAL"),
        ({"MASTER_KEY": "short"}, "MASTER_KEY"),
        ({"DATABASE_URL": "postgresql://localhost/x"}, "MASTER_KEY is not set"),
    ],
    ids=[
        "production on SQLite",
        "production without a key",
        "a wrong number",
        "a wrong key",
        "PostgreSQL without a key",
    ],
)
def test_what_cannot_be_served_ends_with_one_line(tmp_path: Path, environment: dict[str, str], word: str) -> None:
    code, output = refused(tmp_path, **environment)
    assert (code, word in output) == (2, True), output
    assert len(output.splitlines()) == 1, output


def test_a_database_out_of_reach_is_told_without_a_trace(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/x?host={tmp_path}"
    code, output = refused(tmp_path, DATABASE_URL=url, MASTER_KEY=KEY)
    assert code != 0
    assert "the database cannot be reached" in output
    assert "Traceback" not in output


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    with pytest.raises(SetupProblem, match="PORT"):
        load_settings()
