"""The operations page and the alert rules speak of metrics that exist, and of all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.health import Kind
from backend.services.exposition import Exposition
from backend.services.metrics import Metrics

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "operations.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DOCS / "alert-rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ROW = re.compile(r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.*?) \|", re.MULTILINE)
USED = re.compile(r"\b(?:cart|process)_\w+")
Known = Mapping[str, tuple[str, frozenset[str]]]


@pytest.fixture
async def known(tmp_path: Path) -> Known:
    """Return type and labels of every metric of the registry, by the name it is shown under."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/never-read.db")
    database = Database(settings)
    families = list(Exposition(settings, database, Clock(), Metrics()).families())
    await database.close()
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type, frozenset(getattr(family, "_labelnames", ())),
        )
        for family in families
    }  # fmt: skip


def test_the_page_lists_every_metric_with_its_type_and_labels(known: Known) -> None:
    listed = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE)}
    assert listed == known


@pytest.mark.parametrize("kind", ["Business", "Technical", "Infrastructure", "Custom events"])
def test_every_kind_of_metric_has_some(kind: str) -> None:
    section = PAGE.partition(f"### {kind}\n")[2].partition("\n#")[0]
    assert len(ROW.findall(section)) >= 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_that_exist(rule: dict[str, Any], known: Known) -> None:
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in USED.findall(rule["expr"])}
    assert used
    assert used <= set(known)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_s_section_says_what_to_do(rule: dict[str, Any]) -> None:
    section = PAGE.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert len(section.split()) > 10
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in {"warning", "critical"}


def test_a_rule_tells_that_a_poll_has_not_advanced() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "PollHasNotAdvanced"]
    assert 'cart_alerts_open{kind="not_advancing"}' in rule["expr"]


def test_every_kind_of_alert_has_a_rule() -> None:
    named = {
        kind
        for rule in RULES
        for kinds in re.findall(r'kind=~?"([^"]*)"', rule["expr"])
        for kind in kinds.split("|")
    }  # fmt: skip
    assert named == set(Kind)
