"""Parses, validates and executes queries against the schema of one API version."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from simulator.shopify.checkouts import Checkout
from simulator.shopify.cost import CostCount
from simulator.shopify.schema import VERSIONS, schema_text
from simulator.shopify.search import SearchNotSpoken, compile_search
from simulator.shopify.shop import Shop

MOST_PER_PAGE = 250
_SCOPE_OF_FIELD = {"customer": "read_customers", "abandonedCheckouts": "read_orders"}
_SORT_KEYS: dict[str, Callable[[Checkout], Any]] = {
    "ID": lambda c: c.number,
    "CHECKOUT_ID": lambda c: c.number,
    "RELEVANCE": lambda c: c.number,
    "CREATED_AT": lambda c: c.created_at.isoformat(),
    "CUSTOMER_NAME": lambda _c: "",
    "TOTAL_PRICE": lambda c: float(c.spec.total),
}


@dataclass(slots=True)
class Call:
    """One request on its way through the engine. `null_records`: listed positions that fail while being read."""

    shop: Shop
    version: str
    null_records: frozenset[int] = frozenset()
    variables: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    """The query is not one that this version can run; `errors` as they are answered."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(str(errors))
        self.errors = [_as_answered(error) for error in errors]


Info = GraphQLResolveInfo[Call]


@lru_cache(maxsize=len(VERSIONS))
def schema_of(version: str) -> GraphQLSchema:
    """Return the executable schema of one version."""
    schema = build_schema(schema_text(version))
    root, checkout = schema.type_map["QueryRoot"], schema.type_map["AbandonedCheckout"]
    assert isinstance(root, GraphQLObjectType)  # noqa: S101 - the file says so
    assert isinstance(checkout, GraphQLObjectType)  # noqa: S101
    for name, resolve in _ROOT.items():
        root.fields[name].resolve = resolve
    checkout.fields["lineItems"].resolve = _line_items
    checkout.fields["customer"].resolve = _customer
    return schema


@lru_cache(maxsize=64)
def _checked(version: str, query: str) -> DocumentNode:
    """Parse and validate one query text. Raises `Refused`."""
    try:
        document = parse(query)
    except GraphQLError as error:
        raise Refused([error]) from None
    if errors := validate(schema_of(version), document):
        raise Refused(errors)
    return document


def requested_cost(version: str, query: str, variables: Mapping[str, Any]) -> int:
    """Return the cost of a query before it is run. Raises `Refused`."""
    return CostCount(schema_of(version), _checked(version, query), variables).total()


def run(call: Call, query: str, operation: str | None) -> dict[str, Any]:
    """Execute a query and return ``data`` and, where there are any, ``errors``. Raises `Refused`."""
    document = _checked(call.version, query)
    result = execute_sync(
        schema_of(call.version),
        document,
        context_value=call,
        variable_values=call.variables,
        operation_name=operation,
    )
    if result.data is None and result.errors and all(error.path is None for error in result.errors):
        raise Refused(result.errors)
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_as_answered(error) for error in result.errors]
    return answer


def _as_answered(error: GraphQLError) -> dict[str, Any]:
    """Give an error the shape and the code words that Shopify uses."""
    answer: dict[str, Any] = dict(error.formatted)
    codes = {
        "Cannot query field": "undefinedField",
        "Unknown argument": "argumentNotAccepted",
        "does not exist in": "argumentLiteralsIncompatible",
        "Variable": "INVALID_VARIABLE",
    }
    code = next((word for start, word in codes.items() if start in error.message), None)
    if code is not None and not answer.get("extensions"):
        answer["extensions"] = {"code": code}
    return answer


def _require(call: Call, name: str) -> None:
    """Refuse a field whose scope the token lacks; a write scope includes reading."""
    scope = _SCOPE_OF_FIELD[name]
    if {scope, scope.replace("read_", "write_")} & set(call.shop.scopes):
        return
    raise GraphQLError(
        f"Access denied for {name} field. Required access: `{scope}` access scope.",
        extensions={
            "code": "ACCESS_DENIED",
            "documentation": "https://shopify.dev/api/usage/access-scopes",
            "requiredAccess": f"`{scope}` access scope.",
        },
    )


def _abandoned_checkouts(_root: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    call: Call = info.context
    _require(call, "abandonedCheckouts")
    first = _page_size(arguments, "abandonedCheckouts")
    search, sort_key = arguments.get("query"), arguments.get("sortKey") or "ID"
    reverse = bool(arguments.get("reverse"))
    mark = zlib.crc32(f"{search}|{sort_key}|{reverse}".encode())
    key = _SORT_KEYS[sort_key]
    found = sorted(_found(call, search), key=lambda c: (key(c), c.number), reverse=reverse)
    start, seen = 0, 0
    if after := arguments.get("after"):
        last, seen = _read_cursor(after, mark)
        start = sum(1 for c in found if ([key(c), c.number] > last if reverse else [key(c), c.number] <= last))
    if seen + first > call.shop.page_limit:
        raise GraphQLError(f"Pagination is limited to {call.shop.page_limit} objects.")
    page = found[start : start + first]
    edges = [
        {"cursor": _cursor([key(c), c.number], seen + index + 1, mark), "node": _node_at(call, c, index)}
        for index, c in enumerate(page)
    ]
    return {"edges": edges, "nodes": [e["node"] for e in edges], "pageInfo": _page_info(edges, start, len(found))}


def _node_at(call: Call, checkout: Checkout, index: int) -> Any:
    if index in call.null_records:
        return {**checkout.node(), "customer": GraphQLError("Internal error. Looks like something went wrong.")}
    return checkout.node()


def _page_info(edges: list[dict[str, Any]], start: int, total: int) -> dict[str, Any]:
    return {
        "hasNextPage": start + len(edges) < total,
        "hasPreviousPage": start > 0,
        "startCursor": edges[0]["cursor"] if edges else None,
        "endCursor": edges[-1]["cursor"] if edges else None,
    }


def _page_size(arguments: dict[str, Any], name: str) -> int:
    if arguments.get("last") is not None or arguments.get("before") is not None:
        raise GraphQLError("This server pages forwards only.")
    first = arguments.get("first")
    if first is None:
        raise GraphQLError(f"you must provide one of first or last on {name}")
    if not 0 <= first <= MOST_PER_PAGE:
        raise GraphQLError(f"first cannot exceed {MOST_PER_PAGE}")
    return int(first)


def _found(call: Call, search: str | None) -> list[Checkout]:
    try:
        matches = compile_search(search, call.version)
    except (SearchNotSpoken, ValueError) as error:
        raise GraphQLError(f"Invalid search: {error}") from None
    return [checkout for checkout in call.shop.listed() if matches(checkout)]


def _cursor(last: list[Any], seen: int, mark: int) -> str:
    """Return a cursor: the place in the order, good for this query, sort key and direction only."""
    value = json.dumps({"last_id": last[1], "last_value": last[0], "n": seen, "q": mark})
    return base64.b64encode(value.encode()).decode()


def _read_cursor(text: str, mark: int) -> tuple[list[Any], int]:
    try:
        value = json.loads(base64.b64decode(text, validate=True))
        if value["q"] == mark:
            return [value["last_value"], value["last_id"]], value["n"]
    except (ValueError, KeyError, TypeError):
        pass  # refused below, as any other cursor that is not ours
    raise GraphQLError("Invalid cursor for current pagination sort.")


def _line_items(checkout: dict[str, Any], _info: Info, **arguments: Any) -> dict[str, Any]:
    first = _page_size(arguments, "lineItems")
    start = int(arguments.get("after") or 0)
    lines = checkout["lineItems"]
    edges = [{"cursor": str(start + i + 1), "node": n} for i, n in enumerate(lines[start : start + first])]
    return {"edges": edges, "nodes": [e["node"] for e in edges], "pageInfo": _page_info(edges, start, len(lines))}


def _customer(checkout: dict[str, Any], info: Info) -> Any:
    if checkout["customer"] is not None:
        _require(info.context, "customer")
    return checkout["customer"]


def _count(_root: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    _require(info.context, "abandonedCheckouts")
    count, limit = len(_found(info.context, arguments.get("query"))), arguments.get("limit")
    if limit is not None and count > limit:
        return {"count": limit, "precision": "AT_LEAST"}
    return {"count": count, "precision": "EXACT"}


def _node(_root: Any, info: Info, **arguments: Any) -> Any:
    _require(info.context, "abandonedCheckouts")
    number = arguments["id"].rpartition("gid://shopify/AbandonedCheckout/")[2]
    checkout = info.context.shop.checkouts.get(int(number)) if number.isdigit() else None
    return checkout and checkout.node()


def _nodes(_root: Any, info: Info, **arguments: Any) -> list[Any]:
    if len(arguments["ids"]) > MOST_PER_PAGE:
        raise GraphQLError(f"The input array size of {len(arguments['ids'])} is greater than the maximum of 250.")
    return [_node(None, info, id=gid) for gid in arguments["ids"]]


def _shop(_root: Any, info: Info) -> dict[str, Any]:
    shop: Shop = info.context.shop
    return {
        "id": f"gid://shopify/Shop/{zlib.crc32(shop.domain.encode())}",
        "name": shop.name,
        "myshopifyDomain": shop.domain,
        "currencyCode": shop.currency,
    }


def _installation(_root: Any, info: Info) -> dict[str, Any]:
    handles = info.context.shop.scopes
    return {
        "id": "gid://shopify/AppInstallation/1",
        "accessScopes": [{"handle": handle, "description": handle.replace("_", " ")} for handle in handles],
    }


_ROOT: dict[str, Callable[..., Any]] = {
    "abandonedCheckouts": _abandoned_checkouts,
    "abandonedCheckoutsCount": _count,
    "currentAppInstallation": _installation,
    "node": _node,
    "nodes": _nodes,
    "shop": _shop,
}
