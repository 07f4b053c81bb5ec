"""Every known form of a forbidden target, by every way to the door: nothing is dialled, no canary hears anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from benchmarks.attack_cases import Case
from benchmarks.attack_doors import Field, Result, attacked, tried, with_redirects, without_guard
from benchmarks.attack_forms import forms

FORMS = forms(with_own=False)
HERE = frozenset({"127.0.0.1", "::1"})  # where the canaries listen, and a test may go
WAYS = (
    "literal",
    "A",
    "AAAA",
    "mixed, bad first",
    "mixed, bad last",
    "rebinding",
    "rebinding, kept alive",
    "rebinding, remembered",
    "redirect 301",
    "redirect 302",
    "redirect 307",
    "redirect 308",
)


@pytest.fixture
async def where() -> AsyncIterator[Field]:
    """Return canaries, a watch over every connection, and an attacker's name server."""
    async with attacked(set()) as field:
        yield field


def of_way(where: Field, way: str) -> list[Case]:
    return [case for case in where.cases(FORMS) if case.way == way]


def told(results: Sequence[Result]) -> list[str]:
    return [f"{each.case.form.name!a}: {each.outcomes} {each.attempts} {each.hits}" for each in results]


@pytest.mark.parametrize("way", WAYS)
async def test_no_form_is_dialled(where: Field, way: str) -> None:
    results = await tried(where, of_way(where, way))
    assert results
    assert told([each for each in results if not each.is_well]) == []


async def test_there_are_no_other_ways(where: Field) -> None:
    assert {case.way for case in where.cases(FORMS)} == set(WAYS)


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("redirect")])
async def test_no_form_is_dialled_even_if_redirects_were_followed(where: Field, way: str) -> None:
    with with_redirects():
        results = await tried(where, of_way(where, way))
    assert told([each for each in results if each.is_leak]) == []


@pytest.mark.parametrize("way", ["literal", "rebinding", "redirect 307"])
async def test_the_canaries_are_hit_without_the_guard(where: Field, way: str) -> None:
    near = [case for case in of_way(where, way) if case.form.name in HERE]
    with without_guard(), with_redirects():
        results = await tried(where, near)
    assert (len(results), told([each for each in results if not each.hits])) == (len(HERE), [])
