"""The checklist keeps its word: a row that is shown names what shows it, and everything that is named exists."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (?P<id>[A-Z]\d?-\d\d[a-z]?) \| (?P<what>.*?) \| (?P<state>.*?) \| ?(?P<where>.*?) ?\|$")
TEST = re.compile(r"`(?P<path>[\w/.-]+\.py)::(?P<name>\w+)(?:\[[^`]*\])?`")
MEASURED = re.compile(r"`python -m (?P<module>benchmarks\.\w+)[^`]*` \(`(?P<page>benchmarks/results/[\w*.-]+\.md)`\)")
COUNTS = {"C": 11, "S0": 29, "S1": 26, "S2": 82, "S3": 66, "S4": 41, "X": 14, "E": 22}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the checklist."""

    id: str
    state: str
    where: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Path and name of every test that the row names."""
        return [(found["path"], found["name"]) for found in TEST.finditer(self.where)]

    @property
    def measurements(self) -> list[tuple[str, str]]:
        """Module of every measurement that the row names, and where its page is kept (`*` for its date or form)."""
        return [(found["module"], found["page"]) for found in MEASURED.finditer(self.where)]


def rows() -> list[Row]:
    """Return every row of the page."""
    lines = (ROOT / "docs/checklist.md").read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := ROW.match(line))]
    return [Row(match["id"], match["state"], match["where"]) for match in found]


def tests_of(path: str) -> set[str]:
    """Return the names of the tests in a file, of classes and of loose functions alike."""
    file = ROOT / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_row_is_there_once() -> None:
    ids = [row.id for row in rows()]
    counts = {group: sum(id_.startswith(f"{group}-") for id_ in ids) for group in COUNTS}
    assert counts == COUNTS
    assert len(set(ids)) == len(ids) == sum(COUNTS.values())


def test_every_row_of_the_page_can_be_read() -> None:
    lines = (ROOT / "docs/checklist.md").read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|") and not line.startswith(("| ID |", "|---"))]
    assert [line for line in tables if not ROW.match(line)] == []


def test_a_row_is_shown_or_planned() -> None:
    assert [row.id for row in rows() if row.state not in {"shown", "planned"}] == []


def test_a_shown_row_names_a_test_or_a_measurement() -> None:
    assert [row.id for row in rows() if row.state == "shown" and not (row.tests or row.measurements)] == []


def test_every_named_test_exists() -> None:
    named = [(row.id, path, name) for row in rows() for path, name in row.tests]
    known = {path: tests_of(path) for _, path, _ in named}
    assert [f"{id_}: {path}::{name}" for id_, path, name in named if name not in known[path]] == []


def test_every_named_measurement_exists_and_has_left_its_page() -> None:
    named = [(row.id, module, page) for row in rows() for module, page in row.measurements]
    missing = [
        f"{id_}: {module}, {page}"
        for id_, module, page in named
        if not (ROOT / f"{module.replace('.', '/')}.py").is_file() or not list(ROOT.glob(page))
    ]
    assert (bool(named), missing) == (True, [])
