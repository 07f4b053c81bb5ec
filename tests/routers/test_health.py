"""Health, as a load balancer asks for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backend.config import Settings
from backend.main import create_app
from tests.routers.conftest import Web, local_client


async def test_health_needs_no_sign_in(web: Web) -> None:
    answer = await web.client.get("/api/health", headers={"X-Forwarded-For": "203.0.113.7"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/api/health", "/polling/status"])
async def test_a_database_that_is_gone_is_told_as_such(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "data"
    app = create_app(Settings(_env_file=None, database_url=f"sqlite:///{folder}/carts.db", run_loops=False))
    async with app.router.lifespan_context(app), local_client(app) as client:
        await app.state.services.database.close()
        shutil.rmtree(folder)
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#problem-unavailable")
