"""The demo's world: simulated stores and a partner as processes of their own, and the settings to poll them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from backend.config import Settings
from backend.domain.signing import make_secret
from backend.errors import SetupProblem
from backend.worker import LoopLock
from scripts.children import ROOT, Children, plain_environment
from scripts.demo_stock import SHOPS, Control, CustomShelf, Shelf, ShopifyShelf, Shoppers, WooCommerceShelf, new_numbers

FOLDER = ROOT / "data" / "demo"
TEMPLATE = ROOT / "dummy_data" / "demo.yaml"
INTERVAL = 5  # seconds; the shortest there is
PARTNER = "partner"
SERVERS = ("shopify", "woocommerce", "custom", PARTNER)
# The hooks of the partner that the stores' agents hand off to, and the setting that names each hook's secret.
HOOKS = {
    "northwind": "DEMO_NORTHWIND_SECRET",
    "reach": "DEMO_REACH_SECRET",
    "default": "EXTERNAL_API_SECRET",
}
CREDENTIALS = {
    "DEMO_HARBOR_US_TOKEN": "shpat_demo_harbor_us",
    "DEMO_HARBOR_EU_TOKEN": "shpat_demo_harbor_eu",
    "DEMO_WATTLE_KEY": "ck_key",
    "DEMO_WATTLE_SECRET": "cs_secret",
    "DEMO_BAZAAR_TOKEN": "token-bazaar",
}


@dataclass(slots=True)
class DemoWorld:
    """`settings` are those of the process that polls this world, `environment` the same as variables."""

    folder: Path
    children: Children
    http: aiohttp.ClientSession
    addresses: Mapping[str, str]
    secrets: Mapping[str, str]
    settings: Settings
    shoppers: Shoppers
    configuration: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Every setting as an environment variable, so that nothing of this shell's own or of .env gets in."""
        return {name.upper(): _as_variable(value) for name, value in self.settings}

    @property
    def process_environment(self) -> dict[str, str]:
        """What a process of the product needs: the settings, and what Python and the system need of this shell."""
        return {**plain_environment(), **self.environment}

    @property
    def credentials(self) -> dict[str, str]:
        """What `env:NAME` in the configuration stands for."""
        return {**CREDENTIALS, **self.secrets}

    @property
    def partner(self) -> Control:
        """The control routes of the partner."""
        return Control(self.http, self.addresses[PARTNER])


@asynccontextmanager
async def demo_world(folder: Path = FOLDER, *, keep: bool = False, **settings: Any) -> AsyncIterator[DemoWorld]:
    """Start the world below `folder`, anew unless `keep`; `settings` are added to the demo's own.

    Everything ends with the block. Raises `SetupProblem` when another demo uses the folder or a server does not start.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_held(folder))
        if not keep:
            _clear(folder)
        children = await stack.enter_async_context(Children(folder / "demo.log"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        memory = _Memory.of(folder)
        addresses = await _start_servers(children, memory)
        memory.save(folder, addresses)
        shelves = await _open_stores(http, addresses)
        for hook, name in HOOKS.items():
            secrets = {"name": hook, "secrets": [memory.secrets[name]]}
            await Control(http, addresses[PARTNER]).ask("POST", "/secrets", secrets)
        yield DemoWorld(
            folder=folder,
            children=children,
            http=http,
            addresses=addresses,
            secrets=memory.secrets,
            settings=_settings(folder, addresses, memory.secrets, settings),
            shoppers=Shoppers(shelves, random.Random()),  # noqa: S311  (no secret hangs on it)
            configuration=Template(TEMPLATE.read_text(encoding="utf-8")).substitute(addresses),
        )


@dataclass(slots=True)
class _Memory:
    """What a kept database needs again: the stores' ports, which are part of who they are, and the secrets."""

    ports: dict[str, int]
    secrets: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> _Memory:
        file = folder / "world.json"
        if file.exists():
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        return cls({}, {name: make_secret() for name in HOOKS.values()})

    def save(self, folder: Path, addresses: Mapping[str, str]) -> None:
        ports = {name: urlsplit(address).port for name, address in addresses.items()}
        file = folder / "world.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"ports": ports, "secrets": self.secrets}), encoding="utf-8")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder against other demos. Raises `SetupProblem` when one is there."""
    lock = LoopLock(folder / "demo-folder")
    if not lock.take():
        raise SetupProblem(f"another demo is running in {folder}: end it first, or give this one another --folder")
    try:
        yield
    finally:
        lock.release()


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left, and nothing else."""
    for pattern in ("demo.db", "demo.db-*", "demo.db.lock", "demo.key", "demo.log", "world.json"):
        for file in folder.glob(pattern):
            file.unlink()


async def _start_servers(children: Children, memory: _Memory) -> dict[str, str]:
    """Start the servers, each on the port it had or on a free one; return their addresses."""
    options = {name: ["--shops", "0"] for name in SERVERS} | {PARTNER: ["--keep-bodies", "12"]}
    starts = (
        children.simulator(name, name, "--port", str(memory.ports.get(name, 0)), *options[name]) for name in SERVERS
    )
    return dict(zip(SERVERS, await asyncio.gather(*starts), strict=True))


async def _open_stores(http: aiohttp.ClientSession, addresses: Mapping[str, str]) -> list[Shelf]:
    shopify, woo, custom = (Control(http, addresses[name]) for name in SERVERS[:3])
    shelves: list[Shelf] = []
    for prefix in ("harbor-us", "harbor-eu"):
        token = CREDENTIALS[f"DEMO_{prefix.replace('-', '_').upper()}_TOKEN"]
        shop = {"prefix": prefix, "token": token, "domain": f"{prefix}.myshopify.com", "name": prefix}
        await shopify.ask("POST", "/shops", shop | {"currency": SHOPS[prefix].currency})
        shelves.append(ShopifyShelf(shopify, prefix, SHOPS[prefix]))
    await woo.ask("POST", "/sites", {"prefix": "/wattle", "next_id": next(new_numbers())})
    shelves.append(WooCommerceShelf(woo, "wattle", SHOPS["wattle"]))
    await custom.ask("POST", "/tenants", {"name": "bazaar"})
    shelves.append(CustomShelf(custom, "bazaar", SHOPS["bazaar"]))
    return shelves


def _settings(
    folder: Path, addresses: Mapping[str, str], secrets: Mapping[str, str], more: Mapping[str, Any]
) -> Settings:
    values: dict[str, Any] = {name: entry.default for name, entry in Settings.model_fields.items()}
    values |= {
        "database_url": f"sqlite+aiosqlite:///{(folder / 'demo.db').resolve()}",
        "polling_interval": INTERVAL,
        "external_api_url": f"{addresses[PARTNER]}/hook/default",
        "external_api_secret": secrets["EXTERNAL_API_SECRET"],
        "outbound_allow_loopback": True,
        "log_format": "json",
    }
    return Settings(_env_file=None, **{**values, **more})


def _as_variable(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
