"""The configuration file: its shape, its secrets, and faults with their lines."""

from __future__ import annotations

import pytest

from backend.domain.configuration import FaultyConfiguration, read_configuration

HEAD = "companies:\n  - name: Acme\n    agents:\n      - name: Recovery\n"
STORE = "        integrations:\n          - {platform: custom, name: main, base_url: https://a.example%s}\n"
PARTNER = "        destinations:\n          - {name: partner, url: https://p.example%s}\n"


def faults(text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(FaultyConfiguration) as refused:
        read_configuration(text, environment or {})
    return [str(fault) for fault in refused.value.faults]


def test_a_platforms_own_keys_are_its_settings() -> None:
    read = read_configuration(HEAD + STORE % ", options: {page_size: 5}", {})
    entry = read.content.companies[0].agents[0].integrations[0]
    assert entry.settings == {"base_url": "https://a.example", "options": {"page_size": 5}}


def test_secrets_come_from_the_environment() -> None:
    text = HEAD + STORE % ", credentials: {token: env:TOKEN}" + PARTNER % ", secret: env:HOOK"
    entry = read_configuration(text, {"TOKEN": "t-1", "HOOK": "whsec_x"}).content.companies[0].agents[0]
    assert (entry.integrations[0].credentials, entry.destinations[0].secret) == ({"token": "t-1"}, "whsec_x")


def test_only_secrets_come_from_the_environment() -> None:
    read = read_configuration(HEAD + STORE % ", shop: env:SHOP", {"SHOP": "acme"})
    assert read.content.companies[0].agents[0].integrations[0].settings["shop"] == "env:SHOP"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "        colour: red\n", [("line 5: companies[0].agents[0].colour is not a known key; known here: "
                                          "name, template_slug, status, abandonment_threshold_minutes, "
                                          "recovery_horizon_days, integrations, destinations")]),
        (HEAD + "        statsu: active\n",
         ["line 5: companies[0].agents[0].statsu is not a known key; did you mean status?"]),
        ("company: []\n", ["line 1: companies: is missing",
                           "line 1: company is not a known key; did you mean companies?"]),
        (HEAD + "        status: asleep\n",
         ["line 5: companies[0].agents[0].status: Input should be 'active' or 'inactive'"]),
        (HEAD + "        abandonment_threshold_minutes: '30'\n",
         ["line 5: companies[0].agents[0].abandonment_threshold_minutes: must be a whole number"]),
        (HEAD + "        recovery_horizon_days: 0\n", [("line 5: companies[0].agents[0].recovery_horizon_days: "
                                                       "Input should be greater than or equal to 1")]),
        ("companies:\n  - name: 7\n",
         ["line 2: companies[0].name: must be a text, in quotes where it looks like a number"]),
        ("companies:\n", ["line 1: companies: must be a list"]),
        ("companies:\n  - Acme\n", ["line 2: companies[0]: must be a table of keys and values"]),
        ("", ["line 1: the file must begin with companies:"]),
        ("- name: Acme\n", ["line 1: the file must begin with companies:"]),
        (HEAD + "      - name: Recovery\n", ["line 5: the name 'Recovery' is there already"]),
        (HEAD + "        name: Twice\n", ["line 5: the key name is given twice"]),
        (HEAD + STORE % ", credentials: {token: env:NOPE}", ["line 6: the environment has no NOPE"]),
        (HEAD + PARTNER % ", secret: env:NOPE", ["line 6: the environment has no NOPE"]),
        (HEAD + PARTNER % ", max_carts_per_payload: 101", [
            ("line 6: companies[0].agents[0].destinations[0].max_carts_per_payload: "
            "Input should be less than or equal to 100")]),
    ],
)  # fmt: skip
def test_a_fault_has_its_line_and_says_what_to_do(text: str, told: list[str]) -> None:
    assert faults(text) == told


def test_an_empty_variable_is_no_secret() -> None:
    assert faults(HEAD + PARTNER % ", secret: env:HOOK", {"HOOK": ""}) == ["line 6: the environment has no HOOK"]


def test_all_faults_are_told_at_once() -> None:
    text = HEAD + "        colour: red\n" + PARTNER % ", secret: env:NOPE" + "        statsu: x\n"
    assert [fault.partition(":")[0] for fault in faults(text)] == ["line 5", "line 7", "line 8"]


def test_a_secret_is_not_quoted_in_a_fault() -> None:
    text = HEAD + PARTNER % ", secret: [very-secret]"
    assert "very-secret" not in "".join(faults(text))
