"""A worker's memory while every place it has is taken by a store that wants it full."""

from __future__ import annotations

import asyncio
import sys

from backend.config import ROOT, Settings
from simulator.hostile import KINDS

GLUTTONS = ("gzip_bomb", "deflate_bomb", "value_bomb", "endless_chunks", "giant_body", "many_carts", "many_lines")
AT_ONCE = Settings(_env_file=None).poll_concurrency
MOST_MIB = 256  # half of what a worker may take


async def test_a_glutton_in_every_place_leaves_half_of_a_workers_memory() -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "hostile", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        origin = (await server.stdout.readline()).decode().split()[1]
        poller = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.hostile.glutton",
            origin,
            ",".join(GLUTTONS),
            str(AT_ONCE),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, decisions = await poller.communicate()
    finally:
        server.terminate()
        await server.wait()
    refused = {line.split()[0]: line.split()[1] for line in decisions.decode().splitlines()}
    assert refused == {kind: KINDS[kind].end.error_code for kind in GLUTTONS if KINDS[kind].end.error_code}
    assert int(told) < MOST_MIB
