"""The SQLite file holds shoppers' addresses: nobody else on the machine may read it."""

from __future__ import annotations

import stat
from pathlib import Path

from backend.config import Settings
from backend.db import prepare_database


async def test_a_new_database_file_is_its_owners_alone(tmp_path: Path) -> None:
    await prepare_database(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/data/carts.db"))
    assert stat.S_IMODE((tmp_path / "data/carts.db").stat().st_mode) == 0o600
