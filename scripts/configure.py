"""Apply a configuration inside a running command: all of it, or an error that says what was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backend.domain.acting import AS_COMMAND, acting_as
from backend.domain.configuration import FaultyConfiguration
from backend.errors import SetupProblem
from backend.services.configuration import ConfigurationService
from backend.services.wiring import Services


def read_file(path: Path) -> str:
    """Return the text of a configuration file. Raises `SetupProblem`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupProblem(f"{path}: {error.strerror or 'cannot be read'}") from error
    except UnicodeDecodeError as error:
        raise SetupProblem(f"{path}: is not UTF-8 text") from error


async def configure(services: Services, text: str, environment: Mapping[str, str], source: str) -> int:
    """Bring the installation to what `text` says; return how many companies it changed.

    `source` names the text in messages. Raises `SetupProblem` with a line per fault. A missing signing secret is a
    fault here: only `scripts/apply_config.py` on a terminal can show one that it makes.
    """
    service = ConfigurationService(
        services.database, services.clock, services.settings, services.keyring, services.http
    )
    try:
        plan = await service.plan(text, environment)
    except FaultyConfiguration as faulty:
        lines = [f"{source}: {fault}" for fault in faulty.faults]
        raise SetupProblem("\n".join([*lines, "nothing was changed"])) from faulty
    with acting_as(AS_COMMAND):
        applied = await service.apply(plan)
    if applied.failed:
        raise SetupProblem("\n".join(f"{source}: {name} was left as it was: {why}" for name, why in applied.failed))
    return len(applied.companies)
