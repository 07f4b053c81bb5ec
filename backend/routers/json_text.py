"""A look at the text of a JSON body: what is no JSON, and what two readers would read differently, goes no further.

One pass of the standard reader, and before it a count that keeps the pass short. NUL characters, halves of surrogate
pairs and numbers out of range are well-formed; `schemas.storable` refuses those, with their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NoReturn

from backend.routers.remedies import BAD_JSON, DEEPEST

DEEPEST_READ = 64  # levels; no body of ours needs more than DEEPEST, which is told with the place
MOST_VALUES = 50_000  # reading more would hold up everybody else
# To the end of the text where no quote closes it, so that every character is looked at once.
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
KEY_SHOWN = 80  # characters


class BadText(ValueError):
    """The text of a body cannot be taken: what is wrong, the place (`body.name`), and what to do about it."""

    def __init__(self, message: str, remedy: str, place: str = "body") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.place = place


class RepeatedKey(BadText):
    """A key comes twice in one object, and nobody can say which value counts."""


class TooManyValues(BadText):
    """The body is small enough, but holds so many values that reading it takes long."""


class _Twice(Exception):
    """Some object has a key twice."""


class _Members(list[tuple[str, Any]]):
    """An object as its members come, repeated keys included."""


def check_text(body: bytes) -> None:
    """Look at a JSON body. Raises `BadText`."""
    _check_size(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadText("the body is not UTF-8", "send the JSON encoded as UTF-8") from None
    try:
        _parse(text, _once)
    except _Twice:
        place = next(_repeats(_parse(text, _Members), ("body",)))
        told = f'the key "{place[-1][:KEY_SHOWN]}" comes twice in one object'
        raise RepeatedKey(told, "send it once", ".".join(place)) from None


def _parse(text: str, made_of: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    """Read the text; `made_of` takes an object's members. Raises `BadText`."""
    try:
        return json.loads(text, object_pairs_hook=made_of, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        told = f"the body cannot be read: {error.msg} at line {error.lineno}, column {error.colno}"
        raise BadText(told, BAD_JSON) from None
    except BadText:
        raise
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise BadText("a number in the body has too many digits", "send a shorter number") from None


def _check_size(body: bytes) -> None:
    """Refuse what is nested too deeply or holds too many values. What strings hold is taken out where it matters."""
    if _openings(body) <= DEEPEST_READ and _values(body) <= MOST_VALUES:
        return
    bare = STRING.sub(b"", body)
    brackets = bare.translate(None, NOT_BRACKETS)[: 2 * MOST_VALUES]  # a longer text that is JSON holds too many values
    if max(accumulate(map(STEPS.__getitem__, brackets)), default=0) > DEEPEST_READ:
        raise BadText("the body is nested too deeply", f"nest at most {DEEPEST} levels")
    if _values(bare) > MOST_VALUES:
        raise TooManyValues(f"the body holds more than {MOST_VALUES:,} values", "send less at once")


def _openings(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _values(text: bytes) -> int:
    return _openings(text) + text.count(b",")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise _Twice
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise BadText(f"the body cannot be read: {name} is not JSON", "send a finite number, or null")


def _repeats(value: object, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the place of each key that its object had before."""
    if isinstance(value, _Members):
        seen = set()
        for key, inner in value:
            if key in seen:
                yield (*place, key)
            seen.add(key)
            yield from _repeats(inner, (*place, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _repeats(inner, (*place, str(position)))
