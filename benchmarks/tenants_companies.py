"""Two companies with all that a company can have, each known by a word of its own, filled by the product itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from backend.config import Settings
from backend.domain.access import LOCAL_OWNER, Role
from backend.domain.health import Kind
from backend.domain.people import Visitor
from backend.domain.signing import make_secret
from backend.models import carts, deliveries
from backend.services.agent_integrations import AgentDraft
from backend.services.api_keys import ApiKeyDraft
from backend.services.companies import CompanyDraft
from backend.services.destinations import DestinationDraft
from backend.services.integrations import IntegrationDraft
from backend.services.invitations import InvitationDraft, Joining
from backend.services.wiring import Services, build_services
from backend.store.alerts import Alarm, AlertStore
from backend.store.cycles import CycleStore, InstallationStore
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator
from tests.services.line import SetClock

WORDS = ("acorncanary", "birchcanary")
CARTS = 4
PERSON = "person"  # the caller who comes with a session instead of a key
PASSWORD = "copper lantern under nine stairs"
# Of the installation, which names companies where it pleases: nothing for the eyes of one of them.
HOLD_REASON = f"holdcanary: {' and '.join(WORDS)} are being moved"
WORKER = {"id": "workercanary", "host": "hostcanary", "pid": 1, "role": "runner", "runs_loops": True}
INSTALLATION_WORDS = ("holdcanary", "workercanary", "hostcanary")


@dataclass(slots=True)
class Company:
    """A filled company. Whatever text is its own holds `word`.

    `ids` are real ids by the name of the path parameter, `fields` real values by the name of a body's field or a query
    parameter, `names` real names by the kind of thing, `secrets` what nobody may ever be shown. `keys` are what a
    caller shows: an API key by its role, and an owner's session.
    """

    word: str
    ids: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outside:
    """The shops and partners of both companies, on loopback."""

    shops: CustomSimulator
    partners: PartnerSimulator
    clock: SetClock


@asynccontextmanager
async def outside(clock: SetClock) -> AsyncIterator[Outside]:
    """Run the simulators while the block lasts."""
    shops, partners = CustomSimulator(now=clock.now), PartnerSimulator(now=clock.now)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shops.running())
        await stack.enter_async_context(partners.running())
        yield Outside(shops, partners, clock)


async def fill(settings: Settings, clock: SetClock) -> tuple[Company, Company]:
    """Make both companies on an empty database: carts polled, sent and refused, records that cannot be read, alerts."""
    services = await build_services(settings, clock=clock)
    try:
        async with outside(clock) as around:
            first, second = [await _set_up(services, around, word) for word in WORDS]
            await _let_things_happen(services, around)
        for company in (first, second):
            await _look_up(services, company)
        return first, second
    finally:
        await services.aclose()


async def _set_up(services: Services, around: Outside, word: str) -> Company:
    """Make one company with a working store and a refusing one, a good partner and one that fails."""
    made = Company(word)
    card = CompanyDraft(
        name=f"{word} shop", website=f"https://{word}.example", support_email=f"help@{word}.example", phone="+1 555 01"
    )
    company = (await services.companies.create(card)).id
    agent = (await services.agents.create(company, AgentDraft(name=f"{word} agent"))).id
    made.ids = {"company_id": company, "agent_id": agent}
    for kind in ("refusing", "good"):
        made.ids["integration_id"] = await _connect(services, around, made, kind)
    for kind in ("failing", "good"):
        made.ids["destination_id"] = await _add_partner(services, around, made, kind)
    await _add_keys(services, made)
    await _add_people(services, made)
    made.fields = {
        **made.ids,
        "search": f"{word}-cart",
        "settings": {"base_url": f"{around.shops.base_url}/{word}-good", "allow_http": True},
        "credentials": {"token": f"token-{word}-good"},
        "url": f"{around.partners.base_url}/hook/{word}-good",
        "email": f"owner@{word}.example",
        "secret": made.secrets[3],  # of its good partner
        "website": f"https://{word}.example",
        "support_email": f"help@{word}.example",
    }
    kinds = {"integration": "good store", "draft": "good store", "destination": "good partner", "key": "viewer key"}
    made.names = {kind: f"{word} {name}" for kind, name in (kinds | {"company": "shop", "agent": "agent"}).items()}
    return made


async def _connect(services: Services, around: Outside, made: Company, kind: str) -> str:
    """Open a shop and connect it; its carts are those of the company's own shoppers."""
    tenant, now = f"{made.word}-{kind}", around.clock.now()
    around.shops.add_tenant(tenant)
    around.shops.tenants[tenant].refused = kind == "refusing"
    for number in range(CARTS):
        cart = f"{made.word}-cart-{number}"
        shopper = {"email": f"{cart}@{made.word}.example", "first": f"First {made.word}", "last": f"Last {made.word}"}
        line = {"id": "1", "title": f"Mug of {made.word}", "sku": f"{made.word}-1", "qty": 1, "unit_price": "10.00"}
        items = [line | {"line_total": "10.00"}]
        around.shops.add_cart(tenant, cart, now - timedelta(hours=1, minutes=number), customer=shopper, items=items)
    made.secrets.append(f"token-{tenant}")
    draft = IntegrationDraft(
        agent_id=made.ids["agent_id"],
        name=f"{made.word} {kind} store",
        platform="custom",
        settings={"base_url": f"{around.shops.base_url}/{tenant}", "allow_http": True},
        credentials={"token": f"token-{tenant}"},
    )
    return (await services.integrations.create(made.ids["company_id"], draft)).id


async def _add_partner(services: Services, around: Outside, made: Company, kind: str) -> str:
    hook, secret = f"{made.word}-{kind}", make_secret()
    around.partners.register(hook, [secret])
    if kind == "failing":
        around.partners.inject("status", times=1_000_000, status=422, match=f"/hook/{hook}")
    made.secrets.append(secret)
    draft = DestinationDraft(
        agent_id=made.ids["agent_id"],
        name=f"{made.word} {kind} partner",
        url=f"{around.partners.base_url}/hook/{hook}",
        secret=secret,
    )
    return (await services.destinations.create(made.ids["company_id"], draft)).destination.id


async def _add_keys(services: Services, made: Company) -> None:
    for role in Role:
        draft = ApiKeyDraft(name=f"{made.word} {role.value} key", role=role)
        key = await services.keys.create(made.ids["company_id"], draft, LOCAL_OWNER)
        made.keys[role.value] = key.key
        made.secrets.append(key.key)
    spare = await services.keys.create(
        made.ids["company_id"], ApiKeyDraft(name=f"{made.word} spare key", role=Role.VIEWER), LOCAL_OWNER
    )
    made.ids["key_id"] = spare.api_key.id


async def _add_people(services: Services, made: Company) -> None:
    """Let an owner in, who signs in twice, and a viewer; invite one more."""
    company = made.ids["company_id"]
    for role in (Role.OWNER, Role.VIEWER):
        draft = InvitationDraft(email=f"{role.value}@{made.word}.example", role=role)
        link = await services.invitations.invite(company, draft, LOCAL_OWNER)
        joining = Joining(link.url.partition("#")[2], f"{made.word} {role.value}", PASSWORD)
        made.ids["person_id"] = await services.invitations.join(joining)
    for _ in range(2):
        visitor = Visitor("token", "203.0.113.9", f"{made.word} browser")
        signed = await services.sessions.sign_in(f"owner@{made.word}.example", PASSWORD, "", visitor)
        made.ids["session_id"] = made.ids.get("session_id", signed.session_id)
        made.keys[PERSON] = signed.access
        made.secrets.append(signed.access)
    waiting = InvitationDraft(email=f"waiting@{made.word}.example", role=Role.VIEWER)
    made.ids["invitation_id"] = (await services.invitations.invite(company, waiting, LOCAL_OWNER)).link.id


async def _let_things_happen(services: Services, around: Outside) -> None:
    """Poll and deliver, let a shopper of each buy, let one more cart wait, and tell of trouble."""
    around.shops.inject("bad_record", times=len(WORDS))
    await services.poller.start(30)
    await services.poller.run_once("test_once")
    for word in WORDS:
        around.shops.complete(f"{word}-good", f"{word}-cart-0", around.clock.now(), f"{word}-order")
    around.clock.move(minutes=10)
    await services.poller.run_once("test_once")
    await services.audit.sign_due()
    await services.hold.hold(HOLD_REASON)
    async with services.database.work() as tx:
        await InstallationStore(tx).sign_in(WORKER | {"started_at": around.clock.now(), "seen_at": around.clock.now()})


async def _look_up(services: Services, made: Company) -> None:
    """Find the ids of what came into being by itself, and raise an alert."""
    company, now = made.ids["company_id"], services.clock.now()
    words = f"{made.word} store stands still"
    alarm = Alarm(company, "integration", made.ids["integration_id"], Kind.NOT_ADVANCING.value, words)
    async with services.database.work() as tx:
        await AlertStore(tx).raise_all([alarm], now)
    async with services.database.reading(company) as tx:
        for name, table in (("cart_id", carts), ("delivery_id", deliveries)):
            query = select(table.c.id).where(table.c.company_id == company).order_by(table.c.id).limit(1)
            made.ids[name] = made.fields[name] = (await tx.execute(query)).scalar_one()
        made.ids["cycle_id"] = (await CycleStore(tx).latest(1))[0].id
