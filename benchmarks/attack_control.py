"""An application with faults in it, as a process of its own: the attacks over HTTP must find each of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from benchmarks.chaos_processes import free_port
from benchmarks.servers import ROOT, die_with_parent

FAULTS = 3  # kinds
LEAK = 200_000  # bytes of one request
KEPT: list[bytes] = []
START_LIMIT = 30.0  # seconds


class Thing(BaseModel):
    """What the broken routes take."""

    name: str
    count: int = 1


app = FastAPI(title="An application with faults")


@app.post("/raises")
async def raise_on_long_names(thing: Thing) -> Thing:
    """Break down for some names only."""
    if len(thing.name) > 3:
        raise RuntimeError("a fault")
    return thing


@app.get("/says-otherwise", response_model=Thing)
async def answer_otherwise() -> Response:
    """Answer with another shape than the document says."""
    return JSONResponse({"name": 7})


@app.get("/not-told")
async def answer_with_what_is_not_told(number: int = 0) -> Response:
    """Answer with a status that the document does not tell of."""
    return JSONResponse({}, status_code=418 if number else 200)


@app.post("/takes-anything")
async def take_anything(request: Request) -> Response:
    """Read what is sent as JSON without looking whether it is."""
    return JSONResponse(json.loads(await request.body()))


@app.post("/keeps")
async def keep_something(thing: Thing) -> Thing:
    """Keep something of every body for good."""
    KEPT.append(bytes(LEAK))
    return thing


@contextmanager
def served() -> Iterator[tuple[str, Any, int]]:
    """Yield the application's URL, its document and its process id while it runs."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.attack_control", str(port)], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,  # noqa: PLW1509  as there
    )  # fmt: skip
    try:
        yield url, _document(url, time.monotonic() + START_LIMIT), process.pid
    finally:
        process.terminate()
        process.wait(timeout=START_LIMIT)


def _document(url: str, deadline: float) -> Any:
    while True:
        try:
            with urllib.request.urlopen(f"{url}/openapi.json", timeout=5) as answer:  # noqa: S310  loopback only
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
