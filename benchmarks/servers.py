"""The simulated store and partner that benchmarks run against, as processes of their own."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def server(*arguments: str, module: str = "simulator") -> Iterator[str]:
    """Run `python -m simulator ...`, or another module that speaks like it, while the block lasts; yields its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, which takes no lock
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening "):
            raise RuntimeError(f"the simulator did not start: {line!r}")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait(timeout=10)


def die_with_parent() -> None:
    """Ask Linux to kill this process, just started, when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def call(url: str, body: object | None = None) -> Any:
    """GET, or POST a JSON body, and return the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  loopback only
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


def contender(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one contender to its end in a process of its own; it reads `arguments` and prints figures, both as JSON."""
    command, asked = [sys.executable, "-m", module], json.dumps(arguments)
    done = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
