"""JSON that may be hostile."""

from __future__ import annotations

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
        b'"\\ud800"',
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
