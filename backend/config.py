"""Every setting, with its unit and the reason it exists. Read once, passed on; nothing reads the environment itself."""

from __future__ import annotations

import base64
import binascii
import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self, cast
from urllib.parse import quote, urlsplit

from dotenv.parser import parse_stream
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.domain.database_url import asyncpg_query
from backend.domain.signing import secret_bytes
from backend.errors import BadInput, SetupProblem

ROOT = Path(__file__).resolve().parent.parent
FEWEST_DIFFERENT = 20  # bytes of a master key; of 32 random ones all but one in a billion have more
REDIS_SCHEMES = ("redis", "rediss")
BROKER_SCHEMES = (*REDIS_SCHEMES, "amqp", "amqps")
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
)
DEFAULT_PORTS = {"http": "80", "https": "443"}
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
LOGIN = re.compile(r"(?:[^:/@]*(?::[^@]*)?@)?")
HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?")


class Settings(BaseSettings):
    """Settings from the environment, then `.env.local`, then `.env` in the project's root folder."""

    model_config = SettingsConfigDict(
        env_file=(ROOT / ".env", ROOT / ".env.local"), env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    env: Literal["development", "production"] = Field(
        "development", description="development signs the local user in; production refuses to start without its keys."
    )
    database_url: str = Field(
        "sqlite+aiosqlite:///data/carts.db",
        repr=False,
        description=(
            "SQLite or PostgreSQL URL; plain forms (sqlite:///, postgresql://) are accepted. "
            "A relative SQLite path counts from the project's root."
        ),
    )
    auto_migrate: bool = Field(
        False, description="Bring an older PostgreSQL schema up to date at start. SQLite is always brought up to date."
    )
    master_key: str = Field(
        "",
        repr=False,
        description=(
            "32 bytes in base64 that wrap every data key. "
            "Unset on SQLite in development: a key file beside the database."
        ),
    )
    master_key_others: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        repr=False,
        description="Master keys that open what they wrapped, separated by commas, while one takes another's place.",
    )
    polling_interval: int = Field(30, ge=5, le=86_400, description="Seconds between two beats of the poll cycle.")
    external_api_url: str = Field(
        "", repr=False, description="Default destination of agents that have none of their own. Empty: none."
    )
    external_api_secret: str = Field(
        "", repr=False, description="Signing secret (whsec_...) of the default destination."
    )
    target_template_slug: str = Field(
        "ecommerce-abandoned-cart", description="Only agents made from this template are polled."
    )
    platforms: Annotated[tuple[str, ...], NoDecode] = Field(
        ("shopify", "woocommerce", "custom"),
        description="Shop systems that are polled, separated by commas. The mock platform needs no mention.",
    )
    outbound_allow_loopback: bool = Field(
        False, description="Let stores and destinations be on this machine (demo and tests). Refused in production."
    )
    outbound_allowed_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        (80, 443, 8080, 8443), description="Ports that stores and destinations may listen on, separated by commas."
    )
    outbound_denied_addresses: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description=(
            "Addresses and networks that stores and destinations may not have, beyond private ones, separated by "
            "commas: the installation's own public addresses where its machines do not carry them."
        ),
    )
    outbound_require_tls13: bool = Field(False, description="Refuse TLS 1.2 on outbound calls.")
    lease_seconds: float = Field(10.0, ge=0.5, le=300, description="A dead worker's work is picked up after this long.")
    poll_concurrency: int = Field(32, ge=1, le=256, description="Stores polled at the same time by one process.")
    delivery_concurrency: int = Field(
        128, ge=1, le=1_024, description="Destinations that one process works off at the same time."
    )
    destination_in_flight: int = Field(4, ge=1, le=256, description="Requests in the air to one destination at once.")
    delivery_deadline_seconds: float = Field(
        15.0, ge=1, le=60, description="Total time of one delivery, body included."
    )
    restore_guard_minutes: int = Field(
        60,
        ge=0,
        le=100_000,
        description=(
            "PostgreSQL: deliveries are held at a start after so many minutes without any worker, as the database may "
            "be a restored one. 0: never for that reason."
        ),
    )
    drain_seconds: float = Field(
        10.0, ge=0, le=120, description="Time that work in flight gets when the process is told to end."
    )
    safety_tick_seconds: float = Field(
        10.0, ge=0.5, le=300, description="A Celery worker looks at its lanes this often even if no message comes."
    )
    redis_url: str = Field(
        "",
        repr=False,
        description=(
            "Redis (redis:// or rediss://) for what processes share: rate budgets, Celery's messages. "
            "Empty and no REDIS_HOST: each process keeps its own."
        ),
    )
    redis_host: str = Field("", description="Redis in parts, where REDIS_URL is empty: its host.")
    redis_port: int = Field(6379, ge=1, le=65_535, description="Its port.")
    redis_password: str = Field("", repr=False, description="Its password; empty: none.")
    celery_broker_url: str = Field(
        "",
        repr=False,
        description="Broker of Celery's messages, for example RabbitMQ (amqp://). Empty: the Redis above.",
    )
    rate_limit_caller: int = Field(
        600, ge=0, le=1_000_000, description="Requests a minute that one key or person may make. 0: any number."
    )
    rate_limit_company: int = Field(
        3_000, ge=0, le=1_000_000, description="Requests a minute for one company, of all its callers. 0: any number."
    )
    rate_limit_anonymous: int = Field(
        120, ge=0, le=1_000_000, description="Failed sign-ins a minute from one address. 0: any number."
    )
    run_loops: bool = Field(True, description="Whether the web app also runs the background loops.")
    host: str = Field("127.0.0.1", description="Address the web app listens on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port the web app listens on.")
    max_connections: int = Field(
        512, ge=16, le=100_000, description="Connections of one web process; beyond it the slowest is closed."
    )
    request_head_seconds: float = Field(
        10.0, ge=0.1, le=600, description="Time that a client may take to send a request's first lines and headers."
    )
    request_body_seconds: float = Field(
        30.0, ge=0.1, le=3_600, description="Time that a client may take to send a body, or to take more of an answer."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call the API with a key, separated by commas. Empty: none."
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port on which a process without web serves /metrics. 0: none."
    )
    metrics_host: str = Field("127.0.0.1", description="Address for METRICS_PORT; no sign-in stands before it.")
    app_url: str = Field("http://localhost:8000", description="How people reach the console; used in links.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: coloured lines on a terminal, JSON otherwise."
    )
    debug_mode: bool = Field(False, description="Log at debug level. Never touches sign-in.")

    @field_validator("platforms", "master_key_others", "outbound_denied_addresses", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("outbound_allowed_ports", mode="before")
    @classmethod
    def _split_ports(cls, value: object) -> object:
        return tuple(int(part) for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        with_driver(self.database_url)
        if self.env == "production" and self.outbound_allow_loopback:
            raise ValueError("OUTBOUND_ALLOW_LOOPBACK is for the demo and tests; production refuses it")
        if self.env == "production" and self.is_sqlite:
            raise ValueError(
                "DATABASE_URL: production needs PostgreSQL, for example "
                "postgresql://carts:password@db.example.com/carts; SQLite is for one process in development"
            )
        _check_app_url(self.app_url, is_production=self.env == "production")
        check_server_url("REDIS_URL", self.redis_url, REDIS_SCHEMES)
        self._check_redis_parts()
        for origin in self.cors_origins:
            check_origin(origin, may_be_plain=self.env == "development")
        check_server_url("CELERY_BROKER_URL", self.celery_broker_url, BROKER_SCHEMES)
        self._check_default_destination()
        if self.master_key:
            read_master_key(self.master_key)
        for key in self.master_key_others:
            try:
                read_master_key(key)
            except ValueError:
                raise ValueError("MASTER_KEY_OTHERS: each must be 32 bytes in base64") from None
        return self

    def _check_redis_parts(self) -> None:
        """Refuse a host that is none, and a password that would go nowhere. Raises `ValueError`."""
        if self.redis_host and not HOST.fullmatch(self.redis_host):
            raise ValueError("REDIS_HOST: must be a host name or an address alone; a whole URL is REDIS_URL")
        if self.redis_password and not (self.redis_host or self.redis_url):
            raise ValueError("REDIS_PASSWORD needs REDIS_HOST")

    def _check_default_destination(self) -> None:
        """Refuse an address that is none, and a secret that nothing could be signed with. Raises `ValueError`."""
        check_server_url("EXTERNAL_API_URL", self.external_api_url, ("https", "http"))
        if self.external_api_url and not self.external_api_secret:
            raise ValueError(
                "EXTERNAL_API_URL needs EXTERNAL_API_SECRET (whsec_...), or its payloads could not be signed"
            )
        if self.external_api_secret:
            try:
                secret_bytes(self.external_api_secret)
            except BadInput as error:
                raise ValueError(f"EXTERNAL_API_SECRET: {error}") from None

    @cached_property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite."""
        return self.database_url.startswith("sqlite")

    @cached_property
    def async_database_url(self) -> str:
        """The database URL with its async driver and, for SQLite, an absolute path."""
        return with_driver(self.database_url)

    @cached_property
    def shared_redis_url(self) -> str:
        """Where the Redis is that processes share; empty when there is none. May hold a password: never log it."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        secret = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        return f"redis://{secret}{host}:{self.redis_port}/0"

    @cached_property
    def broker_url(self) -> str:
        """Where Celery's messages go; empty when nothing is set. May hold a password: never log it."""
        return self.celery_broker_url or self.shared_redis_url

    @cached_property
    def sqlite_path(self) -> Path:
        """Where the SQLite database lies."""
        return Path(self.async_database_url.partition(":///")[2].partition("?")[0])


def load_settings() -> Settings:
    """Return the settings of this process. Raises `SetupProblem` that names each variable and what is wrong with it."""
    for path in cast("tuple[Path, ...]", Settings.model_config["env_file"]):
        if path.is_file():
            _check_file(path)
    try:
        return Settings()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise SetupProblem("; ".join(_fault_in_words(fault["loc"], fault["msg"]) for fault in faults)) from None


def _check_file(path: Path) -> None:
    """Refuse a settings file that is no text, or has a line that would be passed over."""
    try:
        with path.open(encoding="utf-8") as file:
            faulty = [binding.original for binding in parse_stream(file) if binding.error]
    except UnicodeDecodeError:
        raise SetupProblem(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise SetupProblem(f"{path}: {error.strerror or 'cannot be read'}") from None
    if faulty:
        blank = len(faulty[0].string) - len(faulty[0].string.lstrip())
        line = faulty[0].line + faulty[0].string[:blank].count("\n")
        raise SetupProblem(f"{path}: line {line} is not NAME=value")


def _fault_in_words(where: tuple[int | str, ...], message: str) -> str:
    name = str(where[0]).upper() if where else ""
    words = message.removeprefix("Value error, ")
    return f"{name}: {words}" if name else words


def with_driver(url: str) -> str:
    """Return `url` with the async driver named and a relative SQLite path made absolute. Raises `ValueError`."""
    scheme, _, rest = url.partition("://")
    if scheme in {"postgres", "postgresql", "postgresql+asyncpg"}:
        if not HOST_AND_PORT.fullmatch(re.split("[/?]", rest.partition("@")[2] or rest)[0]):
            raise ValueError("DATABASE_URL: the port is no number")  # what stands there may belong to a password
        login = cast("re.Match[str]", LOGIN.match(rest))[0]  # a password may hold a question mark
        place, question, query = rest.removeprefix(login).partition("?")
        return f"postgresql+asyncpg://{login}{place}{question}{asyncpg_query(query)}"
    if scheme in {"sqlite", "sqlite+aiosqlite"}:
        path, question, query = rest.removeprefix("/").partition("?")
        if not path or path == ":memory:":
            raise ValueError("DATABASE_URL: an SQLite database needs a file, for example sqlite:///data/carts.db")
        return f"sqlite+aiosqlite:///{ROOT / path}{question}{query}"
    raise ValueError(f"DATABASE_URL: {scheme or 'no scheme'} is not supported; use sqlite:/// or postgresql://")


def _check_app_url(url: str, *, is_production: bool) -> None:
    """Refuse an address by which nobody reaches the console, or in production without TLS. Raises `ValueError`."""
    found = ORIGIN.fullmatch(url.rstrip("/").lower())
    if found is None:
        raise ValueError("APP_URL: scheme, host and port only, for example https://carts.example.com")
    if is_production and found["scheme"] == "http" and found["host"] not in LOOPBACK_HOSTS:
        raise ValueError("APP_URL: production needs https, as people's passwords and cookies travel there")


def check_server_url(name: str, url: str, schemes: tuple[str, ...]) -> None:
    """Refuse a URL of another scheme or without a host, without showing it. Raises `ValueError`."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken [address]
        usable = False
    if not usable:
        raise ValueError(f"{name}: must be {' or '.join(f'{scheme}://host:port' for scheme in schemes)}")


def check_origin(text: str, *, may_be_plain: bool) -> None:
    """Refuse what is not written as browsers write an origin, and plain http from elsewhere. Raises `ValueError`."""
    name = "CORS_ORIGINS"
    if "*" in text or text == "null":
        raise ValueError(f"{name}: {text} would let any page call; name each origin")
    found = ORIGIN.fullmatch(text)
    if not found or found["port"] == DEFAULT_PORTS[found["scheme"]] or int(found["port"] or 1) > 65_535:
        told = "must be as browsers write an origin: https://app.example.com, small letters, the port only if it is "
        raise ValueError(f"{name}: {told}not the usual one, nothing after it")
    if found["scheme"] == "http" and found["host"] not in LOOPBACK_HOSTS and not may_be_plain:
        raise ValueError(f"{name}: {text}: production takes https alone, but for this machine")


def read_master_key(text: str) -> bytes:
    """Return the 32 bytes of a base64 master key. Raises `ValueError` without showing it."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("MASTER_KEY is not base64") from None
    if len(key) != 32:
        raise ValueError(f"MASTER_KEY must be 32 bytes in base64, not {len(key)}")
    if len(set(key)) < FEWEST_DIFFERENT:
        raise ValueError("MASTER_KEY is not random: make one as .env.example says")
    return key
