"""Processes of the demo: started by name, ended together, and never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backend.errors import SetupProblem

ROOT = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1
START_LIMIT = 30.0  # seconds
END_LIMIT = 13.0  # seconds; the web app alone may take ten to let work in flight end


class Children:
    """Child processes of this one, ended in the opposite order of their start when the block ends.

    They ignore the terminal's Ctrl-C, so that stores still answer while deliveries in flight end; and the kernel ends
    them when this process dies, however it dies. Start them from the main thread: the kernel means the thread.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._started: list[tuple[str, asyncio.subprocess.Process]] = []

    async def __aenter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _name, process in reversed(self._started):
            await _end(process)

    async def start(
        self, name: str, *arguments: str, environment: Mapping[str, str], is_heard: bool = False
    ) -> asyncio.subprocess.Process:
        """Start `python -m` with these arguments. What it prints goes to the log; `is_heard`: only its errors do."""
        parent = os.getpid()

        def tie() -> None:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:  # it died before the tie was made
                    os.kill(os.getpid(), signal.SIGTERM)

        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, cwd=ROOT, env=dict(environment), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if is_heard else log, stderr=log, preexec_fn=tie,
            )  # fmt: skip
        self._started.append((name, process))
        return process

    async def simulator(self, name: str, *arguments: str) -> str:
        """Start a simulated server and return its base URL. Raises `SetupProblem` when it does not start."""
        process = await self.start(name, "simulator", *arguments, environment=plain_environment(), is_heard=True)
        assert process.stdout is not None  # noqa: S101  (asked for above)
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), START_LIMIT)).decode()
        except TimeoutError:
            line = ""
        if not line.startswith("listening "):
            raise SetupProblem(f"the simulated {name} did not start; {self.last_words()}")
        return line.split()[1]

    def ended(self) -> str | None:
        """Return which child is no longer there, how it ended and where to read on, or None."""
        for name, process in self._started:
            code = process.returncode
            if code is not None and code < 0:
                return f"the {name} was ended by {signal.Signals(-code).name}; see {self._log}"
            if code is not None:
                # Only a process that gave up by itself says why in its last line.
                return f"the {name} ended with exit code {code}; {self.last_words() if code else f'see {self._log}'}"
        return None

    def last_words(self) -> str:
        """Return where the children's output is, and its last line."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return f"see {self._log}" + (f": {lines[-1][:300]}" if lines else "")


def plain_environment() -> dict[str, str]:
    """Return what any process needs of this shell, and nothing that could be a setting of ours."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "TMPDIR") if name in os.environ}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, insist after a while, and wait until it is gone."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_LIMIT)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
