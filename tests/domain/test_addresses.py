"""Which addresses may be dialled, row by row."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from backend.domain.addresses import classify_address, is_loopback, is_odd_number

REFUSED = [
    ("0.0.0.0", "this network"),  # noqa: S104
    ("0.255.255.255", "this network"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "carrier NAT"),
    ("100.127.255.255", "carrier NAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "cloud platform"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "protocol assignments"),
    ("192.0.0.9", "protocol assignments"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.0", "6to4 relay"),
    ("192.88.99.1", "6to4 relay"),
    ("192.168.0.1", "private"),
    ("192.168.255.255", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("0:0:0:0:0:0:0:1", "loopback"),
    ("::7f00:1", "IPv4-compatible"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("::ffff:7f00:1", "IPv4-mapped"),
    ("::ffff:169.254.169.254", "IPv4-mapped"),
    ("::ffff:8.8.8.8", "IPv4-mapped"),
    ("64:ff9b::a9fe:a9fe", "NAT64"),
    ("64:ff9b::8.8.8.8", "NAT64"),
    ("64:ff9b:1::1", "NAT64"),
    ("100::1", "discard"),
    ("2001::1", "protocol assignments"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "protocol assignments"),
    ("2001:1ff:ffff::1", "protocol assignments"),
    ("2001:db8::1", "documentation"),
    ("2002:a9fe:a9fe::1", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("3fff::1", "documentation"),
    ("3fff:fff:ffff::1", "documentation"),
    ("5f00::1", "segment routing"),
    ("fc00::1", "private"),
    ("fdff:ffff::1", "private"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
    ("::2:0:0", "outside global unicast"),
    ("400::1", "outside global unicast"),
    ("4000::1", "outside global unicast"),
    ("1fff::1", "outside global unicast"),
    ("e000::1", "outside global unicast"),
    ("fe80::1%eth0", "zone id"),
    ("2606:4700::1111%1", "zone id"),
    ("1.1.1.1%lo", "zone id"),
    ("", "not an address"),
    ("localhost", "not an address"),
    ("127.1", "not an address"),
    ("2130706433", "not an address"),
    ("0x7f000001", "not an address"),
    ("0177.0.0.1", "not an address"),
    ("010.0.0.1", "not an address"),
    ("①②⑦.⓪.⓪.①", "not an address"),
    ("1.1.1.1:80", "not an address"),
    ("[::1]", "not an address"),
    ("12345::", "not an address"),
]

ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700::1111",
    "3ffe:ffff::1",
    "3fff:1000::1",
]


@pytest.mark.parametrize(("ip", "reason"), REFUSED, ids=[ip or "(empty)" for ip, _ in REFUSED])
def test_a_bad_address_is_refused_for_its_reason(ip: str, reason: str) -> None:
    assert classify_address(ip) == reason


@pytest.mark.parametrize("ip", ALLOWED)
def test_a_public_address_is_allowed(ip: str) -> None:
    assert classify_address(ip) is None


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback_is_known_in_its_plain_form(ip: str) -> None:
    assert is_loopback(ip)


@pytest.mark.parametrize(
    "ip", ["126.0.0.1", "128.0.0.1", "::2", "::ffff:127.0.0.1", "::127.0.0.1", "::1%lo", "localhost", "127.1", "::x"]
)
def test_nothing_else_counts_as_loopback(ip: str) -> None:
    assert not is_loopback(ip)


@pytest.mark.parametrize(
    ("ip", "reason"), [("8.8.8.8", "denied here"), ("8.8.4.4", None), ("2606:4700::1", "denied here")]
)
def test_an_installation_denies_more(ip: str, reason: str | None) -> None:
    also_denied = [ip_network("8.8.8.0/24"), ip_network("2606:4700::/32")]
    assert classify_address(ip, also_denied) == reason


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "0", "127.0.0.1.", "256.1"]
)
def test_a_number_that_is_no_plain_address_is_odd(host: str) -> None:
    assert is_odd_number(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "1.example", "shop1", "0x7f.example", "face", ""])
def test_names_and_plain_addresses_are_not_odd(host: str) -> None:
    assert not is_odd_number(host)
