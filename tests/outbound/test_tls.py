"""TLS: who is trusted, and from which version on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backend.errors import ConnectionFailed
from backend.outbound import HttpRequest, OutboundPolicy
from backend.outbound.client import tls_context
from tests.outbound.conftest import MakeClient
from tests.outbound.wire import head, raw_server, with_body

NAME = "store.example"
LOOPBACK = OutboundPolicy(allow_loopback=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for `NAME` that signs itself."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", soon())


def soon() -> datetime:
    """Return when a certificate ends that holds for now."""
    return datetime.now(UTC) + timedelta(days=1)


def self_signed(path: Path, ends_at: datetime, host: str = NAME) -> Path:
    """Write a key and a certificate for `host` that signs itself; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends_at - timedelta(days=2))
        .not_valid_after(ends_at)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(certificate: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a server's context that speaks no newer version than `newest`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = newest
    return context


def trusting(certificate: Path, *, require_tls13: bool = False) -> ssl.SSLContext:
    """Return a client's context that trusts only this certificate."""
    context = ssl.create_default_context(cafile=certificate)
    context.minimum_version = tls_context(require_tls13=require_tls13).minimum_version
    return context


async def loopback(_: str) -> Sequence[str]:
    """Answer for every name."""
    return ["127.0.0.1"]


async def test_a_trusted_server_is_talked_to_under_its_name(make_client: MakeClient, certificate: Path) -> None:
    async with raw_server(with_body(b"{}"), tls=server_context(certificate)) as server:
        client = make_client(LOOPBACK, lookup=loopback, tls=trusting(certificate))
        answer = await client.send(HttpRequest("GET", f"https://{NAME}:{server.port}/"))
    assert answer.status == 200


async def test_another_servers_certificate_is_refused(make_client: MakeClient, certificate: Path) -> None:
    async with raw_server(with_body(b"{}"), tls=server_context(certificate)) as server:
        client = make_client(LOOPBACK, lookup=loopback, tls=trusting(certificate))
        with pytest.raises(ConnectionFailed, match=r"certificate of other\.example .*mismatch"):
            await client.send(HttpRequest("GET", f"https://other.example:{server.port}/"))
        assert server.heads == []


async def test_a_certificate_that_has_ended_is_refused(make_client: MakeClient, tmp_path: Path) -> None:
    ended = self_signed(tmp_path / "ended.pem", datetime.now(UTC) - timedelta(hours=1))
    async with raw_server(with_body(b"{}"), tls=server_context(ended)) as server:
        client = make_client(LOOPBACK, lookup=loopback, tls=trusting(ended))
        with pytest.raises(ConnectionFailed, match="expired"):
            await client.send(HttpRequest("GET", f"https://{NAME}:{server.port}/"))
        assert server.heads == []


async def test_a_certificate_nobody_vouches_for_is_refused(make_client: MakeClient, certificate: Path) -> None:
    async with raw_server(with_body(b"{}"), tls=server_context(certificate)) as server:
        with pytest.raises(ConnectionFailed, match="certificate"):
            await make_client().send(HttpRequest("GET", f"https://127.0.0.1:{server.port}/"))
        assert server.heads == []


async def test_a_server_without_tls_is_refused(make_client: MakeClient) -> None:
    async def answer_in_clear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head("Content-Length: 0", status="400 Bad Request"))
        writer.close()

    server = await asyncio.start_server(answer_in_clear, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionFailed, match="no TLS connection"):
            await make_client().send(HttpRequest("GET", f"https://127.0.0.1:{port}/"))


async def test_a_server_below_the_required_version_is_refused(make_client: MakeClient, certificate: Path) -> None:
    context = server_context(certificate, ssl.TLSVersion.TLSv1_2)
    async with raw_server(with_body(b"{}"), tls=context) as server:
        client = make_client(LOOPBACK, lookup=loopback, tls=trusting(certificate, require_tls13=True))
        with pytest.raises(ConnectionFailed, match=r"could not connect|no TLS"):
            await client.send(HttpRequest("GET", f"https://{NAME}:{server.port}/"))


async def test_tls_12_is_enough_unless_required_otherwise(make_client: MakeClient, certificate: Path) -> None:
    context = server_context(certificate, ssl.TLSVersion.TLSv1_2)
    async with raw_server(with_body(b"{}"), tls=context) as server:
        client = make_client(LOOPBACK, lookup=loopback, tls=trusting(certificate))
        assert (await client.send(HttpRequest("GET", f"https://{NAME}:{server.port}/"))).status == 200


@pytest.mark.parametrize(("require_tls13", "oldest"), [(False, ssl.TLSVersion.TLSv1_2), (True, ssl.TLSVersion.TLSv1_3)])
def test_the_policy_sets_the_oldest_version(require_tls13: bool, oldest: ssl.TLSVersion) -> None:
    assert tls_context(require_tls13=require_tls13).minimum_version == oldest


def test_certificates_and_names_are_checked() -> None:
    context = tls_context(require_tls13=False)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_context_is_made_once() -> None:
    assert tls_context(require_tls13=False) is tls_context(require_tls13=False)
