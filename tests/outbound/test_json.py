"""JSON that may be hostile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import BadBody
from backend.outbound import HttpResponse


def parse(body: bytes) -> Any:
    """Return what an answer with this body says."""
    return HttpResponse(200, {}, body, timedelta(0)).json()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
        (b"\xef\xbb\xbf{}", {}),
        (b" [] ", []),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"[9999999999999999999]", [9999999999999999999]),
        (b'["12345678901234567890123"]', ["12345678901234567890123"]),
        (b'{"12345678901234567890123": 1}', {"12345678901234567890123": 1}),
        (b'["\\", 12345678901234567890123, \\""]', ['", 12345678901234567890123, "']),
        (b"0.1000000000000000055511151231257827", 0.1),
        (b"12345678901234567890.5", 12345678901234567890.5),
        (b"1e300", 1e300),
    ],
)
def test_json_within_the_limits_is_read(body: bytes, value: Any) -> None:
    assert parse(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[-1e400]",
        b"[1,]",
        b"{'a': 1}",
        b"[1] trailing",
        b"<b>Warning</b>: in line 3\n{}",
        b'"\xff"',
        "{}".encode("utf-16"),
        b"[01]",
        b"[" + b"9" * 5000 + b"]",
    ],
)
def test_what_is_not_strict_json_is_a_bad_body(body: bytes) -> None:
    with pytest.raises(BadBody, match="not JSON"):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b"18446744073709551616",
        b"-9223372036854775809",
        b"[12345678901234567890123]",
        b'{"id": 99999999999999999999}',
        b'["1234567890123456789", 12345678901234567890123]',
        b'["\\"", 12345678901234567890123, ""]',
        b"[" + b"9" * 300 + b"]",
    ],
)
def test_an_integer_outside_64_bits_is_a_bad_body(body: bytes) -> None:
    with pytest.raises(BadBody, match="too long"):
        parse(body)


def written(text: str) -> bytes:
    return b'["' + text.encode() + b'"]'


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83d", "\ufffd"),
        (r"Ada \uD83D!", "Ada \ufffd!"),
        (r"\ude00", "\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd\N{GRINNING FACE}"),
        (r"\ud83d\ude00\ud83d", "\N{GRINNING FACE}\ufffd"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (r"\n\ud83d\n", "\n\ufffd\n"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(escaped: str, text: str) -> None:
    assert parse(written(escaped)) == [text]


@pytest.mark.parametrize(
    ("escaped", "text"), [(r"\ud83d\ude00", "\N{GRINNING FACE}"), (r"\\ud83d", "\\ud83d"), (r"\u0000", "\x00")]
)
def test_other_escapes_are_read_as_they_are(escaped: str, text: str) -> None:
    assert parse(written(escaped)) == [text]


@given(st.lists(st.sampled_from(["\\\\", "\\n", "\\ud83d", "\\ude00", "u", "d83d", "x", '\\"']), max_size=12))
def test_whatever_a_string_escapes_can_be_read_and_written_back(parts: list[str]) -> None:
    (text,) = parse(written("".join(parts)))
    lenient = json.loads(written("".join(parts)))[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert (text == lenient, parse(orjson.dumps([text]))) == (True, [text])


def test_a_key_that_comes_twice_has_its_last_value() -> None:
    assert parse(b'{"id": 1, "id": 2}') == {"id": 2}


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"0,", b'{"a":0},'])
def test_more_values_than_memory_should_hold_are_a_bad_body(unit: bytes) -> None:
    count = 20 * 1024 * 1024 // len(unit)
    with pytest.raises(BadBody, match="too many values"):
        parse(b"[" + unit * (count - 1) + unit[:-1] + b"]")


def test_a_page_of_a_thousand_long_carts_is_no_bomb() -> None:
    line = {"id": "1", "title": "Enamel mug, blue", "sku": "MUG-1", "qty": 1, "unit_price": "10.00", "url": "https://x"}
    carts = [{"id": str(number), "updated_at": "2026-11-20T12:00:00Z", "items": [line] * 40} for number in range(1000)]
    assert parse(orjson.dumps(carts)) == carts


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_up_to_the_limit_is_read(opening: bytes, closing: bytes) -> None:
    assert parse(opening * 254 + b"1" + closing * 254)


@pytest.mark.parametrize("depth", [255, 1000, 1024])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_past_the_limit_is_a_bad_body(opening: bytes, closing: bytes, depth: int) -> None:
    with pytest.raises(BadBody, match="nested"):
        parse(opening * depth + b"1" + closing * depth)


def test_very_deep_nesting_is_a_bad_body() -> None:
    with pytest.raises(BadBody):
        parse(b"[" * 1_000_000)


def test_brackets_in_strings_are_no_nesting() -> None:
    assert parse(b'["' + b"[{" * 5000 + b'"]') == ["[{" * 5000]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
        max_leaves=20,
    )
)
def test_whatever_can_be_written_is_read_back(value: Any) -> None:
    assert parse(orjson.dumps(value)) == value


@given(st.integers(), st.text(alphabet='0123456789",[]{}\\: -', max_size=40))
def test_an_integer_is_read_exactly_or_refused(number: int, noise: str) -> None:
    body = orjson.dumps([noise])[:-1] + b"," + str(number).encode() + b"]"
    if -(2**63) <= number < 2**64:
        assert parse(body) == [noise, number]
    else:
        with pytest.raises(BadBody):
            parse(body)
