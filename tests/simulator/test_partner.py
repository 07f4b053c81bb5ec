"""The simulated partner takes only what is signed, and counts what it got raw and in effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from backend.domain import signing
from simulator.partner import PartnerOptions, PartnerSimulator

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA=="


def cart(event_id: str, cart_id: str = "k1", **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "cart_id": cart_id, "source_cart_id": f"s-{cart_id}", "episode": 1, **fields}


def payload(*carts: dict[str, Any], kind: str = "cart.abandoned") -> dict[str, Any]:
    return {"type": kind, "agent_info": {"id": "a1"}, "abandoned_carts": list(carts)}


class Sender:
    """Posts to the partner as the product does."""

    def __init__(self, simulator: PartnerSimulator, client: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.client = client

    async def post(
        self, body: dict[str, Any] | bytes, message_id: str = "m1", secret: str = SECRET, at: datetime = NOON
    ) -> int:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        stamp = int(at.timestamp())
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": signing.sign(message_id, stamp, content, [secret]),
        }
        return await self.send(content, headers)

    async def send(self, content: bytes, headers: dict[str, str]) -> int:
        async with self.client.post(f"{self.simulator.base_url}/hook/p", data=content, headers=headers) as response:
            await response.read()
            return response.status

    async def report(self) -> dict[str, Any]:
        async with self.client.get(f"{self.simulator.base_url}/_control/report") as response:
            figures: dict[str, Any] = await response.json()
            return figures["p"]  # type: ignore[no-any-return]


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    simulator = PartnerSimulator(PartnerOptions(secrets=(SECRET,)), lambda: NOON)
    async with simulator.running(), aiohttp.ClientSession() as client:
        yield Sender(simulator, client)


async def test_a_signed_message_is_taken(sender: Sender) -> None:
    assert await sender.post(payload(cart("e1"))) == 204


@pytest.mark.parametrize(
    ("secret", "off_by", "status"), [(OTHER, 0, 401), (SECRET, 300, 204), (SECRET, 301, 401), (SECRET, -301, 401)]
)
async def test_a_foreign_or_stale_signature_is_refused(sender: Sender, secret: str, off_by: int, status: int) -> None:
    at = NOON + timedelta(seconds=off_by)
    assert await sender.post(payload(cart("e1")), secret=secret, at=at) == status


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_a_message_without_one_of_its_headers_is_refused(sender: Sender, missing: str) -> None:
    body, stamp = orjson.dumps(payload(cart("e1"))), int(NOON.timestamp())
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signing.sign("m1", stamp, body, [SECRET]),
    }
    del headers[missing]
    assert await sender.send(body, headers) == 401


async def test_a_refused_message_has_no_effect_and_is_counted(sender: Sender) -> None:
    await sender.post(payload(cart("e1")), secret=OTHER)
    report = await sender.report()
    assert (report["bad_signatures"], report["carts"]) == (1, {"raw": 0, "unique": 0})


async def test_a_registered_secret_replaces_the_default(sender: Sender) -> None:
    url = f"{sender.simulator.base_url}/_control/secrets"
    await (await sender.client.post(url, json={"name": "p", "secrets": [OTHER]})).read()
    statuses = [await sender.post(payload(cart("e1")), secret=secret) for secret in (SECRET, OTHER)]
    assert statuses == [401, 204]


async def test_a_message_sent_again_has_one_effect(sender: Sender) -> None:
    for _ in range(2):
        await sender.post(payload(cart("e1")))
    report = await sender.report()
    assert (report["messages"], report["carts"]) == ({"raw": 2, "unique": 1}, {"raw": 2, "unique": 1})


async def test_an_event_in_another_message_has_one_effect(sender: Sender) -> None:
    await sender.post(payload(cart("e1")), "m1")
    await sender.post(payload(cart("e1"), cart("e2", "k2")), "m2")
    report = await sender.report()
    assert (report["carts"], report["repeated_events"], report["doubled_effects"]) == ({"raw": 3, "unique": 2}, 1, 0)


async def test_one_happening_under_two_event_ids_is_a_doubled_effect(sender: Sender) -> None:
    await sender.post(payload(cart("e1")), "m1")
    await sender.post(payload(cart("e2")), "m2")
    report = await sender.report()
    assert (report["doubled_effects"], report["doubled"]) == (1, [["e1", "e2"]])


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("cart.abandoned", {"episode": 2}),
        ("cart.abandoned", {"cart_id": "k2"}),
        ("cart.abandoned", {"store_id": "another"}),
        ("cart.updated", {"revision": "r2"}),
    ],
)
async def test_another_happening_is_no_doubled_effect(sender: Sender, kind: str, change: dict[str, Any]) -> None:
    await sender.post(payload(cart("e1", revision="r1"), kind=kind), "m1")
    await sender.post(payload({**cart("e2", revision="r1"), **change}, kind=kind), "m2")
    report = await sender.report()
    assert (report["doubled_effects"], report["carts"]["unique"]) == (0, 2)


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}", b'{"abandoned_carts": [{}], "agent_info": {"id": "a"}}'])
async def test_what_is_no_payload_is_refused_and_counted(sender: Sender, body: bytes) -> None:
    status = await sender.post(body)
    assert (status, (await sender.report())["bad_bodies"]) == (400, 1)


async def test_effects_name_carts_as_the_store_does(sender: Sender) -> None:
    await sender.post(payload(cart("e1", store_id="shop")))
    async with sender.client.get(f"{sender.simulator.base_url}/_control/effects?name=p") as response:
        effects = await response.json()
    assert effects == {"e1": {"type": "cart.abandoned", "cart_id": "k1", "source_cart_id": "s-k1", "store_id": "shop"}}


async def test_only_the_last_bodies_are_kept(sender: Sender) -> None:
    for number in range(7):
        await sender.post(payload(cart(f"e{number}")), f"m{number}")
    bodies = (await sender.report())["last_bodies"]
    assert (len(bodies), orjson.loads(bodies[-1])["abandoned_carts"][0]["event_id"]) == (5, "e6")


async def test_work_can_be_done_and_its_answer_lost(sender: Sender) -> None:
    sender.simulator.inject("answered_then_reset")
    with pytest.raises(aiohttp.ClientError):
        await sender.post(payload(cart("e1")))
    assert (await sender.report())["carts"]["unique"] == 1


async def test_work_can_be_done_and_denied(sender: Sender) -> None:
    sender.simulator.inject("accepted_then_status", status=500)
    status = await sender.post(payload(cart("e1")))
    assert (status, (await sender.report())["carts"]["unique"]) == (500, 1)


async def test_an_answer_can_drip(sender: Sender) -> None:
    sender.simulator.inject("accepted_then_drip", seconds=0.01)
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(NOON.timestamp()))}
    body = orjson.dumps(payload(cart("e1")))
    headers["webhook-signature"] = signing.sign("m1", int(NOON.timestamp()), body, [SECRET])
    async with sender.client.post(f"{sender.simulator.base_url}/hook/p", data=body, headers=headers) as response:
        drops = [await response.content.readexactly(1) for _ in range(3)]
    assert (response.status, drops) == (200, [b" "] * 3)


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "7"}), (410, {}), (302, {"Location": "/x"})])
async def test_an_answer_can_be_any_status_without_the_work(
    sender: Sender, status: int, headers: dict[str, str]
) -> None:
    sender.simulator.inject("status", status=status, headers=headers, match="/hook/p")
    url = f"{sender.simulator.base_url}/hook/p"
    async with sender.client.post(url, data=b"{}", allow_redirects=False) as response:
        assert (response.status, {name: response.headers[name] for name in headers}) == (status, headers)


async def test_without_verification_any_signature_will_do() -> None:
    simulator = PartnerSimulator(PartnerOptions(verify=False))
    async with simulator.running(), aiohttp.ClientSession() as client:
        assert await Sender(simulator, client).send(orjson.dumps(payload(cart("e1"))), {"webhook-id": "m1"}) == 204


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """Return the journal of a partner that took one message and is gone."""
    path = tmp_path / "effects.jsonl"
    simulator = PartnerSimulator(PartnerOptions(secrets=(SECRET,), journal=path), lambda: NOON)
    async with simulator.running(), aiohttp.ClientSession() as client:
        await Sender(simulator, client).post(payload(cart("e1")), "m1")
    return path


async def test_a_restarted_partner_knows_what_it_had(journal: Path) -> None:
    simulator = PartnerSimulator(PartnerOptions(secrets=(SECRET,), journal=journal), lambda: NOON)
    async with simulator.running(), aiohttp.ClientSession() as client:
        sender = Sender(simulator, client)
        await sender.post(payload(cart("e1")), "m2")
        await sender.post(payload(cart("e9")), "m3")
        report = await sender.report()
    assert (report["carts"]["unique"], report["repeated_events"], report["doubled"]) == (2, 1, [["e1", "e9"]])


def test_a_line_cut_short_by_a_crash_is_forgotten(journal: Path) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:-9])
    simulator = PartnerSimulator(PartnerOptions(secrets=(SECRET,), journal=journal), lambda: NOON)
    assert (list(simulator.hook("p").effects), journal.read_bytes()) == (["e1"], whole)
