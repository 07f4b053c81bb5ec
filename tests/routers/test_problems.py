"""Every refusal is a problem document that names the field and the remedy, and never a stack trace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from backend.errors import (
    BadInput,
    Conflict,
    FixCredentials,
    IllegalMove,
    NotAllowed,
    NotFound,
    ServiceError,
    SetupProblem,
    TryLater,
)
from backend.platforms.registry import PLATFORMS
from backend.routers.bodies import BODY_LIMIT
from backend.routers.edge import Edge
from backend.routers.integrations import INSIDE
from backend.routers.problems import MEDIA_TYPE, add_handlers, of_error
from tests.routers.conftest import Web, local_client


def document(answer: httpx.Response) -> dict[str, Any]:
    """Return a refusal's members, having checked that it is a problem document."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    told: dict[str, Any] = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["type"].startswith("/docs#problem-")
    return told


STATUSES = [
    (BadInput("no"), 422),
    (NotFound("no"), 404),
    (Conflict("no"), 409),
    (NotAllowed("no"), 403),
    (SetupProblem("no"), 503),
    (TryLater("no"), 502),
    (FixCredentials("no"), 502),
    (IllegalMove("no"), 500),
    (ServiceError("no"), 500),
]


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: type(value).__name__)
def test_each_kind_of_error_has_its_status(error: ServiceError, status: int) -> None:
    assert of_error(error).status_code == status


def test_a_stores_own_time_is_passed_on() -> None:
    assert of_error(TryLater("busy", retry_after=timedelta(seconds=90))).headers["retry-after"] == "90"


def test_field_and_remedy_of_an_error_are_told() -> None:
    told = orjson.loads(of_error(BadInput("too long", field="name", remedy="shorten it")).body)
    assert (told["detail"], told["field"], told["remedy"]) == ("too long", "name", "shorten it")


async def test_a_fault_of_ours_shows_an_id_and_nothing_else() -> None:
    app = FastAPI()
    add_handlers(app)
    app.add_middleware(Edge)

    @app.get("/")
    async def break_down() -> None:
        raise RuntimeError("the secret is 42")

    async with local_client(app) as client:
        told = document(await client.get("/"))
    assert told["status"] == 500
    assert len(told["id"]) == 32
    assert "secret" not in str(told)


async def test_every_fault_of_a_request_is_told_with_its_place(web: Web) -> None:
    told = document(await web.client.post("/api/v1/companies", json={"nmae": "Acme", "country": "USA"}))
    assert {fault["place"] for fault in told["errors"]} == {"body.name", "body.nmae", "body.country"}
    assert told["field"] in {"body.name", "body.nmae", "body.country"}


async def test_an_unknown_field_has_a_remedy(web: Web) -> None:
    told = document(await web.client.post("/api/v1/companies", json={"name": "Acme", "nmae": "x"}))
    assert told["remedy"] == "remove the field, or check its spelling"


async def test_a_refused_value_is_not_quoted_back(web: Web) -> None:
    body = {"credentials": {"access_token": ["shpat_secret"]}}
    company = (await web.client.post("/api/v1/companies", json={"name": "Acme"})).json()["id"]
    answer = await web.client.put(f"/api/v1/companies/{company}/integrations/x/credentials", json=body)
    assert answer.status_code == 404
    answer = await web.client.put(f"/api/v1/companies/{company}/integrations/x/credentials", json={"k": "shpat_secret"})
    assert answer.status_code == 422
    assert "shpat_secret" not in answer.text


NOT_JSON: dict[str, tuple[bytes, str, int]] = {
    "cut off": (b'{"name": "Ac', "application/json", 400),
    "not UTF-8": (b'{"name": "\xff"}', "application/json", 400),
    "very deep": (b"[" * 100_000, "application/json", 400),
    "a number of 5,000 digits": (b'{"name": ' + b"9" * 5_000 + b"}", "application/json", 400),
    "a form": (b"name=Acme", "application/x-www-form-urlencoded", 415),
    "no type": (b'{"name": "Acme"}', "", 415),
    "another type": (b'{"name": "Acme"}', "text/plain", 415),
    "no body": (b"", "application/json", 422),
    "null": (b"null", "application/json", 422),
    "a list": (b"[]", "application/json", 422),
    "a NUL character": (b'{"name": "a\\u0000b"}', "application/json", 422),
    "half a surrogate pair": (b'{"name": "a\\ud800b"}', "application/json", 422),
    "half a surrogate pair for a name": (b'{"name": "Acme", "\\ud800": 1}', "application/json", 422),
    "not a number": (b'{"name": "Acme", "country": NaN}', "application/json", 400),
}


@pytest.mark.parametrize(("body", "kind", "status"), NOT_JSON.values(), ids=NOT_JSON)
async def test_a_body_that_cannot_be_read_is_refused(web: Web, body: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await web.client.post("/api/v1/companies", content=body, headers=headers)
    assert document(answer)["status"] == status


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "in chunks"])
async def test_a_body_over_one_mebibyte_is_refused(web: Web, is_announced: bool) -> None:
    async def chunks() -> Any:
        for _ in range(BODY_LIMIT // 1024 + 1):
            yield b" " * 1024

    content = b" " * (BODY_LIMIT + 1) if is_announced else chunks()
    answer = await web.client.post("/api/v1/companies", content=content, headers={"Content-Type": "application/json"})
    assert document(answer)["status"] == 413


async def test_a_length_that_is_no_number_is_refused(web: Web) -> None:
    answer = await web.client.post("/polling/stop", headers={"Content-Length": "x"})
    assert document(answer)["status"] == 413


async def test_the_wrong_method_is_told_the_right_one(web: Web) -> None:
    answer = await web.client.get("/polling/stop")
    assert document(answer)["detail"] == "this address takes POST"
    assert answer.headers["allow"] == "POST"


ALLOWED = {
    "/api/v1/companies": "GET, POST",
    "/api/v1/companies/c": "DELETE, GET, PATCH",
    "/api/v1/companies/c/integrations/verify": "POST",
    "/deliveries/hold": "GET, POST",
    "/console/hold": "GET, POST",
    "/static/console.css": "GET, HEAD",
}


@pytest.mark.parametrize(("address", "allowed"), ALLOWED.items())
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND"])
async def test_a_wrong_method_is_told_every_right_one(web: Web, method: str, address: str, allowed: str) -> None:
    answer = await web.client.request(method, address)
    assert (document(answer)["status"], answer.headers["allow"]) == (405, allowed)


async def test_a_page_of_a_wrong_method_tells_the_right_ones_too(web: Web) -> None:
    answer = await web.client.put("/console/hold", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"][:9], answer.headers["allow"]) == (
        405, "text/html", "GET, POST",
    )  # fmt: skip


@pytest.mark.parametrize("company", ["x" * 37, "x" * 5_000, "a b", "%00", "..", "é", "%ff"])
async def test_an_id_that_cannot_be_one_is_refused(web: Web, company: str) -> None:
    assert document(await web.client.get(f"/api/v1/companies/{company}/carts"))["status"] in {404, 422}


@pytest.mark.parametrize(
    "after", ["x", "aGVsbG8", "MjAyNi0wMS0wMQ", "a" * 401, "MjAyNi0wMS0wMVQwMDowMDowMH54", "é", "%00"]
)
async def test_a_place_that_is_not_ours_is_refused(web: Web, after: str) -> None:
    told = document(await web.client.get(f"/api/v1/cycles?after={after}"))
    assert (told["status"], told["field"]) == (422, "query.after")


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "yesterday", "1e400", "0.5", "-1", "20260105"],
)
async def test_a_time_out_of_range_is_refused(web: Web, moment: str) -> None:
    assert document(await web.client.get(f"/api/v1/companies/x/carts?min_date={moment}"))["status"] == 422


async def test_every_answer_carries_the_security_headers(web: Web) -> None:
    for path in ("/", "/static/console.css", "/nowhere", "/api/health"):
        headers = (await web.client.get(path)).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


async def test_pages_and_answers_are_not_kept_by_caches(web: Web) -> None:
    for path in ("/", "/polling/status", "/carts"):
        assert (await web.client.get(path)).headers["cache-control"] == "no-store"


REMEDIES: dict[str, tuple[str, str, str]] = {
    "too small": ("/polling/start?interval=4", "query.interval", "send 5 or more"),
    "too large": ("/polling/start?interval=86401", "query.interval", "send 86400 or less"),
    "not a number": ("/polling/start?interval=x", "query.interval", "send a whole number in digits, such as 60"),
    "misspelt": ("/polling/start?intervall=5", "query.intervall", "use only interval"),
    "given twice": ("/polling/start?interval=60&interval=70", "query.interval", "send it once"),
    "none known": ("/polling/stop?x=1", "query.x", "remove it; this address takes no parameters"),
}


@pytest.mark.parametrize(("address", "field", "remedy"), REMEDIES.values(), ids=REMEDIES)
async def test_a_refused_parameter_has_its_remedy(web: Web, address: str, field: str, remedy: str) -> None:
    told = document(await web.client.post(address))
    assert (told["status"], told["field"], told["remedy"]) == (422, field, remedy)
    assert told["errors"][0]["remedy"] == remedy


@pytest.mark.parametrize("address", ["/api/v1/companies?status=gone", "/api/v1/cycles?kind=gone"])
async def test_an_unknown_word_is_told_the_known_ones(web: Web, address: str) -> None:
    assert document(await web.client.get(address))["remedy"].startswith("use one of '")


async def test_no_pattern_is_shown(web: Web) -> None:
    told = document(await web.client.post("/api/v1/companies", json={"name": "Acme", "country": "usa"}))
    assert told["field"] == "body.country"
    assert "^" not in str(told)


@pytest.mark.parametrize("value", ["a\\u0000b", "a\\ud800b"], ids=["NUL", "half a surrogate pair"])
async def test_text_that_cannot_be_stored_is_told_by_its_field(web: Web, value: str) -> None:
    body, kind = f'{{"name": "{value}"}}', {"Content-Type": "application/json"}
    assert document(await web.client.post("/api/v1/companies", content=body, headers=kind))["field"] == "body.name"


UNREAD = {b'{"name": "\xff"}': "the body is not UTF-8", b"[" * 100_000: "the body is nested too deeply"}


@pytest.mark.parametrize(("body", "detail"), UNREAD.items(), ids=["not UTF-8", "very deep"])
async def test_a_body_that_cannot_be_read_is_told_why(web: Web, body: bytes, detail: str) -> None:
    kind = {"Content-Type": "application/json"}
    told = document(await web.client.post("/api/v1/companies", content=body, headers=kind))
    assert (told["detail"], told["field"]) == (detail, "body")


async def test_the_wrong_method_has_a_remedy(web: Web) -> None:
    assert document(await web.client.get("/polling/stop"))["remedy"] == "use POST"


@pytest.mark.parametrize("body", ["", "{}", "null"])
async def test_an_empty_body_is_let_pass(web: Web, body: str) -> None:
    answer = await web.client.post("/polling/start?interval=60", content=body)
    assert answer.status_code == 200


FLAT = {"shop": "settings", "base_url": "settings", "options": "settings", "access_token": "credentials"}


@pytest.mark.parametrize(("name", "part"), FLAT.items())
async def test_a_key_beside_settings_is_told_where_it_belongs(web: Web, name: str, part: str) -> None:
    body = {"agent_id": "a", "name": "n", "platform": "shopify", name: "x"}
    told = document(await web.client.post("/api/v1/companies/c/integrations", json=body))
    assert (told["field"], told["detail"]) == (f"body.{name}", f"body.{name}: {name} belongs under {part}")


@pytest.mark.parametrize("part", ["settings", "credentials"])
def test_the_keys_that_belong_inside_are_those_that_platforms_take(part: str) -> None:
    models = [getattr(platform, part.capitalize()) for platform in PLATFORMS.values()]
    assert INSIDE[part] == {name for model in models for name in model.model_fields}
