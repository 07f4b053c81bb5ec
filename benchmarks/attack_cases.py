"""The cases of the address attack: every form by every way on which it may come to the door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from benchmarks.attack_canary import Canary
from benchmarks.attack_forms import DOWN, OUTSIDE, OUTSIDE_NAME, OUTSIDE_V6, Form

REDIRECTS = (301, 302, 307, 308)
HERE = "127.0.0.1"  # what a name means that no case gave an address: the most useful answer for an attacker
NO_CARTS: dict[str, Any] = {"carts": [], "next_cursor": None}


@dataclass(frozen=True, slots=True)
class Case:
    """One URL for a door. `expected` are the outcomes of the requests made with it, in order."""

    form: Form
    way: str
    url: str
    expected: tuple[str, ...]
    number: int = 0

    @property
    def is_remembered(self) -> bool:
        """Whether the second request comes while the first one's look-up is still remembered."""
        return self.way == "rebinding, remembered"


@dataclass
class Names:
    """The attacker's name server: each name's answers, one after the other; the last one stays."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers[OUTSIDE_NAME] = [[OUTSIDE]]

    async def __call__(self, host: str) -> Sequence[str]:
        """Answer one look-up."""
        self.asked.append(host)
        left = self.answers.get(host, [[HERE]])
        return left.pop(0) if len(left) > 1 else left[0]


@dataclass
class Outside:
    """A public server that does as its path says: ``/302/7/`` redirects to target 7, ``/close/`` hangs up."""

    targets: list[str] = field(default_factory=list)
    port: int = 0
    answered: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on loopback while the block lasts."""
        app = web.Application()
        app.router.add_route("*", "/{what}/{target}/{rest:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.answered += 1
        what = request.match_info["what"]
        if what.isdecimal():
            location = self.targets[int(request.match_info["target"])]
            return web.Response(status=int(what), headers={"Location": location})
        answer = web.json_response(NO_CARTS)
        if what == "close":
            answer.force_close()
        return answer


def every_case(forms: Sequence[Form], bird: Canary, names: Names, outside: Outside) -> list[Case]:
    """Return all cases, under names of their own; name server and outside server learn what they need for them."""
    made: list[Case] = []
    for number, form in enumerate(forms, len(outside.targets)):
        target = form.at(bird.port, bird.closed)
        outside.targets.append(target)
        made.append(Case(form, "literal", target, ("refused",)))
        if form.answer is not None:
            made += _named(form, form.answer, f"n{number}.attack.example", (bird.port, names))
        if target.isprintable():
            made += _redirected(form, number, (bird.port, names))
    return [replace(case, number=number) for number, case in enumerate(made)]


def _named(form: Form, answer: str, tail: str, where: tuple[int, Names]) -> Iterator[Case]:
    """Yield the cases in which a name leads to the form's address."""
    port, names = where
    public = OUTSIDE_V6 if ":" in answer else DOWN
    ways: dict[str, tuple[list[list[str]], str, tuple[str, ...]]] = {
        "AAAA" if ":" in answer else "A": ([[answer]], "", ("refused",)),
        "mixed, bad first": ([[answer, public, DOWN]], "", ("refused",)),
        "mixed, bad last": ([[DOWN, public, answer]], "", ("refused",)),
        "rebinding": ([[OUTSIDE], [answer]], "close/0/", ("200", "refused")),
        "rebinding, kept alive": ([[OUTSIDE], [answer]], "keep/0/", ("200", "200")),
        "rebinding, remembered": ([[OUTSIDE], [answer]], "close/0/", ("200", "200")),
    }
    for way, (answers, path, expected) in ways.items():
        host = f"{way.replace(', ', '-').replace(' ', '-').lower()}.{tail}"
        names.answers[host] = answers
        yield Case(form, way, f"http://{host}:{port}/{path}", expected)


def _redirected(form: Form, number: int, where: tuple[int, Names]) -> Iterator[Case]:
    """Yield the cases in which a public server redirects to the form."""
    port, names = where
    for status in REDIRECTS:
        host = f"r{status}.n{number}.attack.example"
        names.answers[host] = [[OUTSIDE]]
        yield Case(form, f"redirect {status}", f"http://{host}:{port}/{status}/{number}/", (str(status),))
