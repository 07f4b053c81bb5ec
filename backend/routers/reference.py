"""The API's reference at /docs, made on the server from the OpenAPI document: no script, nothing from the internet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from backend.routers.guard import VIEWER, needs
from backend.routers.problems import TITLES, Problem
from backend.routers.rendering import page
from backend.routers.sign_in import OPEN_PATHS

router = APIRouter(include_in_schema=False)

DESCRIPTION = """Polls stores for abandoned carts and hands each to your partners once, signed.

Every refusal is a problem document (RFC 9457). Lists come in pages: `limit` rows, and `next` to go on with.
Ids, times (ISO 8601, UTC) and amounts (a number and its `..._minor` integer) look the same everywhere.
Send an API key as `Authorization: Bearer crk_...`; in development the local user needs none."""

TAGS: list[dict[str, Any]] = [
    {"name": "polling", "description": "Start, stop and look at polling; run one cycle by hand."},
    {"name": "companies", "description": "Whose carts these are."},
    {"name": "agents", "description": "What a company runs: an agent owns stores and destinations, and their figures."},
    {"name": "integrations", "description": "Stores: connect, test, pause, rotate credentials."},
    {"name": "destinations", "description": "Partners that receive the abandoned carts."},
    {"name": "carts", "description": "What was seen, and why it was handed off or not."},
    {"name": "deliveries", "description": "Every message to a partner, with its attempts."},
    {"name": "cycles", "description": "What each poll cycle and each poll came to."},
    {"name": "quarantine", "description": "Records of stores that could not be read."},
    {"name": "account", "description": "Sign in and out, and what is one's own: sessions, password, second factor."},
    {"name": "people", "description": "Who may sign in, with which role; invitations."},
    {"name": "keys", "description": "API keys: who may do what, in one company or in all of them."},
    {"name": "audit", "description": "Who did what, in a chain that shows any later change."},
    {"name": "health", "description": "For load balancers and monitors."},
]
SIGN_IN: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (crk_...), or a person's access token."}
}
METHODS = ("get", "post", "put", "patch", "delete")
Spec = Mapping[str, Any]


def document_problems(app: FastAPI) -> None:
    """Add to the OpenAPI document what no route says by itself: the problem document, and how callers sign in."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        spec = make()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = spec.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        spec["components"]["securitySchemes"] = SIGN_IN
        spec["security"] = [{name: []} for name in SIGN_IN]
        for path in OPEN_PATHS & spec["paths"].keys():
            for operation in spec["paths"][path].values():
                operation["security"] = []
        return spec

    app.openapi = cache(openapi)  # type: ignore[method-assign]


@router.get("/openapi.json", dependencies=needs(VIEWER, anywhere=True))
async def show_openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(orjson.dumps(request.app.openapi()), media_type="application/json")


@router.get("/docs", response_class=HTMLResponse, dependencies=needs(VIEWER, anywhere=True))
async def show_reference(request: Request) -> Response:
    """Show the whole API, by group."""
    spec = request.app.openapi()
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return page("docs.html", here="/docs", info=spec["info"], groups=groups(spec, origin), problems=TITLES)


def groups(spec: Spec, origin: str = "") -> list[dict[str, Any]]:
    """Return the groups of the API in their order, each with its operations."""
    found = list(_operations(spec, origin))
    return [
        {"name": tag["name"], "description": tag["description"],
         "operations": [operation for operation in found if tag["name"] in operation["tags"]]}
        for tag in spec["tags"]
    ]  # fmt: skip


def _operations(spec: Spec, origin: str) -> Iterator[dict[str, Any]]:
    for path, methods in spec["paths"].items():
        for method in METHODS:
            if method in methods:
                yield _operation(spec, (origin, path, method), methods[method])


def _operation(spec: Spec, where: tuple[str, str, str], operation: Spec) -> dict[str, Any]:
    origin, path, method = where
    body = _json_schema(operation.get("requestBody", {}))
    body_example = None if body is None else example_of(spec, body)
    return {
        "id": operation["operationId"],
        "method": method,
        "path": path,
        "tags": operation.get("tags", []),
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "parameters": [_parameter(spec, one) for one in operation.get("parameters", [])],
        "fields": [] if body is None else _fields(spec, body),
        "body_description": "" if body is None else _resolved(spec, body).get("description", ""),
        "body": _pretty(body_example),
        "curl": _curl(f"{origin}{path}", method, body_example),
        "responses": [_response(spec, status, one) for status, one in operation["responses"].items()],
    }


def _parameter(spec: Spec, one: Spec) -> dict[str, Any]:
    return {
        "name": one["name"],
        "place": one["in"],
        "type": kind_of(spec, one["schema"]),
        "required": one.get("required", False),
        "description": one.get("description", ""),
    }


def _fields(spec: Spec, schema: Spec) -> list[dict[str, Any]]:
    """Return a body's fields; of a choice of bodies, those of the first."""
    whole = _resolved(spec, schema)
    required = whole.get("required", [])
    return [
        {"name": name, "place": "", "type": kind_of(spec, field), "required": name in required,
         "description": field.get("description") or _resolved(spec, field).get("description", "")}
        for name, field in whole.get("properties", {}).items()
    ]  # fmt: skip


def _response(spec: Spec, status: str, one: Spec) -> dict[str, Any]:
    schema = _json_schema(one)
    example = None if schema is None or not status.startswith("2") else example_of(spec, schema)
    said = one["description"] if one["description"] != "Successful Response" else "Done."
    return {"status": status, "description": said, "example": _pretty(example)}


def _json_schema(holder: Spec) -> Spec | None:
    schema: Spec | None = holder.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _resolved(spec: Spec, schema: Spec) -> Spec:
    if "$ref" in schema:
        return _resolved(spec, spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    choices = [one for one in schema.get("anyOf", schema.get("oneOf", [])) if one.get("type") != "null"]
    return _resolved(spec, choices[0]) if choices else schema


def kind_of(spec: Spec, schema: Spec) -> str:
    """Return what a value may be, in a few words: `integer, 5 to 86400`, `one of active, inactive`."""
    plain = _resolved(spec, schema)
    if "enum" in plain:
        kind = f"one of {', '.join(map(str, plain['enum']))}"
    elif "const" in plain:
        kind = f"always {plain['const']}"
    elif plain.get("type") == "array":
        kind = f"list of {kind_of(spec, plain.get('items', {}))}"
    else:
        kind = str(plain.get("format") or plain.get("type", "any"))
    bounds = [plain.get("minimum"), plain.get("maximum")]
    if None not in bounds:
        kind += f", {bounds[0]:g} to {bounds[1]:g}"
    elif "maxLength" in plain:
        kind += f", at most {plain['maxLength']} characters"
    return f"{kind}, default {json.dumps(schema['default'])}" if schema.get("default") is not None else kind


def example_of(spec: Spec, schema: Spec, depth: int = 0) -> Any:
    """Return an example value: the schema's own where it has one, else one made of its parts."""
    for holder in (schema, _resolved(spec, schema)):
        if "example" in holder:
            return holder["example"]
        if holder.get("examples"):
            return cast("Sequence[Any]", holder["examples"])[0]
        if holder.get("default") is not None:
            return holder["default"]
    return _made_example(spec, _resolved(spec, schema), depth)


def _made_example(spec: Spec, plain: Spec, depth: int) -> Any:
    if "enum" in plain:
        return plain["enum"][0]
    if plain.get("type") == "array":
        return [example_of(spec, plain.get("items", {}), depth + 1)] if depth < 3 else []
    if "properties" in plain:
        return {name: example_of(spec, field, depth + 1) for name, field in plain["properties"].items()}
    simple: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": False, "null": None, "object": {}}
    if plain.get("format") == "date-time":
        return "2026-01-05T10:30:00Z"
    return simple.get(str(plain.get("type")), "…")


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def _curl(url: str, method: str, body: Any) -> str:
    line = f'curl "{url}"' if method == "get" else f'curl -X {method.upper()} "{url}"'
    if body is None:
        return line
    return f"{line} \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(body)}'"
