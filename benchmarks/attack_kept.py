"""How the attacks over HTTP keep their pages: one name per form, so that a new run takes the old one's place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from benchmarks.pages import RESULTS, Page


def read_options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Add the options that every attack has, and read the command line."""
    parser.add_argument("--long", action="store_true", help="the long form: many minutes")
    parser.add_argument("--seed", type=int, default=1, help="what chance is drawn from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    return parser.parse_args(arguments)


def keep(page: Page, options: argparse.Namespace) -> int:
    """Write the page and what is raw, print the page, and return the exit code: 1 if something was not reached."""
    options.results.mkdir(parents=True, exist_ok=True)
    file: Path = options.results / f"{page.name}{'-long' if options.long else ''}.md"
    text = page.text()
    file.write_text(text)
    file.with_suffix(".jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in page.raw))
    sys.stdout.write(text)
    return int(not all(check.is_met for check in page.checks))


def kept(name: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """Return what is raw of an earlier run in the same form; nothing where there was none."""
    file: Path = options.results / f"{name}{'-long' if options.long else ''}.jsonl"
    return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.is_file() else []
