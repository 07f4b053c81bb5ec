"""The simulated WooCommerce host beside the captured answers of two real stores: lists, refusals, signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pytest

from simulator.woocommerce import ApiKey, Site, listing
from simulator.woocommerce.auth import Asked, authenticate
from simulator.woocommerce.refusals import Refused

DATA = Path(__file__).parents[1] / "data" / "woo"
STORES: dict[str, Literal["hpos", "posts"]] = {"11.0.1-hpos": "hpos", "10.6.2-posts": "posts"}
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def captured(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def captured_site(store: str) -> Site:
    """A site with the captured orders' ids, statuses and dates, enough for questions about them."""
    site = Site("", lambda: NOW, version=store.partition("-")[0], storage=STORES[store], deletes_drafts=False)
    for shown in captured(f"orders-{store}.json").values():
        site.next_id = shown["id"]
        site.add(
            at=datetime.fromisoformat(f"{shown['date_modified_gmt']}+00:00"),
            created_at=datetime.fromisoformat(f"{shown['date_created_gmt']}+00:00"),
            status=shown["status"],
            customer_id=shown["customer_id"],
            created_via=shown["created_via"],
        )
    return site


def questions(status: int) -> list[Any]:
    return [
        pytest.param(store, question, id=f"{question['name']} {store}")
        for store in STORES
        for question in captured(f"questions-{store}.json")
        if question["status"] == status
    ]


def asked(question: dict[str, Any]) -> listing.Given:
    return listing.arguments(parse_qsl(question["url"].partition("?")[2], keep_blank_values=True))


@pytest.mark.parametrize(("store", "question"), questions(200))
def test_a_list_holds_the_orders_the_real_store_listed_in_its_order(store: str, question: dict[str, Any]) -> None:
    site = captured_site(store)
    answered = [order.id for order in listing.listing(site, asked(question)).orders]
    assert answered == [order_id for order_id in question["ids"] if order_id in site.orders]


@pytest.mark.parametrize(("store", "question"), questions(400))
def test_a_bad_parameter_is_refused_in_the_real_store_s_words(store: str, question: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        listing.listing(captured_site(store), asked(question))
    assert caught.value.body == question["error"]


@pytest.mark.parametrize("signed", [pytest.param(signed, id=signed["name"]) for signed in captured("signed.json")])
def test_a_captured_signature_is_judged_as_the_real_store_judged_it(signed: dict[str, Any]) -> None:
    url, query = urlsplit(signed["url"]), parse_qsl(urlsplit(signed["url"]).query, keep_blank_values=True)
    home = f"{url.scheme}://{url.netloc}".replace("localhost", "127.0.0.1")
    key = ApiKey(f"cs_{'b' * 40}")
    now = int(dict(query)["oauth_timestamp"])
    if "timestamp" in str(signed["message"]):
        now += 16 * 60
    if "nonce" in str(signed["message"]):
        key.nonces[dict(query)["oauth_nonce"]] = now
    site = Site("", lambda: NOW, home_url=home, keys={f"ck_{'a' * 40}": key})
    question = Asked("GET", url.path, query, "", is_ssl=url.scheme == "https", unix_time=now)
    if signed["status"] == 200:
        authenticate(site, question)
        return
    with pytest.raises(Refused) as caught:
        authenticate(site, question)
    assert caught.value.body["message"] == signed["message"]


@pytest.mark.parametrize("store", STORES)
def test_an_order_has_the_fields_of_a_real_one(store: str) -> None:
    real = captured(f"orders-{store}.json")["status_pending"]
    site = captured_site(store)
    shown = site.printer().order(site.orders[real["id"]])
    del shown["_links"]
    assert shown.keys() == real.keys()
    assert shown["billing"].keys() == real["billing"].keys()
    assert shown["line_items"][0].keys() == real["line_items"][0].keys()
