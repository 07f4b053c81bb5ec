"""The written pages keep their word: links lead somewhere, commands exist, and the example file can be applied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.config import ROOT
from backend.domain.configuration import read_configuration

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PRINTED = (
    "cd backend", "python -m uvicorn main:app --port 8000 --reload",
    'curl -X POST "http://localhost:8000/polling/start-abandoned-cart?interval=60"',
    'curl "http://localhost:8000/polling/status"',
    'curl -X POST "http://localhost:8000/polling/abandoned-cart/test-once"',
    'curl -X POST "http://localhost:8000/polling/stop"',
    "python test_abandoned_cart_api.py", "python test_polling_abandoned_cart.py",
    "python test_enhanced_abandoned_cart.py", "python run_abandoned_cart_polling.py",
)  # fmt: skip


def rows() -> dict[str, str]:
    """Return the README's table of printed commands: what was printed, and where it is here."""
    table = README.partition("| Printed | Here |")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {line[0]: line[1] for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("command", PRINTED)
def test_every_printed_command_is_mapped_to_one_that_is_there(command: str) -> None:
    here = [here for printed, here in rows().items() if f"`{command}`" in printed]
    assert len(here) == 1
    assert here[0] != "planned"


def test_every_script_that_the_readme_names_is_there_unless_it_is_planned() -> None:
    kept = [here for here in rows().values() if not here.startswith("planned")]
    text = README.partition("## Commands")[0] + "\n".join(kept)
    named = set(re.findall(r"(?<![\w/])(?:scripts/)?[a-z_]+\.py\b", text)) - {"main.py"}
    missing = [name for name in named if not any((ROOT / folder / name).is_file() for folder in ("", "scripts"))]
    assert missing == []


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))}
    assert sorted(named - targets) == []


def test_the_readmes_configuration_has_the_right_shape() -> None:
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found
    names = re.findall(r"env:([A-Z_]+)", found[1])
    read = read_configuration(found[1], dict.fromkeys(names, "value"))
    assert [company.name for company in read.content.companies] == ["Acme"]


def test_every_setting_that_the_readme_names_is_one() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", README))
    assert [name for name in sorted(named) if not re.search(rf"(?m)^{name}=", example)] == []
