"""This machine's own addresses are never dialled, whatever networks they are in."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog

from backend.errors import AddressBlocked, OurFault
from backend.outbound import HttpRequest, OutboundPolicy
from backend.outbound import own as module
from backend.outbound.guard import AddressGuard
from backend.outbound.own import is_own
from tests.outbound.conftest import MakeClient


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Let each test ask the machine itself."""
    module._can_be_told.cache_clear()  # noqa: SLF001  kept for the life of a process
    yield
    module._can_be_told.cache_clear()  # noqa: SLF001


def refusing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let every socket fail to take an address, for this reason."""

    class Refusing(socket.socket):
        def bind(self, _address: Any) -> None:
            raise OSError(code, "no")

    monkeypatch.setattr(socket, "socket", Refusing)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_an_address_of_this_machine_is_own(address: str) -> None:
    assert is_own(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "240.0.0.1"])
def test_an_address_elsewhere_is_not_own(address: str) -> None:
    assert not is_own(address)


def test_a_family_that_the_machine_does_not_speak_has_no_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.EAFNOSUPPORT)
    assert not is_own("::1")


def test_nothing_is_dialled_while_own_addresses_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.EMFILE)
    with pytest.raises(OurFault, match="its own"):
        AddressGuard(OutboundPolicy()).check("1.1.1.1", 443)


def test_a_machine_that_takes_any_address_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taking(socket.socket):
        def bind(self, _address: Any) -> None:
            return

    monkeypatch.setattr(socket, "socket", Taking)
    with structlog.testing.capture_logs() as lines:
        assert [is_own("1.1.1.1"), is_own("9.9.9.9")] == [False, False]
    assert [line["event"] for line in lines] == ["outbound.own_addresses_unknown"]


async def test_a_name_of_this_machines_own_public_address_is_refused(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lookup(_: str) -> Sequence[str]:
        return ["1.1.1.1", "8.8.8.8"]

    monkeypatch.setattr("backend.outbound.guard.is_own", lambda address: address == "8.8.8.8")
    with pytest.raises(AddressBlocked, match="own"):
        await make_client(OutboundPolicy(), lookup=lookup).send(HttpRequest("GET", "https://store.example/"))
