"""Secrets, signatures and their like are compared by `hmac.compare_digest`, which takes as long for any wrong one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECRET = re.compile(r"secret|signature|token|hash|digest|password|(?:^|_)h?mac(?:_|$)", re.IGNORECASE)
# What may be compared with == and !=, and why.
ALLOWED = {
    "lease_token": "says which worker holds a row; nobody outside is told one or sends one",
    "backend/domain/audit.py: linked(link.record, self._before).hash != link.hash": "both are in the table it checks",
    "backend/domain/audit.py: self._signed.get(seq, link.hash) != link.hash": "both are in the table it checks",
    "backend/services/configuration_plan.py: secret != stored.secrets[0]": "the operator's own file and database",
    "backend/store/access.py: api_keys.c.hash == bindparam('hash', type_=LargeBinary)": (
        "the database looks up the SHA-256 of a random key; how long that takes says nothing of the key"
    ),
}


def name_of(node: ast.expr) -> str:
    """Return the last name of an expression: `key.hash` is `hash`, `row["hash"]` and `hash()` are too."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return key
        case ast.Subscript() | ast.Await():
            return name_of(node.value)
        case ast.Call():
            return name_of(node.func)
    return ""


def plain_comparisons(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each == and != on something secret by its name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            continue
        names = [name_of(side) for side in (node.left, *node.comparators)]
        if any(SECRET.search(name) and name.lower() not in ALLOWED for name in names) and "lease_token" not in names:
            yield node.lineno, ast.unparse(node)


def found_in(path: Path) -> list[str]:
    """Return the comparisons of a file, as the list above names them."""
    where = path.relative_to(ROOT).as_posix()
    return [f"{where}: {text}" for _, text in plain_comparisons(path.read_text(encoding="utf-8"))]


FILES = sorted((ROOT / "backend").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_nothing_secret_is_compared_plainly(path: Path) -> None:
    assert [each for each in found_in(path) if each not in ALLOWED] == []


def test_every_exception_is_still_needed() -> None:
    found = {each for path in FILES for each in found_in(path)}
    assert {each for each in ALLOWED if ": " in each} - found == set()


BAD = [
    "given == self._secret",
    "sent.signature != expected",
    "csrf_token == form['x']",
    "row['hash'] == digest(x)",
    "row.token_hash != await hashed(given)",
    "header == mac",
    "secrets[0] == given",
    "a == b == signature(c)",
    "password_of(row) == given",
]
GOOD = ["machine == other", "hmac.compare_digest(signature, expected)", "len(secret) == 32", "lease_token == token"]


@pytest.mark.parametrize("source", BAD)
def test_the_check_sees_a_plain_comparison(source: str) -> None:
    assert [text for _, text in plain_comparisons(source)] == [source]


@pytest.mark.parametrize("source", GOOD)
def test_the_check_lets_the_rest_pass(source: str) -> None:
    assert list(plain_comparisons(source)) == []


def test_signatures_are_really_compared_in_constant_time() -> None:
    assert "hmac.compare_digest(" in (ROOT / "backend/domain/signing.py").read_text(encoding="utf-8")
