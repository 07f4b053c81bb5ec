"""The sample proxy configuration: TLS 1.3 alone, nothing a client says of itself believed, limits as the service's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from backend.config import ROOT
from backend.routers.bodies import BODY_LIMIT

SAMPLE = ROOT / "deploy" / "nginx.conf"
TOKEN = re.compile(r"""\s+ | \#[^\n]* | ("[^"]*"|'[^']*'|[{};]|[^\s{};"'\#]+)""", re.VERBOSE)


@dataclass(slots=True)
class Block:
    """A block of directives: each one's values, and the blocks inside."""

    name: tuple[str, ...] = ()
    said: list[tuple[str, ...]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def values(self, name: str) -> list[tuple[str, ...]]:
        """Return what each directive of this name says, in this block alone."""
        return [words[1:] for words in self.said if words[0] == name]

    def inside(self, *name: str) -> list[Block]:
        """Return the blocks of this name in this block alone."""
        return [block for block in self.blocks if block.name[: len(name)] == name]

    def everywhere(self) -> Iterator[Block]:
        """Yield this block and all blocks inside."""
        yield self
        for block in self.blocks:
            yield from block.everywhere()


def parsed(text: str) -> Block:
    """Return a configuration. Raises `ValueError` where it is none."""
    stack, words, at = [Block()], list[str](), 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"not a configuration: {text[at : at + 20]!r}")
        at, token = found.end(), found[1]
        if token == ";":
            stack[-1].said.append(tuple(words))
            words = []
        elif token == "{":
            block = Block(tuple(words))
            stack[-1].blocks.append(block)
            stack.append(block)
            words = []
        elif token == "}":
            stack.pop()
        elif token:
            words.append(token.strip("\"'"))
    if len(stack) != 1 or words:
        raise ValueError("not a configuration: it ends in the middle")
    return stack[0]


@pytest.fixture(scope="module")
def http() -> Block:
    (block,) = parsed(SAMPLE.read_text(encoding="utf-8")).inside("http")
    return block


@pytest.fixture(scope="module")
def service(http: Block) -> Block:
    """Return the server that passes requests on."""
    (block,) = [server for server in http.inside("server") if server.inside("location")]
    return block


@pytest.fixture(scope="module")
def forwarded(service: Block) -> dict[str, str]:
    """Return the headers that the service is given."""
    (location,) = service.inside("location")
    said = location.values("proxy_set_header")
    found = {words[0]: words[1] for words in said}
    assert len(found) == len(said)
    return found


def is_sealed(server: Block) -> bool:
    return any("ssl" in words for words in server.values("listen"))


def test_every_server_that_speaks_tls_speaks_1_3_alone(http: Block) -> None:
    sealed = [server for server in http.inside("server") if is_sealed(server)]
    assert [server.values("ssl_protocols") for server in sealed] == [[("TLSv1.3",)]] * 2
    assert not http.values("ssl_protocols")


def test_plain_http_is_sent_to_https_under_a_fixed_name(http: Block) -> None:
    (plain,) = [server for server in http.inside("server") if not is_sealed(server)]
    assert plain.values("return") == [("308", "https://carts.example.com$request_uri")]
    assert {words[0] for words in plain.values("listen")} == {"80", "[::]:80"}
    assert not plain.blocks


def test_another_name_gets_no_handshake(http: Block) -> None:
    (stranger,) = [server for server in http.inside("server") if server.values("ssl_reject_handshake") == [("on",)]]
    assert all("default_server" in words for words in stranger.values("listen"))


def test_browsers_are_told_to_stay_with_tls(service: Block) -> None:
    ((name, policy, always),) = service.values("add_header")
    assert (name, always) == ("Strict-Transport-Security", "always")
    assert int(policy.removeprefix("max-age=")) >= 31_536_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "$host"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-Host", "$host"),
        ("X-Forwarded-Port", "$server_port"),
        ("Forwarded", ""),
    ],
)
def test_what_a_client_says_of_itself_is_replaced(forwarded: dict[str, str], name: str, value: str) -> None:
    assert forwarded[name] == value


def test_nothing_that_a_client_sent_is_added_to(http: Block) -> None:
    said = [words for block in http.everywhere() for words in block.values("proxy_set_header")]
    assert not [words for words in said if "$proxy_add_x_forwarded_for" in words or "$http_x_" in " ".join(words)]


def test_a_body_may_be_as_large_as_the_service_takes_it(service: Block) -> None:
    ((limit,),) = service.values("client_max_body_size")
    assert limit == f"{BODY_LIMIT >> 20}m"
    assert not service.inside("location")[0].values("client_max_body_size")


@pytest.mark.parametrize("name", ["client_header_timeout", "client_body_timeout", "send_timeout"])
def test_slow_clients_are_given_up(http: Block, name: str) -> None:
    (((seconds),),) = http.values(name)
    assert 0 < int(seconds.removesuffix("s")) <= 30
    assert not [block for block in http.everywhere() if block is not http and block.values(name)]


def test_a_body_is_read_before_the_service_hears_of_it(service: Block) -> None:
    assert service.values("proxy_request_buffering") == [("on",)]


def test_one_peer_has_so_many_connections_at_most(http: Block) -> None:
    ((zone, most),) = http.values("limit_conn")
    assert (zone, 0 < int(most) <= 1_000) == ("peers", True)


def test_an_upgrade_is_passed_on(http: Block, forwarded: dict[str, str]) -> None:
    (mapping,) = http.inside("map", "$http_upgrade", "$connection_upgrade")
    assert mapping.said == [("default", "upgrade"), ("", "")]
    assert (forwarded["Upgrade"], forwarded["Connection"]) == ("$http_upgrade", "$connection_upgrade")


def test_nothing_is_compressed(http: Block) -> None:
    assert [block.values("gzip") for block in http.everywhere() if block.values("gzip")] == [[("off",)]]
    assert not [words for block in http.everywhere() for words in block.said if words[0].startswith(("brotli", "zstd"))]


def test_nothing_is_taken_early(http: Block) -> None:
    assert not [block for block in http.everywhere() if block.values("ssl_early_data")]


def test_the_log_holds_no_query(http: Block) -> None:
    ((_name, *words),) = http.values("log_format")
    assert not re.search(r"\$(request|request_uri|args|query_string|http_\w+)\b(?!_)", " ".join(words))


def test_the_service_is_reached_on_this_machine_alone(http: Block, service: Block) -> None:
    (upstream,) = http.inside("upstream", "carts")
    assert upstream.values("server") == [("127.0.0.1:8000",)]
    assert service.inside("location")[0].values("proxy_pass") == [("http://carts",)]


@pytest.mark.parametrize("text", ["http { gzip off; ", "gzip off", "a 'b;"])
def test_what_is_no_configuration_is_noticed(text: str) -> None:
    with pytest.raises(ValueError, match="not a configuration"):
        parsed(text)
