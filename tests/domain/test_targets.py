"""Which URLs a company may give us to call, as far as the URL alone tells."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from backend.domain.targets import TargetRules, check_target, is_here
from backend.errors import BadInput

PORTS = frozenset({80, 443, 8080, 8443})
STRICT = TargetRules(allow_loopback=False, allowed_ports=PORTS)
LOCAL = TargetRules(allow_loopback=True, allowed_ports=PORTS)
NARROW = TargetRules(allow_loopback=False, allowed_ports=PORTS, denied=(ip_network("8.8.8.0/24"),))
PLAIN = TargetRules(allow_loopback=False, allowed_ports=PORTS, http=True)


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        ("https://partner.example/hook", STRICT),
        ("https://partner.example:8443/hook?key=1", STRICT),
        ("https://8.8.8.8/hook", STRICT),
        ("https://[2606:4700::1111]/hook", STRICT),
        ("http://127.0.0.1:9102/hook", LOCAL),
        ("http://localhost:9102/hook", LOCAL),
        ("http://[::1]:9102/hook", LOCAL),
        ("http://shop.example", PLAIN),
    ],
)
def test_a_url_that_may_be_called(url: str, rules: TargetRules) -> None:
    check_target(url, "url", rules)


@pytest.mark.parametrize(
    ("url", "rules", "words"),
    [
        ("http://partner.example/hook", STRICT, "must begin with https"),
        ("http://partner.example/hook", LOCAL, "must begin with https"),
        ("https://127.0.0.1/hook", STRICT, "on this machine"),
        ("https://localhost./hook", STRICT, "on this machine"),
        ("http://127.0.0.1/hook", PLAIN, "on this machine"),
        ("https://10.0.0.1/hook", STRICT, "private"),
        ("https://169.254.169.254/latest", LOCAL, "link-local"),
        ("https://[::ffff:127.0.0.1]/hook", LOCAL, "IPv4-mapped"),
        ("https://2130706433/hook", LOCAL, "no name and no address"),
        ("https://0x7f.1/hook", LOCAL, "no name and no address"),
        ("https://127.1/hook", LOCAL, "no name and no address"),
        ("https://partner.example:22/hook", STRICT, "port 22"),
        ("https://user:pass@partner.example/hook", STRICT, "user name"),
        ("https://user@partner.example/hook", STRICT, "user name"),
        ("https://partner.example/hook#part", STRICT, "fragment"),
        ("ftp://partner.example/hook", STRICT, "not an https"),
        ("https:///hook", STRICT, "not an https"),
        ("https://partner.example:99999/", STRICT, "not an https"),
        ("partner.example", STRICT, "not an https"),
        ("https://[::1", STRICT, "not an https"),
        ("https://8.8.8.8/", NARROW, "denied here"),
    ],
)
def test_a_url_that_may_not_be_called(url: str, rules: TargetRules, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_target(url, "url", rules)


def test_the_refusal_names_field_and_remedy() -> None:
    with pytest.raises(BadInput) as refused:
        check_target("https://partner.example:22/", "url", STRICT)
    assert (refused.value.field, refused.value.remedy) == ("url", "use one of the ports 80, 443, 8080, 8443")


@pytest.mark.parametrize(
    ("host", "here"), [("LOCALHOST", True), ("shop.localhost", True), ("localhost.example", False)]
)
def test_names_that_always_mean_this_machine(host: str, here: bool) -> None:
    assert is_here(host) is here
