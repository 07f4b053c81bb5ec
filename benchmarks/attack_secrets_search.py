"""Canaries, every form in which one may leak, and the search for them in whatever came out of the product."""

from __future__ import annotations

import base64
import html
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Canary:
    """A value that must not come out.

    `allowed` are beginnings of the places where it belongs: a shopper's address stands in the table of customers, a
    partner's address in its own row. `raw` are the bytes that a text stands for.
    """

    name: str
    value: str
    allowed: tuple[str, ...] = ()
    raw: bytes | None = None

    def forms(self) -> Mapping[str, tuple[bytes, ...]]:
        """Return what to look for, by the name of the form; letters count alike whatever their case."""
        return _forms(self.value, self.raw)


@lru_cache(maxsize=4096)
def _forms(value: str, raw: bytes | None) -> Mapping[str, tuple[bytes, ...]]:
    found = dict(forms_of(value.encode()))
    if raw is not None:
        found |= {f"{name} of its bytes": values for name, values in forms_of(raw)}
    return found


def forms_of(value: bytes) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield each way of writing a value, in small letters."""
    text = value.decode("latin-1")
    forms = {
        "as it is": (value,),
        "base64": tuple(_base64(value)),
        "hex": (value.hex().encode(),),
        "in a URL": (quote(value, safe="").encode(), quote(quote(value, safe=""), safe="").encode()),
        "percent of each byte": ("".join(f"%{byte:02x}" for byte in value).encode(),),
        "JSON escapes": ("".join(f"\\u{byte:04x}" for byte in value).encode(),),
        "escapes of Python": (repr(value)[2:-1].encode(), "".join(f"\\x{byte:02x}" for byte in value).encode()),
        "HTML": (html.escape(text).encode("latin-1"), "".join(f"&#{byte};" for byte in value).encode()),
        "backwards": (value[::-1],),
        "two bytes a letter": (text.encode("utf-16-le"), text.encode("utf-16-be")),
    }
    for name, values in forms.items():
        yield name, tuple(dict.fromkeys(each.lower() for each in values))


def _base64(value: bytes) -> Iterator[bytes]:
    """Yield what stands in any base64 text that holds the value: wherever in it that begins, without the ends."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + value).rstrip(b"=")
        whole = whole[: len(whole) - (1 if (before + len(value)) % 3 else 0)]
        middle = whole[(0, 2, 3)[before] :]
        yield middle
        yield middle.translate(bytes.maketrans(b"+/", b"-_"))


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary that was found: which, where, in what form, and what stands around it."""

    canary: str
    place: str
    form: str
    around: str


@dataclass(slots=True)
class Search:
    """Looks through places for canaries; counts what it looked through, by the kind of the place."""

    canaries: Sequence[Canary]
    hits: list[Hit] = field(default_factory=list)
    looked: dict[str, list[int]] = field(default_factory=dict)  # kind -> places, bytes

    def look(self, place: str, content: bytes) -> None:
        """Look through one place; the word before its colon is its kind."""
        count = self.looked.setdefault(place.partition(":")[0], [0, 0])
        count[0] += 1
        count[1] += len(content)
        self.hits += found_in(self.canaries, place, content)

    def look_at(self, places: Iterable[tuple[str, bytes]]) -> None:
        """Look through several."""
        for place, content in places:
            self.look(place, content)


def found_in(canaries: Iterable[Canary], place: str, content: bytes) -> Iterator[Hit]:
    """Yield what is found in a place and does not belong there, each canary once, in the first form that is there."""
    small = content.lower()
    for canary in canaries:
        if place.startswith(canary.allowed):
            continue
        for form, values in canary.forms().items():
            at = next((small.find(value) for value in values if value in small), -1)
            if at >= 0:
                around = content[max(at - 70, 0) : at + 20].decode("utf-8", "replace")
                yield Hit(canary.name, place, form, " ".join(around.split()))
                break


def word(chance: random.Random, length: int = 24) -> str:
    """Return letters and digits that stand nowhere by chance."""
    return "".join(chance.choices(ALPHABET, k=length))


def secret(chance: random.Random) -> tuple[str, bytes]:
    """Return a signing secret and its bytes."""
    raw = chance.randbytes(24)
    return f"whsec_{base64.b64encode(raw).decode()}", raw


def control(canaries: Sequence[Canary]) -> tuple[int, int]:
    """Plant each canary in each form, one at a time; return how many were planted and how many were found.

    What is found where nothing was planted counts against the search.
    """
    planted = found = 0
    for canary in canaries:
        for value in {value for values in canary.forms().values() for value in values}:
            noise = base64.b64encode(os.urandom(150))
            planted += 1
            found += any(True for _ in found_in([canary], "planted", noise + b" " + value + b" " + noise))
            found -= any(True for _ in found_in([canary], "clean", noise))
    return planted, found
