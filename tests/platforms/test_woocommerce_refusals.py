"""What the WooCommerce adapter makes of refusals, sick sites and keys, over http and https."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backend.domain.carts import SourceStatus
from backend.errors import AddressBlocked, FixCredentials, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.woocommerce import WooCommercePlatform
from simulator.woocommerce import Site, WooCommerceSimulator
from tests.platforms.woocommerce_kit import MINUTE, NOW, Shop, running_shop

HTML = "<html><body>Access denied</body></html>"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        running.site.add()
        yield running


async def must_fix(shop: Shop, **options: Any) -> FixCredentials:
    with pytest.raises(FixCredentials) as caught:
        await shop.page(**options)
    assert caught.value.remedy
    return caught.value


async def comes_later(shop: Shop, **options: Any) -> TryLater:
    with pytest.raises(TryLater) as caught:
        await shop.page(**options)
    return caught.value


# --- keys and signatures over http ------------------------------------------------------------------------------------


async def test_a_wrong_secret_is_a_signature_fault(shop: Shop) -> None:
    assert (await must_fix(shop, secret="wrong")).code == "signature_refused"


async def test_an_unknown_key_is_named(shop: Shop) -> None:
    shop.site.keys.clear()
    assert (await must_fix(shop)).code == "consumer_key_invalid"


async def test_a_write_only_key_is_named(shop: Shop) -> None:
    shop.site.keys["ck_key"].permissions = "write"
    assert (await must_fix(shop)).code == "key_cannot_read"


async def test_a_key_of_a_plain_customer_is_named(shop: Shop) -> None:
    shop.site.keys["ck_key"].manages_orders = False
    assert (await must_fix(shop)).code == "user_cannot_view"


async def test_a_base_url_that_is_not_the_home_url_is_a_signature_fault(shop: Shop) -> None:
    shop.site.home_url = "http://shop.example"
    error = await must_fix(shop, base_url=f"{shop.simulator.base_url}/s0")
    assert (error.code, "home URL" in error.remedy) == ("signature_refused", True)


async def test_a_secret_with_odd_characters_signs(shop: Shop) -> None:
    shop.site.keys["ck_key"].secret = "ö/&=+ %~"
    assert len((await shop.page(secret="ö/&=+ %~")).carts) == 1


@pytest.mark.parametrize("minutes", [-20, 20])
async def test_clocks_too_far_apart_are_no_fault_of_the_key(shop: Shop, minutes: int) -> None:
    shop.simulator.clock_skew = minutes * MINUTE
    assert (await comes_later(shop)).code == "clock_apart"


async def test_clocks_too_far_apart_are_seen_in_any_language(shop: Shop) -> None:
    body = (
        '{"code": "woocommerce_rest_authentication_error", "message": "Zeit ung\\u00fcltig.", "data": {"status": 401}}'
    )
    shop.simulator.inject("status", status=401, body=body, headers={"Date": "Fri, 20 Nov 2026 11:00:00 GMT"})
    assert (await comes_later(shop)).code == "clock_apart"


async def test_a_key_fault_in_another_language_is_still_one(shop: Shop) -> None:
    body = '{"code": "woocommerce_rest_authentication_error", "message": "Nein.", "data": {"status": 401}}'
    shop.simulator.inject("status", status=401, body=body)
    assert (await must_fix(shop)).code == "api_key_refused"


async def test_a_used_nonce_is_no_fault_of_the_key(shop: Shop) -> None:
    body = (
        '{"code": "woocommerce_rest_authentication_error",'
        ' "message": "Invalid nonce - nonce has already been used.", "data": {"status": 401}}'
    )
    shop.simulator.inject("status", status=401, body=body)
    assert (await comes_later(shop)).code == "nonce_used"


async def test_each_question_is_signed_anew(shop: Shop) -> None:
    platform = shop.platform()
    await platform.fetch_page(NOW, None)
    await platform.fetch_page(NOW, None)
    first, second = (seen.path for seen in shop.simulator.requests)
    assert first != second


# --- what stands before WooCommerce -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
async def test_a_firewall_is_told_from_a_bad_key(shop: Shop, status: int) -> None:
    shop.simulator.inject("html", status=status, body=HTML)
    assert (await must_fix(shop)).code == "refused_before_woocommerce"


async def test_a_redirect_names_where_the_store_is(shop: Shop) -> None:
    headers = {"Location": "https://www.shop.example/wp-json/wc/v3/orders?oauth_nonce=1"}
    shop.simulator.inject("status", status=301, headers=headers)
    error = await must_fix(shop)
    assert (error.code, str(error)) == ("store_moved", "the store sends us to https://www.shop.example")


async def test_a_site_without_the_plugin_is_not_an_order_that_is_gone(shop: Shop) -> None:
    shop.site.woocommerce_missing = True
    with pytest.raises(FixCredentials) as caught:
        await shop.platform().reread(["21"])
    assert caught.value.code == "woocommerce_missing"


async def test_an_address_without_a_rest_api_is_named(shop: Shop) -> None:
    shop.simulator.inject("html", status=404)
    assert (await must_fix(shop)).code == "rest_api_not_found"


async def test_throttling_waits_as_told(shop: Shop) -> None:
    shop.simulator.inject("status", status=429, headers={"Retry-After": "17"})
    error = await comes_later(shop)
    assert (error.code, error.retry_after) == ("throttled", timedelta(seconds=17))


@pytest.mark.parametrize("status", [402, 423])
async def test_a_locked_store_is_the_companys_to_unlock(shop: Shop, status: int) -> None:
    shop.simulator.inject("html", status=status)
    assert (await must_fix(shop)).code == "store_locked"


@pytest.mark.parametrize("status", [406, 410, 418])
async def test_a_status_nobody_thought_of_is_tried_later(shop: Shop, status: int) -> None:
    shop.simulator.inject("html", status=status)
    assert (await comes_later(shop)).code == "unexpected_status"


async def test_a_question_refused_for_another_reason_names_the_parameter(shop: Shop) -> None:
    body = '{"code": "rest_invalid_param", "data": {"status": 400, "params": {"per_page": "too many for us"}}}'
    shop.simulator.inject("status", status=400, body=body)
    error = await comes_later(shop)
    assert (error.code, "per_page" in str(error)) == ("question_refused", True)


async def test_a_store_that_refuses_every_status_is_tried_later(shop: Shop) -> None:
    body = '{"code": "rest_invalid_param", "data": {"status": 400, "params": {"status": "?"}}}'
    shop.simulator.inject("status", status=400, body=body)
    assert (await comes_later(shop)).code == "question_refused"


# --- a site that is ill -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "wait"),
    [
        ("php_warning", "bad_body", None),
        ("php_fatal", "store_ill", None),
        ("database_down", "store_ill", None),
        ("maintenance", "store_ill", timedelta(minutes=10)),
        ("html", "bad_body", None),
        ("truncated", "bad_body", None),
        ("nan", "bad_body", None),
        ("deep", "bad_body", None),
        ("gzip_bomb", "body_too_large", None),
        ("reset", "connection_failed", None),
        ("cut", "connection_failed", None),
    ],
)
async def test_a_sick_site_is_tried_later(shop: Shop, kind: str, code: str, wait: timedelta | None) -> None:
    shop.simulator.inject(kind, times=10)
    error = await comes_later(shop)
    assert (error.code, error.retry_after) == (code, wait)


async def test_an_object_is_no_list_of_orders(shop: Shop) -> None:
    shop.simulator.inject("status", status=200, body='{"id": 1}')
    assert (await comes_later(shop)).code == "bad_body"


async def test_a_byte_order_mark_before_the_json_is_read_over(shop: Shop) -> None:
    shop.simulator.inject("status", status=200, body="\ufeff[]")
    assert (await shop.page()).carts == ()


async def test_records_that_are_no_orders_are_unreadable(shop: Shop) -> None:
    records = (
        '[7, {"id": "x"}, {"id": 5, "date_modified_gmt": "2026-11-20T12:00:00"}, {"date_modified_gmt": null},'
        ' {"id": "y", "status": "pending", "date_modified_gmt": "2026-11-20T12:00:00"}]'
    )
    shop.simulator.inject("status", status=200, body=records)
    page = await shop.page()
    assert [(record.source_cart_id, record.reason) for record in page.unreadable] == [
        (None, "bad_shape"),
        ("x", "bad_time"),
        ("5", "bad_shape"),
        (None, "bad_time"),
        ("y", "no_id"),
    ]


async def test_our_own_fault_passes_as_it_is(shop: Shop) -> None:
    guarded = Outbound(OutboundPolicy())
    platform = WooCommercePlatform(
        Connection(
            "c1",
            "i1",
            {"base_url": shop.simulator.home_url(shop.site), "allow_http": True},
            {"consumer_key": "ck_key", "consumer_secret": "cs_secret"},
        ),
        guarded,
        lambda: NOW,
    )
    with pytest.raises(AddressBlocked):
        await platform.fetch_page(NOW, None)
    await guarded.aclose()


# --- https ------------------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for localhost; return the server's context and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Shop]:
    server, client = certificate(tmp_path)
    simulator = WooCommerceSimulator(lambda: NOW)
    http = Outbound(OutboundPolicy(allow_loopback=True), tls=client)
    async with simulator.running_tls(server):
        shop = Shop(simulator, simulator.add_site("/s0"), http)
        shop.site.add()
        yield shop
        await http.aclose()


async def test_over_https_the_key_goes_in_a_header_and_nothing_in_the_query(secure: Shop) -> None:
    assert (await secure.cart()).status is SourceStatus.OPEN
    (seen,) = secure.simulator.requests
    assert seen.headers["Authorization"].startswith("Basic ")
    assert "oauth" not in seen.path
    assert "ck_key" not in seen.path


async def test_over_https_a_wrong_secret_is_named(secure: Shop) -> None:
    assert (await must_fix(secure, secret="wrong")).code == "consumer_secret_invalid"


def strip_header(site: Site) -> None:
    site.strips_authorization = True


def hide_tls(site: Site) -> None:
    site.sees_tls = False


def forget_keys(site: Site) -> None:
    site.keys.clear()


@pytest.mark.parametrize("spoil", [strip_header, hide_tls, forget_keys])
async def test_over_https_not_being_seen_says_what_it_may_be(secure: Shop, spoil: Any) -> None:
    spoil(secure.site)
    error = await must_fix(secure)
    assert error.code == "cannot_view"
    assert "Authorization" in error.remedy
    assert "TLS" in error.remedy


async def test_over_http_not_being_seen_points_at_the_signature(shop: Shop) -> None:
    body = '{"code": "woocommerce_rest_cannot_view", "message": "", "data": {"status": 401}}'
    shop.simulator.inject("status", status=401, body=body)
    error = await must_fix(shop)
    assert (error.code, "oauth_" in error.remedy) == ("cannot_view", True)
