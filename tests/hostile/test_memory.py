"""A worker's memory while every place it has is taken by a store that wants it full."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from backend.config import ROOT, Settings
from simulator.hostile import KINDS

GLUTTONS = ("gzip_bomb", "deflate_bomb", "value_bomb", "endless_chunks", "giant_body", "many_carts", "many_lines")
AT_ONCE = Settings(_env_file=None).poll_concurrency
MOST_MIB = 256  # half of what a worker may take


@dataclass(frozen=True, slots=True)
class Eaten:
    """The most memory that the poller held, in MiB, and the codes of its decisions by the kind of store."""

    most_mib: int
    decisions: set[tuple[str, str]]


async def polled(kinds: Sequence[str], seconds: float) -> Eaten:
    """Poll stores of these kinds from every place of one process, each for so long at most."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "hostile", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        origin = (await server.stdout.readline()).decode().split()[1]
        command = ("-m", "tests.hostile.glutton", origin, ",".join(kinds), str(AT_ONCE), str(seconds))
        poller = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        told, decisions = await poller.communicate()
    finally:
        server.terminate()
        await server.wait()
    lines = [line.split() for line in decisions.decode().splitlines()]
    return Eaten(int(told), {(kind, code) for kind, code in lines})


async def test_a_glutton_in_every_place_leaves_half_of_a_workers_memory() -> None:
    eaten = await polled(GLUTTONS, 60)
    ends = {(kind, KINDS[kind].end.error_code) for kind in GLUTTONS}
    assert eaten.decisions == {(kind, code) for kind, code in ends if code}
    assert eaten.most_mib < MOST_MIB


async def test_answers_that_grow_large_and_never_end_leave_it_too() -> None:
    eaten = await polled(["hoard"], 3)
    # Those that found no room were not to blame.
    assert eaten.decisions == {("hoard", "timeout"), ("hoard", "our_fault")}
    assert eaten.most_mib < MOST_MIB
