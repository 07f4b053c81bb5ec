"""What the code may not do, read from its syntax: query without a company, wait for the network in a transaction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STORE, SERVICES = ROOT / "backend" / "store", ROOT / "backend" / "services"
# The few places for SQL across companies, or about the installation's own tables.
ACROSS = {
    "access.py",
    "alerts.py",
    "cycles.py",
    "gauges.py",
    "installation.py",
    "links.py",
    "overview.py",
    "people.py",
    "sessions.py",
    "status.py",
}
BUILDERS = {"select", "update", "delete"}
BLOCKS = {"transaction", "reading", "work", "overview", "seeing"}
# What crosses the network: the outbound door, and the calls of an adapter.
NETWORK = {"send", "fetch_page", "reread", "check", "test"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def names(node: ast.AST) -> set[str]:
    """Return every name and attribute in a piece of code."""
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def builds_a_query(function: ast.AST) -> bool:
    calls = [each.func for each in ast.walk(function) if isinstance(each, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id in BUILDERS for call in calls)


def unfiltered(path: Path) -> list[str]:
    """Return the functions that build a query and never speak of a company."""
    speaks = {"company_id", "_company", "_mine"}
    return [each.name for each in functions(parsed(path)) if builds_a_query(each) and not speaks & names(each)]


@pytest.mark.parametrize(
    "path", sorted(set(STORE.glob("*.py")) - {STORE / name for name in ACROSS}), ids=lambda p: p.name
)
def test_a_store_s_query_names_its_company(path: Path) -> None:
    assert unfiltered(path) == []


def test_the_check_sees_a_query_without_a_company(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("async def load(self):\n    return await self._connection.execute(select(carts))\n")
    assert unfiltered(bad) == ["load"]


@pytest.mark.parametrize("name", sorted(ACROSS))
def test_a_place_for_sql_across_companies_is_there(name: str) -> None:
    assert (STORE / name).is_file()


def is_transaction(item: ast.withitem) -> bool:
    call = item.context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in BLOCKS


def network_in_transactions(path: Path) -> list[str]:
    """Return the lines that wait for the network while a transaction is open."""
    return [
        f"{path.name}:{awaited.lineno}"
        for block in ast.walk(parsed(path))
        if isinstance(block, ast.AsyncWith) and any(map(is_transaction, block.items))
        for statement in block.body
        for awaited in ast.walk(statement)
        if isinstance(awaited, ast.Await) and crosses_the_network(awaited.value)
    ]


def crosses_the_network(call: ast.expr) -> bool:
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in NETWORK


@pytest.mark.parametrize("path", sorted(SERVICES.glob("*.py")), ids=lambda path: path.name)
def test_no_transaction_is_open_while_the_network_is_waited_for(path: Path) -> None:
    assert network_in_transactions(path) == []


@pytest.mark.parametrize("block", ["transaction('c')", "reading('c')", "work()", "seeing(None)"])
def test_the_check_sees_a_call_within_a_transaction(tmp_path: Path, block: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(f"async def f(self):\n    async with self._db.{block} as tx:\n        await self._http.send(1)\n")
    assert network_in_transactions(bad) == ["bad.py:3"]
