"""Secrets are taken out of what others answer, however they write them."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from backend.domain.masking import without_secrets

SECRET = "whsec_" + "ab/CD+ef" * 4 + "AAAA+/AAA=="
TEXT = SECRET.removeprefix("whsec_")
WRITTEN = {
    "as it is": SECRET,
    "without its prefix": TEXT,
    "without its padding": TEXT.rstrip("="),
    "in JSON": json.dumps({"secret": SECRET}),
    "in JSON as PHP writes it": json.dumps({"secret": SECRET}).replace("/", "\\/"),
    "in JSON as .NET writes it": SECRET.replace("+", "\\u002B").replace("/", "\\u002F").replace("=", "\\u003D"),
    "in HTML": html.escape(f"<b>{SECRET}</b>"),
    "in a URL": f"https://x.example/?s={quote(SECRET, safe='')}",
    "in base64 for URLs": TEXT.replace("+", "-").replace("/", "_"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_signing_secret_is_masked(written: str) -> None:
    found = without_secrets(f"no: {written} is wrong".encode(), [SECRET])
    assert b"[redacted]" in found
    assert b"ef" not in found.lower().replace(b"[redacted]", b"")


@pytest.mark.parametrize("shape", ["whsec_" + "A" * 32, "shpat_" + "0a" * 16, "ck_" + "0" * 40, "cs_" + "f" * 40])
def test_what_has_the_shape_of_a_credential_is_masked_whoever_s_it_is(shape: str) -> None:
    assert without_secrets(f"got {shape}.".encode(), []) == b"got [redacted]."


@pytest.mark.parametrize("text", [b"", b"ok", b'{"ok": true, "id": "whsec"}', b"\xff\x00binary", b"stock_0123 back_12"])
def test_any_other_answer_stays_as_it_is(text: bytes) -> None:
    assert without_secrets(text, [SECRET]) == text
