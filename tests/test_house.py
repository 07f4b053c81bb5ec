"""The shape of the project itself: where things are, what is really used, how long things may be, what is not said."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.audit_requirements import lock_faults, requirements

ROOT = Path(__file__).resolve().parent.parent

TOP_LEVEL = [
    "backend/", "backend/services/", "backend/routers/", "scripts/", "run_abandoned_cart_polling.py",
    "requirements.txt", "tests/",
]  # fmt: skip

# The packages that the project promises to stand on, by the name they are imported under.
PROMISED = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "sqlalchemy": "sqlalchemy",
    "httpx": "httpx",
    "apscheduler": "apscheduler",
    "shopifyapi": "shopify",
    "woocommerce": "woocommerce",
    "structlog": "structlog",
    "pytest": "pytest",
}

STANDARD = sys.stdlib_module_names
LONGEST_FUNCTION = 60  # lines, from `def` to its last line
LONGEST_FILE = 399

# What belongs to one machine or one index, never to the project. Two tests have to speak of it.
SPEAKING_OF_IT = {Path(__file__), ROOT / "tests/scripts/test_audit_requirements.py"}
FOREIGN = {
    "a home or work folder": re.compile(r"(?<![\w.])/(?:home|root|Users|work|opt)/(?=\w)"),
    "an address of a package index": re.compile(r"(?i)https?://[^\s\"')>]*(?:/simple\b|pythonhosted)"),
    "an option that names a package index": re.compile(r"--(?:extra-)?index-url[ =]|--find-links[ =]"),
}
UNREAD = {".png", ".jpg", ".ico", ".woff2", ".gz", ".db"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file of the project: what git tracks, or without git what lies in its folders."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not {".git", ".venv"} & set(path.relative_to(ROOT).parts)]
    return tuple(path for path in found if path.is_file())


def python_files(*folders: str) -> list[Path]:
    """Return the Python files in these top-level folders or of these names."""
    return [
        path for path in tracked_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    ]  # fmt: skip


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(path: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".", maxsplit=1)[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_the_top_level_is_laid_out_as_promised(name: str) -> None:
    path = ROOT / name
    assert path.is_dir() if name.endswith("/") else path.is_file()


@pytest.mark.parametrize("package", PROMISED)
def test_a_promised_package_is_in_the_requirements(package: str) -> None:
    pinned = {line.split("==")[0] for line in requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))}
    assert package in pinned


@pytest.mark.parametrize(("package", "module"), PROMISED.items(), ids=PROMISED)
def test_a_promised_package_is_really_imported(package: str, module: str) -> None:
    sources = ("tests",) if package == "pytest" else ("backend", "scripts", "run_abandoned_cart_polling.py")
    importers = [path for path in python_files(*sources) if module in imported_packages(path)]
    assert importers, f"{package} is listed but imported nowhere in {', '.join(sources)}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_hashed_and_names_no_index(name: str) -> None:
    assert lock_faults((ROOT / name).read_text(encoding="utf-8")) == []


def test_the_lock_has_everything_that_its_input_asks_for() -> None:
    asked = re.findall(r"(?m)^([a-z0-9-]+)", (ROOT / "requirements.in").read_text(encoding="utf-8"))
    pinned = {line.split("==")[0] for line in requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))}
    assert sorted(set(asked) - pinned) == []


def test_every_run_time_dependency_has_its_reason_written_down() -> None:
    listed = re.search(r"(?ms)^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert listed
    names = re.findall(r'"([a-z0-9-]+)', listed[1])
    reasons = dict(re.findall(r"(?m)^([a-z0-9-]+).*?\s# (.+)$", (ROOT / "requirements.in").read_text(encoding="utf-8")))
    assert [name for name in names if not reasons.get(name)] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in python_files("backend", "simulator", "scripts")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path: len(path.read_bytes().splitlines()) for path in python_files("backend", "simulator", "scripts")}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_every_python_file_says_what_it_is_for() -> None:
    files = python_files("backend", "simulator", "scripts", "benchmarks", "run_abandoned_cart_polling.py")
    assert [str(path.relative_to(ROOT)) for path in files if not ast.get_docstring(tree(path))] == []


def test_every_folder_of_code_is_a_package() -> None:
    # The import contracts do not see into a folder without one.
    folders = {path.parent for path in python_files("backend", "simulator")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_loose_file_of_the_product_hides_a_standard_module() -> None:
    # The server may be started from inside backend/, which puts these names before the standard library.
    loose = {path.stem for path in python_files("backend") if path.parent == ROOT / "backend"}
    assert sorted(loose & STANDARD) == []


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_names_a_machine_or_an_index(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked_files()
        if path not in SPEAKING_OF_IT and path.suffix not in UNREAD
        for match in FOREIGN[what].finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []
