"""Standard Webhooks 1.0.0 signatures: the published vector, rotation, and a clean no to whatever is malformed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from backend.domain import signing
from backend.domain.signing import SignedHeaders, sign, verify
from backend.errors import BadInput

# The vector that the Standard Webhooks libraries test themselves with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(TIMESTAMP, UTC)


def headers(
    message_id: str | None = MESSAGE_ID, timestamp: str | None = str(TIMESTAMP), signature: str | None = SIGNATURE
) -> SignedHeaders:
    return SignedHeaders(message_id, timestamp, signature)


def says_yes(given_headers: SignedHeaders, body: bytes = BODY, now: datetime = NOW) -> bool:
    return verify(given_headers, body, [SECRET], now)


def test_the_published_vector_is_what_we_sign() -> None:
    assert sign(MESSAGE_ID, TIMESTAMP, BODY, [SECRET]) == SIGNATURE


def test_the_published_vector_verifies() -> None:
    assert says_yes(headers())


def test_the_reference_verifier_accepts_what_we_sign() -> None:
    secret, now, body = signing.make_secret(), int(datetime.now(UTC).timestamp()), b'{"type": "cart.abandoned"}'
    signed = {
        signing.ID_HEADER: "msg_1",
        signing.TIMESTAMP_HEADER: str(now),
        signing.SIGNATURE_HEADER: sign("msg_1", now, body, [secret]),
    }
    assert Webhook(secret).verify(body, signed) == json.loads(body)


def test_an_empty_body_can_be_signed() -> None:
    assert says_yes(headers(signature=sign(MESSAGE_ID, TIMESTAMP, b"", [SECRET])), body=b"")


def test_each_live_secret_has_its_own_entry() -> None:
    live = [signing.make_secret() for _ in range(3)]
    entries = sign(MESSAGE_ID, TIMESTAMP, BODY, live).split(" ")
    alone = [verify(headers(signature=entry), BODY, [key], NOW) for entry, key in zip(entries, live, strict=True)]
    assert alone == [True, True, True]


def test_an_entry_of_one_secret_is_nothing_to_another() -> None:
    other = sign(MESSAGE_ID, TIMESTAMP, BODY, [signing.make_secret()])
    assert not says_yes(headers(signature=other))


def test_one_right_entry_among_foreign_ones_is_enough() -> None:
    listed = f"v1a,{SIGNATURE[3:]} v1,bm9ubw== v2,xx {SIGNATURE} v1,"
    assert says_yes(headers(signature=listed))


@pytest.mark.parametrize(
    "malformed",
    [
        headers(message_id=None),
        headers(timestamp=None),
        headers(signature=None),
        headers(message_id=""),
        headers(timestamp=""),
        headers(signature=""),
        headers(message_id="msg.1"),
        headers(timestamp="yesterday"),
        headers(timestamp="1614265330.0"),
        headers(timestamp="-1614265330"),
        headers(timestamp=" 1614265330"),
        headers(timestamp="1_614_265_330"),
        headers(timestamp="١٦١٤٢٦٥٣٣٠"),
        headers(timestamp="9" * 5000),
        headers(signature="v1,"),
        headers(signature="v1"),
        headers(signature=SIGNATURE[3:]),
        headers(signature=SIGNATURE.replace("v1,", "v1a,")),
        headers(signature=SIGNATURE.replace(",", ",,")),
        headers(signature=SIGNATURE[:-5]),
        headers(signature="v1,!!!not base64!!!"),
        headers(signature="v1,é\udcff"),
        headers(message_id="msg_é"),
    ],
)
def test_malformed_headers_are_answered_no(malformed: SignedHeaders) -> None:
    assert not says_yes(malformed)


@pytest.mark.parametrize(("off_by", "accepted"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_a_message_is_accepted_within_five_minutes(off_by: int, accepted: bool) -> None:
    assert says_yes(headers(), now=NOW + timedelta(seconds=off_by)) is accepted


def test_another_body_is_answered_no() -> None:
    assert not says_yes(headers(), body=BODY + b" ")


def test_a_body_that_is_no_text_is_answered_no() -> None:
    assert not says_yes(headers(), body=b"\xff\xfe")


def header_bytes() -> st.SearchStrategy[str | None]:
    """Header values as a server hands them on: any bytes, decoded the way aiohttp does."""
    near = st.sampled_from([MESSAGE_ID, str(TIMESTAMP), SIGNATURE, "v1,", "v1a,", ",", " ", "."]).map(str.encode)
    raw = st.lists(near | st.binary(max_size=20), max_size=4).map(b"".join)
    return st.none() | raw.map(lambda value: value.decode("utf-8", "surrogateescape")) | raw.map(_latin)


def _latin(value: bytes) -> str:
    return value.decode("latin-1")


@settings(max_examples=10_000, deadline=None)
@given(header_bytes(), header_bytes(), header_bytes(), st.just(BODY) | st.binary(max_size=30))
def test_any_header_bytes_get_a_clean_answer(
    message_id: str | None, timestamp: str | None, signature: str | None, body: bytes
) -> None:
    right = (message_id, timestamp, body) == (MESSAGE_ID, str(TIMESTAMP), BODY)
    expected = right and SIGNATURE in (signature or "").split(" ")
    assert says_yes(SignedHeaders(message_id, timestamp, signature), body) is expected


def test_a_new_secret_shows_its_kind_and_holds_32_bytes() -> None:
    secret = signing.make_secret()
    assert (secret[:6], len(signing.secret_bytes(secret))) == ("whsec_", 32)


def test_two_new_secrets_differ() -> None:
    assert signing.make_secret() != signing.make_secret()


def test_a_secret_is_read_with_or_without_its_prefix() -> None:
    assert signing.secret_bytes(SECRET) == signing.secret_bytes(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize("size", [24, 64])
def test_a_secret_may_hold_24_to_64_bytes(size: int) -> None:
    assert len(signing.secret_bytes("whsec_" + base64.b64encode(b"k" * size).decode())) == size


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64",
        "whsec_é",
        base64.b64encode(b"k" * 23).decode(),
        base64.b64encode(b"k" * 65).decode(),
    ],
)
def test_a_malformed_secret_is_refused(secret: str) -> None:
    with pytest.raises(BadInput):
        signing.secret_bytes(secret)


def test_signing_without_a_secret_is_refused() -> None:
    with pytest.raises(BadInput):
        sign(MESSAGE_ID, TIMESTAMP, BODY, [])


@pytest.mark.parametrize("message_id", ["", "msg.1", "msg 1\n", "msg_é"])
def test_signing_an_id_that_blurs_the_signed_text_is_refused(message_id: str) -> None:
    with pytest.raises(BadInput):
        sign(message_id, TIMESTAMP, BODY, [SECRET])
