"""compose.yaml and the Dockerfile: every command that they name exists, and every lane has its worker."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import typer.main
import yaml

from backend.__main__ import app
from backend.config import ROOT, Settings
from backend.domain.lanes import LANE_NAMES

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
CELERY_COMMANDS = {"worker", "beat", "flower"}


def words(name: str) -> list[str]:
    """Return a service's command in words."""
    return shlex.split(SERVICES[name]["command"])


def test_every_lane_has_one_worker() -> None:
    queues = [words(name)[-1] for name in OURS if words(name)[:4] == ["celery", "-A", "backend.celery_app", "worker"]]
    assert sorted(queues) == sorted(LANE_NAMES)


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    said = words(name)
    if said[0] == "celery":
        assert (said[1:3], said[3] in CELERY_COMMANDS) == (["-A", "backend.celery_app"], True)
    elif said[:3] == ["python", "-m", "backend"]:
        group = typer.main.get_command(app)
        assert said[3] in getattr(group, "commands", {})
    else:
        assert said[:2] == ["python", "-m"]
        assert (ROOT / said[2].replace(".", "/")).with_suffix(".py").is_file()


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_told_settings_that_exist(name: str) -> None:
    given: Mapping[str, str] = SERVICES[name]["environment"]
    assert set(given) <= {field.upper() for field in Settings.model_fields}


def test_beat_runs_once_and_only_the_web_app_is_reached_without_docker() -> None:
    assert [name for name in OURS if words(name)[-1] == "beat"] == ["beat"]
    assert [name for name in OURS if SERVICES[name].get("network_mode") == "host"] == ["web"]


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_secrets_have_no_default() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for name in ("MASTER_KEY", "POSTGRES_PASSWORD"):
        assert f"${{{name}:?" in text
        assert f"${{{name}:-" not in text


def test_the_image_holds_what_the_commands_need_and_no_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word.removeprefix("./") for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert {"app.py", "backend", "migrations", "alembic.ini", "scripts", "requirements.txt"} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "USER carts" in lines


@pytest.mark.parametrize("script", ["fleet_database.sh", "start_fleet_servers.sh"])
def test_a_script_of_the_fleet_is_valid_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
