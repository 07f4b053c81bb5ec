"""The names and promises that people outside know the product by."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

from backend import services
from backend.config import Settings
from backend.models import metadata

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("name", "deeds"),
    [
        ("AgentIntegrationPoller", ["start", "stop", "status", "run_once"]),
        ("AgentIntegrationService", ["list", "get", "create", "change", "remove"]),
        ("AbandonedCartAgentService", ["views", "plan", "write"]),
        ("IntegrationService", ["create", "verify", "pause", "resume", "rotate_credentials", "remove"]),
    ],
)
def test_the_named_classes_own_what_they_are_named_for(name: str, deeds: list[str]) -> None:
    owner = getattr(services, name)
    assert [deed for deed in deeds if not inspect.iscoroutinefunction(getattr(owner, deed, None))] == []


def test_agents_live_in_company_agents() -> None:
    assert {"company_id", "id", "template_slug", "status"} <= set(metadata.tables["company_agents"].c.keys())


def test_the_four_settings_have_their_documented_defaults() -> None:
    settings = Settings(_env_file=None)
    assert settings.polling_interval == 30
    assert settings.external_api_url == ""
    assert settings.target_template_slug == "ecommerce-abandoned-cart"
    assert settings.platforms == ("shopify", "woocommerce", "custom")


def test_python_is_the_only_language_on_the_server() -> None:
    kinds = {
        path.suffix for path in (ROOT / "backend").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert kinds <= {".py", ".html", ".css", ".js", ".svg"}
    scripts = [path for path in (ROOT / "backend").rglob("*.js") if path.parent.name != "static"]
    assert scripts == []


def test_branch_coverage_below_ninety_percent_fails_the_tests() -> None:
    report = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert report["run"]["branch"] is True
    assert report["report"]["fail_under"] >= 90


def test_types_are_strict_and_contributing_says_how() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert tools["mypy"]["strict"] is True
    assert "Conventional Commits" in guide


def test_the_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
