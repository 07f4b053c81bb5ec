"""What is done with the product so that its secrets get everywhere they can get to, and what it answered meanwhile."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from benchmarks.attack_secrets_search import Canary, secret, word
from simulator.base import Simulator
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator
from simulator.shopify import ShopifySimulator
from simulator.woocommerce import ApiKey, WooCommerceSimulator

# A shopper's data belong into these places; their names into no log and no list.
CARTS = ("table: customers.", "table: deliveries.body", "file: ", "api: GET /api/v1/companies/*/carts/*")
PERSONAL = (*CARTS, "api: GET /api/v1/companies/*/deliveries/*", "page: /carts/*", "page: /deliveries/*")
# A partner's address is told to those who set it up; it is no sealed field.
ADDRESS = ("table: destinations.url", "file: ", "api: GET /api/v1/companies/*/destinations", "answer: destinations")
# Which server knows which secret, and sends it back.
KNOWS = {
    "custom token": "custom", "shopify token": "shopify", "woo key": "woocommerce", "woo secret": "woocommerce",
    "signing secret": "partner", "second secret": "partner",
}  # fmt: skip
HEX = "0123456789abcdef"
PAGES = ("/", "/console/live", "/console/hold", "/docs", "/carts", "/deliveries", "/openapi.json", "/metrics")
IDS = {
    "agents": "agent_id", "integrations": "integration_id", "destinations": "destination_id", "carts": "cart_id",
    "deliveries": "delivery_id", "keys": "key_id", "cycles": "cycle_id",
}  # fmt: skip


@dataclass(slots=True)
class Canaries:
    """The secrets of one run."""

    chance: random.Random
    all: list[Canary] = field(default_factory=list)

    def add(self, name: str, value: str, *, allowed: tuple[str, ...] = (), raw: bytes | None = None) -> str:
        """Keep a canary; return its value."""
        self.all.append(Canary(name, value, allowed, raw))
        return value

    def word(self, name: str, prefix: str = "", *, allowed: tuple[str, ...] = ()) -> str:
        """Make one of letters and digits, behind a prefix that says what it is."""
        return self.add(name, prefix + word(self.chance), allowed=allowed)

    def digits(self, name: str, prefix: str, length: int = 40, *, of: str = HEX, allowed: tuple[str, ...] = ()) -> str:
        """Make one as generated keys look."""
        return self.add(name, prefix + "".join(self.chance.choices(of, k=length)), allowed=allowed)

    def signing(self, name: str) -> str:
        """Make a signing secret."""
        value, raw = secret(self.chance)
        return self.add(name, value, raw=raw)


@dataclass(slots=True)
class World:
    """The stores and the partner, with the canaries that they know."""

    canaries: Canaries
    custom: CustomSimulator
    shopify: ShopifySimulator
    woo: WooCommerceSimulator
    partner: PartnerSimulator
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> tuple[Simulator, ...]:
        """Every simulated store."""
        return (self.custom, self.shopify, self.woo)

    def echo(self, servers: Iterable[Simulator], kind: str, **options: Any) -> None:
        """Let servers answer with the secrets that they know, in body and headers, until `clear`."""
        for server in servers:
            known = {name: value for name, value in self.secrets.items() if KNOWS[name] == server.name}
            said = json.dumps(known)
            headers = {"X-Echo": said, "Location": f"http://127.0.0.1:1/?{next(iter(known.values()))}"}
            server.inject(kind, times=1_000, body=f"<html>{said}</html>", headers=headers, **options)

    def clear(self) -> None:
        """Let them answer as they should."""
        for server in (*self.stores, self.partner):
            server.faults.clear()

    def shop(self, number: int) -> None:
        """Let a shopper leave a cart in every store, more than a minute ago."""
        at, canaries = datetime.now(UTC) - timedelta(seconds=70), self.canaries
        person = {
            "email": canaries.word("shopper's e-mail", "ada.", allowed=PERSONAL) + "@example.com",
            "phone": canaries.digits("shopper's phone", "+49151", 11, of="123456789", allowed=PERSONAL),
            "first": canaries.word("shopper's name", "A", allowed=PERSONAL),
        }
        self.custom.add_cart("s0", f"c{number}", at, customer=person)
        self.custom.add_cart("s0", f"unreadable-{number}", at, customer=person, total=["no", person])
        self.shopify.shop(0).add_cart(updated_at=at, email=person["email"], phone=person["phone"])
        billing = {"first_name": person["first"], "email": person["email"], "phone": person["phone"]}
        self.woo.sites["/s0"].add(at=at, total="12.00", billing=billing)


@asynccontextmanager
async def opened(canaries: Canaries) -> AsyncIterator[World]:
    """Open the stores and the partner."""
    known = {
        "custom token": canaries.word("token of a custom store"),
        "shopify token": canaries.digits("token of a Shopify store", "shpat_", 32),
        "woo key": canaries.digits("key of a WooCommerce store", "ck_"),
        "woo secret": canaries.digits("secret of a WooCommerce store", "cs_"),
        "signing secret": canaries.signing("signing secret of a destination"),
    }
    world = World(
        canaries, CustomSimulator(), ShopifySimulator(shops=0), WooCommerceSimulator(), PartnerSimulator(), known
    )
    world.custom.add_tenant("s0", token=known["custom token"])
    world.shopify.add_shop("s0", token=known["shopify token"])
    keys = {known["woo key"]: ApiKey(known["woo secret"])}
    world.woo.add_site("/s0", hold_stock_minutes=None, deletes_drafts=False, keys=keys)
    world.partner.register("p", [known["signing secret"]])
    async with AsyncExitStack() as stack:
        for server in (*world.stores, world.partner):
            await stack.enter_async_context(server.running())
        yield world


@dataclass(slots=True)
class Story:
    """One service, from an empty database on. `answers` are (place, body) of everything it said."""

    world: World
    client: httpx.AsyncClient
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    company: str = ""
    ids: dict[str, set[str]] = field(default_factory=dict)

    async def ask(self, method: str, path: str, place: str = "", *, tells: bool = True, **more: Any) -> httpx.Response:
        """Ask, and keep the answer under a place's name unless it is there to tell a secret once."""
        answer = await self.client.request(method, path, timeout=90, **more)
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        said = b"\n".join(f"{name}: {value}".encode() for name, value in answer.headers.items())
        if tells:
            self.answers.append((place or f"answer: {method} {path}", said + b"\n\n" + answer.content))
        return answer

    async def made(self, what: str, body: Mapping[str, Any], *, tells: bool = True) -> dict[str, Any]:
        """Make something of the company. Raises `RuntimeError` when it is refused."""
        path = f"/api/v1/companies/{self.company}/{what}"
        answer = await self.ask("POST", path, f"answer: {what}", tells=tells, json=body)
        if answer.status_code != 201:
            raise RuntimeError(f"{what}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def set_up(self) -> None:
        """Connect everything over the API."""
        world, known, canaries = self.world, self.world.secrets, self.world.canaries
        self.company = (await self.ask("POST", "/api/v1/companies", json={"name": "Acme"})).json()["id"]
        agent = (await self.made("agents", {"name": "Recovery agent", "abandonment_threshold_minutes": 1}))["id"]
        shared = {"agent_id": agent}
        for platform, settings, credentials in self.stores():
            store = {"name": platform, "platform": platform, "settings": settings, "credentials": credentials}
            await self.made("integrations", {**shared, **store})
        token = canaries.word("token in a partner's address", allowed=ADDRESS)
        url = f"{world.partner.base_url}/hook/p?token={token}"
        body = {"name": "partner", "url": url, "secret": known["signing secret"], "max_carts_per_payload": 1}
        await self.made("destinations", {**shared, **body})
        made = await self.made("destinations", {**shared, "name": "other", "url": f"{url}2"}, tells=False)
        canaries.add("signing secret that was made here", made["secret"])
        world.partner.register("p", [known["signing secret"], made["secret"]])
        key = await self.made("keys", {"name": "program", "role": "owner"}, tells=False)
        canaries.add("API key", key["key"])

    def stores(self) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
        """Yield platform, settings and credentials of each store."""
        world, known = self.world, self.world.secrets
        plain = {"allow_http": True}
        yield "custom", {"base_url": f"{world.custom.base_url}/s0", **plain}, {"token": known["custom token"]}
        shop = {"base_url": f"{world.shopify.base_url}/s0", "shop": world.shopify.shop(0).domain, **plain}
        yield "shopify", shop, {"access_token": known["shopify token"]}
        pair = {"consumer_key": known["woo key"], "consumer_secret": known["woo secret"]}
        yield "woocommerce", {"base_url": f"{world.woo.base_url}/s0", **plain}, pair

    async def cycle(self) -> None:
        """Run a whole cycle, at once."""
        await self.ask("POST", "/polling/abandoned-cart/test-once", "report: test-once")

    async def blunder(self) -> None:
        """Send secrets where they do not belong: in fields of another kind, in addresses, in what cannot be read."""
        canaries, base = self.world.canaries, f"/api/v1/companies/{self.company}"
        lost = canaries.word("secret in a refused request")
        odd = canaries.digits("secret of the right shape in a refused request", "shpat_", 32)
        wrong: list[Any] = [
            {"token": [lost]},
            {"token": lost, "more": lost},
            [lost],
            lost,
            {"token": {"a": lost}},
            None,
        ]
        for credentials in wrong:
            body = {"agent_id": "none", "name": "x", "platform": "custom", "settings": {}, "credentials": credentials}
            await self.ask("POST", f"{base}/integrations", json=body)
            await self.ask("POST", f"{base}/integrations/verify", json=body)
        for each in (f"whsec_{lost}", [lost], {"secret": lost}, odd):
            body = {"agent_id": "none", "name": "x", "url": "https://partner.example/hook", "secret": each}
            await self.ask("POST", f"{base}/destinations", json=body)
        for url in (f"https://user:{lost}@partner.example/", f"ftp://x/{lost}", f"https://10.0.0.1/?token={lost}"):
            await self.ask("POST", f"{base}/destinations", json={"agent_id": "none", "name": "x", "url": url})
        await self.ask("POST", f"{base}/integrations", content=f'{{"credentials": "{lost}"', headers=JSON)
        await self.ask("POST", f"{base}/integrations", content=f'{{"name": "{lost}\\ud800"}}', headers=JSON)
        for path in (f"/nowhere/{odd}", f"/nowhere?token={lost}", f"/carts?state={lost}", f"{base}/carts?after={lost}"):
            await self.ask("GET", path)
        for scheme in ("Bearer crk_live_", "Basic ", "", "Bearer "):
            await self.ask("GET", "/polling/status", headers={"Authorization": f"{scheme}{lost}"})
            await self.ask("GET", "/polling/status", headers={"Authorization": f"{scheme}{odd}"})
        await self.ask("POST", "/deliveries/hold", json={"reason": 7, "secret": lost})

    async def rotate(self) -> None:
        """Give the custom store and the destination other secrets, and take the API key's place."""
        canaries, base = self.world.canaries, f"/api/v1/companies/{self.company}"
        store = next(each for each in await self.listed("integrations") if each["platform"] == "custom")
        fresh = canaries.word("second token of a custom store")
        await self.ask("PUT", f"{base}/integrations/{store['id']}/credentials", json={"credentials": {"token": fresh}})
        self.world.custom.tenants["s0"].token = self.world.secrets["custom token"] = fresh
        for destination in await self.listed("destinations"):
            secret = canaries.signing("second signing secret")
            self.world.partner.secrets.pop("p", None)
            path = f"{base}/destinations/{destination['id']}/secret"
            await self.ask("PUT", path, "answer: destinations", json={"secret": secret})
            self.world.secrets["second secret"] = secret
        key = next(iter(await self.listed("keys")))
        rotated = await self.ask("POST", f"{base}/keys/{key['id']}/rotate", tells=False)
        canaries.add("second API key", rotated.json()["key"])
        headers = {"Authorization": f"Bearer {rotated.json()['key']}"}
        await self.ask("GET", f"{base}", headers=headers)
        await self.ask("GET", "/polling/status", headers=headers)

    async def verify(self) -> None:
        """Test every store's connection, as it is stored and as it is given."""
        base = f"/api/v1/companies/{self.company}/integrations"
        for store in await self.listed("integrations"):
            await self.ask("POST", f"{base}/{store['id']}/verify")
        for platform, settings, credentials in self.stores():
            body = {"platform": platform, "settings": settings, "credentials": credentials}
            await self.ask("POST", f"{base}/verify", json=body)

    async def credentials(self) -> None:
        """Give the stores their credentials once more: then they are asked at once."""
        names = {platform: credentials for platform, _settings, credentials in self.stores()}
        for store in await self.listed("integrations"):
            path = f"/api/v1/companies/{self.company}/integrations/{store['id']}/credentials"
            if store["platform"] in names:
                await self.ask("PUT", path, json={"credentials": names[store["platform"]]})

    async def listed(self, what: str) -> list[dict[str, Any]]:
        """Return what the company has."""
        path = f"/api/v1/companies/{self.company}/{what}"
        found = (await self.ask("GET", path, f"api: GET /api/v1/companies/*/{what}")).json()
        items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found
        return items

    async def crawl(self) -> int:
        """Read every page and every GET route, with every id that lists told of; return how many were read."""
        before = len(self.answers)
        document = (await self.ask("GET", "/openapi.json", "page: /openapi.json")).json()
        for path in PAGES:
            await self.ask("GET", path, f"{'metrics' if path == '/metrics' else 'page'}: {path}")
        paths = [path for path, methods in document["paths"].items() if "get" in methods]
        for path in sorted(paths, key=lambda path: path.count("{")):
            for real in self._filled(path):
                found = await self.ask(
                    "GET", real, f"api: GET {_starred(path)}", params=LONG if "{" not in path else {}
                )
                self._learn(path, found)
        for kind, part in (("carts", "cart_id"), ("deliveries", "delivery_id")):
            for each in sorted(self.ids.get(part, ()))[:5]:
                await self.ask("GET", f"/{kind}/{self.company}/{each}", f"page: /{kind}/*")
        return len(self.answers) - before

    def _filled(self, path: str) -> Iterator[str]:
        real = path.replace("{company_id}", self.company)
        parts = re.findall(r"\{(\w+)\}", real)
        if not parts:
            yield real
        elif len(parts) == 1:
            for each in sorted(self.ids.get(parts[0], ()))[:5]:
                yield real.replace(f"{{{parts[0]}}}", each)

    def _learn(self, path: str, answer: httpx.Response) -> None:
        part = IDS.get(path.rpartition("/")[2])
        if part and answer.status_code == 200:
            found = answer.json()
            items = found["items"] if isinstance(found, dict) else found
            self.ids.setdefault(part, set()).update(item.get("id") or item["cycle_id"] for item in items)


JSON = {"Content-Type": "application/json"}
LONG = {"limit": "200"}


def _starred(path: str) -> str:
    return re.sub(r"\{\w+\}", "*", path)
