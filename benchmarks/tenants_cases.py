"""What one company's caller asks to reach another: every route, with the other's ids, filters and values in each place.

A case that names something of the other company has a twin that names what exists nowhere: the answers must be alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from backend.domain.signing import make_secret
from backend.main import ROUTERS
from backend.routers import reference
from backend.routers.guard import routes_of
from backend.services.overview import write_place
from benchmarks.tenants_companies import WORDS, Company

NOWHERE = "nowherecanary"
OWN, ITS_COMPANY, ITS_ID, ITS_FILTER, ITS_VALUE = "own", "its company", "its id", "its filter", "its value"
READS = frozenset({"GET", "HEAD"})
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and its twin with (given, nowhere) pairs; an own request has no twin."""

    route: str
    kind: str
    ask: Ask
    twin: Ask | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it is more than a look."""
        return self.ask.method not in READS


@dataclass(frozen=True, slots=True)
class _Route:
    """A route with the names of what it takes; `fields` and `body` are those of its JSON body, if it has one."""

    name: str
    deed: str  # the function's name
    method: str
    path: str
    parts: tuple[str, ...]
    queries: tuple[str, ...]
    fields: tuple[str, ...]
    body: Any

    def at(self, ids: Mapping[str, str]) -> Ask:
        """Return the request for these ids."""
        return Ask(self.method, self.path.format_map(dict.fromkeys(self.parts, "none") | {**ids}), (), self.body)


def all_routes() -> list[APIRoute]:
    """Return every route there is: the API's and the pages'."""
    return [route for module in (*ROUTERS, reference) for route in routes_of(module.router)]


def cases(app: FastAPI, mine: Company, other: Company) -> list[Case]:
    """Return all cases: looks first, then whatever names the other's, then changes of one's own, removals last."""
    spec = app.openapi()
    found = [
        case
        for route in all_routes()
        for method in sorted(route.methods or ())
        for case in _cases_of(_described(spec, route, method, mine), mine, other)
    ]
    return sorted(found, key=_turn)


def unknown_parts(company: Company) -> set[str]:
    """Return the path parameters for which the companies have no real id: such a route is not really asked."""
    return {field.alias for route in all_routes() for field in route.dependant.path_params} - company.ids.keys()


def _turn(case: Case) -> tuple[bool, ...]:
    """Return a place in the order; what may end the caller's own session comes last of all."""
    is_own, removes = case.kind == OWN, case.kind == OWN and case.ask.method == "DELETE"
    ends = case.changes and case.ask.path.startswith(("/account", "/api/v1/account", "/sign-out", "/sign-in"))
    return (ends, is_own and case.changes, not is_own, removes, removes and case.route.endswith("{company_id}"))


def _described(spec: Mapping[str, Any], route: APIRoute, method: str, mine: Company) -> _Route:
    operation = spec["paths"].get(route.path, {}).get(method.lower(), {})
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields, body = (), None
    if schema is not None:
        fields = tuple(spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"])
        body = _own_body(reference.example_of(spec, schema), fields, mine)
        if method == "PATCH":  # a store with carts stays that store
            body.pop("settings", None)
    parts = tuple(field.alias for field in route.dependant.path_params)
    queries = tuple(dict.fromkeys(_queries(route.dependant)))
    return _Route(f"{method} {route.path}", route.name, method, route.path, parts, queries, fields, body)


def _own_body(example: Any, fields: tuple[str, ...], mine: Company) -> dict[str, Any]:
    """Return a body that is right for one's own company."""
    own = {name: mine.fields[name] for name in fields if name in mine.fields and name != "secret"}
    platform = {"platform": "custom"} if "platform" in fields else {}
    return _new({**example, **own, **platform}, mine, "own")


def _new(body: dict[str, Any], mine: Company, mark: str) -> dict[str, Any]:
    """Return a body under a name, and for a store, that no earlier body had: it must not fail for that."""
    named = {"name": f"{mine.word} {mark}"} if "name" in body else {}
    shop = mine.fields["settings"]
    opened = {"settings": {**shop, "base_url": f"{shop['base_url']}-{mark}"}} if "settings" in body else {}
    return {**body, **named, **opened}


def _queries(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _queries(inner)


def _cases_of(route: _Route, mine: Company, other: Company) -> Iterator[Case]:
    yield Case(route.name, OWN, route.at(mine.ids))
    if "company_id" in route.parts:
        yield _swapped(route, ITS_COMPANY, {"company_id": other.ids["company_id"]}, {**other.ids})
    for part in route.parts:
        if part in other.ids and part not in {"company_id", "cycle_id"}:
            yield _swapped(route, ITS_ID, {part: other.ids[part]}, {**mine.ids, part: other.ids[part]})
    for name in route.queries:
        if (value := _filter_value(name, other)) is not None:
            yield _filtered(route, mine, name, value)
    for name in (*route.fields, *(["company_id"] if route.fields else ())):
        if name == "name":
            kind = route.deed.partition("_")[2].removesuffix("_of_company")
            yield _filled(route, mine, name, other.names.get(kind, f"{other.word} owner"))
        elif name in other.fields:
            yield _filled(route, mine, name, other.fields[name])


def _swapped(route: _Route, kind: str, given: Mapping[str, str], ids: Mapping[str, str]) -> Case:
    nowhere = {name: elsewhere(value) for name, value in given.items()}
    pairs = tuple((value, nowhere[name]) for name, value in given.items())
    return Case(route.name, kind, route.at(ids), route.at({**ids, **nowhere}), pairs)


def _filter_value(name: str, other: Company) -> str | None:
    if name == "after":
        return write_place(LATER, other.ids["cart_id"])
    value = other.fields.get(name)
    return value if isinstance(value, str) else None


def _filtered(route: _Route, mine: Company, name: str, value: str) -> Case:
    ask = route.at(mine.ids)
    nowhere = write_place(LATER, elsewhere("x" * 32)) if name == "after" else elsewhere(value)
    asks = [replace(ask, query=((name, each),)) for each in (value, nowhere)]
    return Case(route.name, ITS_FILTER, asks[0], asks[1], ((value, nowhere),))


def _filled(route: _Route, mine: Company, name: str, value: Any) -> Case:
    ask, nowhere = route.at(mine.ids), make_secret() if name == "secret" else elsewhere(value)
    mark = f"{route.deed}-{name}".replace("_", "-")
    given, twin = (
        _new(route.body, mine, f"{mark}-{number}") | {name: each} for number, each in enumerate((value, nowhere))
    )
    pairs = tuple(_pairs(given, twin))
    return Case(route.name, ITS_VALUE, replace(ask, body=given), replace(ask, body=twin), pairs)


def _pairs(given: Any, twin: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in which two values of one shape differ."""
    if isinstance(given, dict):
        for name, inner in given.items():
            yield from _pairs(inner, twin[name])
    elif isinstance(given, str) and given != twin:
        yield given, twin


def elsewhere(value: Any) -> Any:
    """Return a value of the same form that names nothing: another word where it has one, else an id of noughts."""
    if isinstance(value, dict):
        return {name: elsewhere(inner) for name, inner in value.items()}
    if not isinstance(value, str):
        return value
    for word in WORDS:
        if word in value:
            return value.replace(word, NOWHERE)
    return "0" * len(value)
