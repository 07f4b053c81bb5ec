"""The settings: what .env.example says of them, where they are read from, and how faults in them are told."""

from __future__ import annotations

import base64
import itertools
from ipaddress import ip_network
from pathlib import Path

import pytest
from dotenv import dotenv_values

from backend.config import ROOT, Settings, load_settings, with_driver
from backend.domain.signing import make_secret
from backend.errors import SetupProblem

EXAMPLE = ROOT / ".env.example"
FIELDS = {name.upper(): field for name, field in Settings.model_fields.items()}
GOOD_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the settings files be read from an empty folder."""
    monkeypatch.setitem(Settings.model_config, "env_file", (tmp_path / ".env", tmp_path / ".env.local"))
    return tmp_path


SIGNING = make_secret()


def fault(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """Return what is said of these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupProblem) as caught:
        load_settings()
    return str(caught.value)


def test_the_example_lists_every_setting_and_no_other() -> None:
    assert sorted(dotenv_values(EXAMPLE)) == sorted(FIELDS)


def test_the_example_holds_the_defaults() -> None:
    copied, plain = Settings(_env_file=EXAMPLE), Settings(_env_file=None)
    assert copied.model_dump() == plain.model_dump()


def test_every_setting_of_the_example_has_its_reason_above_it() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if line and not line.startswith("#") and not above.startswith("# ")
    ]
    assert bare == []


def test_every_setting_has_its_reason_in_the_code() -> None:
    assert [name for name, field in FIELDS.items() if not field.description] == []


@pytest.mark.parametrize("name", [".env", ".env.local"])
def test_settings_are_read_from_a_file_in_the_root(root: Path, name: str) -> None:
    (root / name).write_text("POLLING_INTERVAL=77\n", encoding="utf-8")
    assert load_settings().polling_interval == 77


def test_the_files_are_looked_for_in_the_projects_root() -> None:
    assert Settings.model_config["env_file"] == (ROOT / ".env", ROOT / ".env.local")


def test_the_local_file_wins_over_the_other(root: Path) -> None:
    (root / ".env").write_text("POLLING_INTERVAL=77\nLOG_LEVEL=error\n", encoding="utf-8")
    (root / ".env.local").write_text("POLLING_INTERVAL=88\n", encoding="utf-8")
    found = load_settings()
    assert (found.polling_interval, found.log_level) == (88, "error")


def test_the_environment_wins_over_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".env.local").write_text("POLLING_INTERVAL=88\n", encoding="utf-8")
    monkeypatch.setenv("POLLING_INTERVAL", "99")
    assert load_settings().polling_interval == 99


def test_lists_are_separated_by_commas(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMS", "shopify, custom")
    monkeypatch.setenv("OUTBOUND_ALLOWED_PORTS", "443, 9443")
    found = load_settings()
    assert (found.platforms, found.outbound_allowed_ports) == (("shopify", "custom"), (443, 9443))


def test_denied_addresses_are_addresses_and_networks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_DENIED_ADDRESSES", "8.8.8.8, 2606:4700::/32")
    assert load_settings().outbound_denied_addresses == (ip_network("8.8.8.8/32"), ip_network("2606:4700::/32"))


def test_a_denied_address_that_is_none_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OUTBOUND_DENIED_ADDRESSES" in fault(monkeypatch, OUTBOUND_DENIED_ADDRESSES="shop.example")


def test_the_documented_defaults_hold() -> None:
    found = Settings(_env_file=None)
    assert (found.polling_interval, found.target_template_slug) == (30, "ecommerce-abandoned-cart")
    assert (found.platforms, found.external_api_url) == (("shopify", "woocommerce", "custom"), "")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgresql://u:p@db/carts", "postgresql+asyncpg://u:p@db/carts"),
        ("postgres://u@db/carts", "postgresql+asyncpg://u@db/carts"),
        ("postgresql+asyncpg://u@/carts?host=/run", "postgresql+asyncpg://u@/carts?host=/run"),
        ("postgresql://u:p/?:x@[::1]:5433/carts", "postgresql+asyncpg://u:p/?:x@[::1]:5433/carts"),
        ("postgresql://u:p/?sslmode=x@db/carts", "postgresql+asyncpg://u:p/?sslmode=x@db/carts"),
        ("postgresql://db/carts?ssl=require", "postgresql+asyncpg://db/carts?ssl=require"),
        ("sqlite:///data/a.db", f"sqlite+aiosqlite:///{ROOT}/data/a.db"),
        ("sqlite+aiosqlite:////var/lib/a.db", "sqlite+aiosqlite:////var/lib/a.db"),
        ("sqlite:///a.db?timeout=5", f"sqlite+aiosqlite:///{ROOT}/a.db?timeout=5"),
    ],
)
def test_plain_database_urls_get_their_driver(given: str, meant: str) -> None:
    assert with_driver(given) == meant


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u@db/carts", "mysql is not supported; use sqlite:/// or postgresql://"),
        ("carts.db", "is not supported; use sqlite:/// or postgresql://"),
        ("postgresql://u:p@db:many/carts", "the port is no number"),
        ("postgresql://u:p@db/carts?sslmode=always", "sslmode is one of disable, allow, prefer, require, verify-ca, "),
        ("postgresql://u:p@db/carts?connect_timeout=3", "behind the ? may stand command_timeout, dsn, host, "),
        ("sqlite://", "an SQLite database needs a file"),
        ("sqlite:///:memory:", "an SQLite database needs a file"),
    ],
)
def test_a_database_url_that_cannot_be_used_says_what_can(
    root: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    said = fault(monkeypatch, DATABASE_URL=url)
    assert "DATABASE_URL" in said
    assert words in said


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("no base64!", "MASTER_KEY is not base64"),
        ("c2hvcnQ=", "must be 32 bytes in base64, not 5"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "MASTER_KEY is not random"),
        ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "MASTER_KEY is not random"),
    ],
)
def test_a_master_key_that_does_not_hold_is_refused_without_being_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch, key: str, words: str
) -> None:
    said = fault(monkeypatch, MASTER_KEY=key)
    assert words in said
    assert key not in said


def test_a_good_master_key_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_KEY", GOOD_KEY)
    assert load_settings().master_key == GOOD_KEY


def test_production_refuses_stores_on_this_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "production refuses it" in fault(monkeypatch, ENV="production", OUTBOUND_ALLOW_LOOPBACK="true")


def test_production_refuses_sqlite_and_says_what_to_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fault(monkeypatch, ENV="production", MASTER_KEY=GOOD_KEY)
    assert "DATABASE_URL: production needs PostgreSQL, for example postgresql://" in said


@pytest.mark.parametrize(
    ("variables", "redis", "broker"),
    [
        ({}, "", ""),
        ({"REDIS_URL": "redis://a:1/2"}, "redis://a:1/2", "redis://a:1/2"),
        ({"REDIS_HOST": "a"}, "redis://a:6379/0", "redis://a:6379/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "7000"}, "redis://[::1]:7000/0", "redis://[::1]:7000/0"),
        ({"REDIS_HOST": "a", "REDIS_PASSWORD": "p/@"}, "redis://:p%2F%40@a:6379/0", "redis://:p%2F%40@a:6379/0"),
        ({"REDIS_URL": "rediss://b:1/0", "REDIS_HOST": "a"}, "rediss://b:1/0", "rediss://b:1/0"),
        ({"CELERY_BROKER_URL": "amqp://u:p@mq:5672/v"}, "", "amqp://u:p@mq:5672/v"),
        ({"REDIS_HOST": "a", "CELERY_BROKER_URL": "amqps://mq"}, "redis://a:6379/0", "amqps://mq"),
    ],
)
def test_redis_and_the_broker_are_named_by_url_or_in_parts(
    root: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], redis: str, broker: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = load_settings()
    assert (found.shared_redis_url, found.broker_url) == (redis, broker)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", "http://secret@host"),
        ("REDIS_URL", "redis:///0?secret"),
        ("REDIS_URL", "redis://secret:many"),
        ("REDIS_URL", "amqp://secret@host"),
        ("CELERY_BROKER_URL", "memory://secret"),
        ("CELERY_BROKER_URL", "secret"),
    ],
)
def test_a_server_of_another_kind_is_refused_without_being_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    said = fault(monkeypatch, **{name: url})
    assert said.startswith(f"{name}: must be redis://host:port")
    assert "secret" not in said


def test_a_default_destination_needs_its_secret(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "EXTERNAL_API_SECRET" in fault(monkeypatch, EXTERNAL_API_URL="https://partner.example/hook")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EXTERNAL_API_SECRET": "hunter2"}, "EXTERNAL_API_SECRET: the signing secret is not 24 to 64 bytes"),
        ({"EXTERNAL_API_URL": "foo", "EXTERNAL_API_SECRET": SIGNING}, "EXTERNAL_API_URL: must be https://host:port"),
        ({"REDIS_HOST": "a b"}, "REDIS_HOST: must be a host name"),
        ({"REDIS_HOST": "redis://x"}, "REDIS_HOST: must be a host name"),
        ({"REDIS_PASSWORD": "hunter2"}, "REDIS_PASSWORD needs REDIS_HOST"),
    ],
)
def test_what_could_not_work_is_refused_without_being_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    said = fault(monkeypatch, **variables)
    assert (said.startswith(words), "hunter2" in said) == (True, False), said


@pytest.mark.parametrize(
    ("name", "value"), [("POLLING_INTERVAL", "4"), ("PORT", "70000"), ("LOG_LEVEL", "loud"), ("LEASE_SECONDS", "soon")]
)
def test_a_value_out_of_bounds_names_its_variable(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert fault(monkeypatch, **{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PORT=8000\n\xff\xfe\x00", "is not UTF-8 text"),
        (b"PORT=8000\n\n= what\n", "line 3 is not NAME=value"),
        (b"LOG_LEVEL='info\n", "line 1 is not NAME=value"),
    ],
    ids=["bytes", "no name", "open quote"],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    (root / ".env").write_bytes(content)
    assert fault(monkeypatch) == f"{root / '.env'}: {words}"


def test_a_folder_of_that_name_is_no_settings_file(root: Path) -> None:
    (root / ".env").mkdir()
    assert load_settings().port == 8000


def test_all_faults_are_told_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fault(monkeypatch, POLLING_INTERVAL="4", PORT="0")
    assert "POLLING_INTERVAL" in said
    assert "PORT" in said


@pytest.mark.parametrize(
    "url",
    ["not a url", "javascript:alert(1)", "https://carts.example.com/base", "https://", "http://carts.example.com"],
)
def test_an_app_url_that_leads_nowhere_safe_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    said = fault(monkeypatch, APP_URL=url, ENV="production", DATABASE_URL="postgresql://db/carts")
    assert "APP_URL" in said
