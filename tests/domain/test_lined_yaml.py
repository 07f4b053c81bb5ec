"""YAML with lines: strict about keys, never more than plain values, and always an answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.lined_yaml import read_yaml


def faults(text: str) -> list[str]:
    return [str(fault) for fault in read_yaml(text)[1]]


def test_every_key_and_item_has_its_line() -> None:
    document, _ = read_yaml("a: 1\nb:\n  - c: 2\n  - d\n")
    assert [document.line(path) for path in (("a",), ("b",), ("b", 0, "c"), ("b", 1))] == [1, 2, 3, 4]


def test_a_path_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    document, _ = read_yaml("a: 1\nb:\n  - c: 2\n")
    assert document.line(("b", 0, "missing", "deep")) == 3


def test_a_key_given_twice_is_a_fault_on_its_line() -> None:
    assert faults("a: 1\nb: 2\na: 3\n") == ["line 3: the key a is given twice"]


def test_an_alias_repeats_a_part() -> None:
    document, _ = read_yaml("a: &x {k: 1}\nb: *x\n")
    assert document.value == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1\nb: 2\n", "line 2: this is not YAML: expected ',' or ']', but got ':'"),
        ("a: !!python/name:os.system x\n", "line 1: 'x' cannot be read as python/name:os.system"),
        ("a: 2026-99-99\n", "line 1: '2026-99-99' cannot be read as timestamp"),
        ("? [1]\n: 2\n", "line 1: a key must be a plain word"),
        ("a: 1\n---\nb: 2\n", "line 2: this is not YAML: but found another document"),
        ("a: 1\nb: \x00\n", "line 2: the file holds a character that YAML does not take"),
        ("a: &x [*x]\n", "line 1: the file is nested too deeply or grows too large"),
        ("[" * 3000, "line 1: the file is nested too deeply or grows too large"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_aliases_that_grow_without_end_are_refused() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert "grows too large" in faults("a0: &a0 [x]\n" + levels)[0]


@given(st.text(alphabet="ab:-[]{}&*!?|>'\"# \n\t\\%@0", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_gets_an_answer(text: str) -> None:
    _, found = read_yaml(text)
    assert all(fault.line >= 1 for fault in found)
