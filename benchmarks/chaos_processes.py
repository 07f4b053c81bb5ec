"""Programs of the chaos runs that are no workers: simulated servers, Redis, Celery. All die with this process."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.servers import ROOT

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
END_LIMIT = 20.0  # seconds


def start(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, listens: bool = False
) -> subprocess.Popen[str]:
    """Start a program in the project's folder; `listens`: its first line will be read, the rest goes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if listens else output,
            stderr=output,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, which takes no lock
        )


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


@contextmanager
def listening(module: str, *arguments: str, log: Path) -> Iterator[str]:
    """Run a server that prints `listening URL` while the block lasts; yields the URL."""
    process = start([sys.executable, "-m", module, *arguments], log=log, listens=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening "):
            raise RuntimeError(f"{module} did not start: {line!r}\n{log.read_text(errors='replace')[-2000:]}")
        yield line.split()[1]
    finally:
        end(process)
        if process.stdout:
            process.stdout.close()


def end(process: subprocess.Popen[str]) -> None:
    """Ask a program to end, and kill it with its children when it does not."""
    process.terminate()
    try:
        process.wait(timeout=END_LIMIT)
    except subprocess.TimeoutExpired:
        kill_tree(process)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """Kill a program and all that it started, with no chance to do anything more."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(timeout=END_LIMIT)


def free_port() -> int:
    """Return a port that the system gave away a moment ago, for programs that cannot ask for one themselves."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
