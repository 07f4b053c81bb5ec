"""No input makes a fault of ours: every operation of the OpenAPI document, asked what nobody should ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.config import Settings
from backend.errors import BadInput
from backend.main import create_app
from backend.routers.problems import MEDIA_TYPE
from backend.routers.reference import METHODS, example_of
from backend.routers.schemas import storable
from backend.services.overview import read_place, write_place
from backend.store.listings import Place
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.routers.conftest import Web
from tests.routers.persons import signed_in

IN_ADDRESSES = [
    "%00", "%ff", "%ED%A0%80", "x" * 5_000, "..%2f..%2fetc", "'%20OR%201=1--", "%F0%9F%92%A5", "-1", "0", "%", "%25",
    "9" * 5_000, "NaN", "1e999", "null", "[]", "true", "0001-01-01T00:00:00Z", "%E2%80%AE", "%0d%0aX-Evil:%201",
]  # fmt: skip
IN_BODIES = [
    "null", "true", "-1", "0", "1e308", "9" * 400, "1.5", '""', '"' + "x" * 100_000 + '"', '"a\\u0000b"', '"\\ud800"',
    '"\\u202e"', "[]", "{}", '{"\\u0000": 1}', '{"a": {"\\ud800": "x"}}', "[" * 40 + "]" * 40, "NaN", "-Infinity",
    '["a", null]',
    '"' + "https://[" + '"', '"https://x.example:99999/"', '"http://0x7f.1/"', '"whsec_%%%"', '"whsec_"', '"env:PATH"',
]  # fmt: skip


@cache
def spec() -> dict[str, Any]:
    return create_app(Settings(_env_file=None)).openapi()


def operations() -> list[tuple[str, str]]:
    return [(method, path) for path, methods in spec()["paths"].items() for method in METHODS if method in methods]


@pytest.fixture
async def known(web: Web) -> dict[str, str]:
    """Return ids of things that are there, by the name of their parameter."""
    company = await make_company(web.world)
    agent = await make_agent(web.world, company)
    return {
        "company_id": company,
        "agent_id": agent,
        "integration_id": await make_integration(
            web.world, company, agent, platform="mock", settings={}, credentials={}
        ),
        "destination_id": await make_destination(web.world, company, agent, "http://127.0.0.1:1/closed"),
        "cart_id": "c",
        "delivery_id": "d",
        "cycle_id": "cy",
        "key_id": "k",
        "person_id": "p",
        "session_id": "s",
        "invitation_id": "i",
    }


@pytest.fixture
async def headers(web: Web, path: str) -> dict[str, str]:
    """Return what the caller is signed in with: one's own account is for a person alone."""
    return (await signed_in(web)).headers if path.startswith("/api/v1/account") else {}


def addresses(path: str, operation: dict[str, Any], known: dict[str, str]) -> Iterator[str]:
    """Yield the operation's address with one nasty part at a time."""
    usual = path.format(**known)
    yield usual
    for parameter in operation.get("parameters", []):
        for value in IN_ADDRESSES:
            if parameter["in"] == "query":
                yield f"{usual}?{parameter['name']}={value}"
            else:
                yield path.format(**known | {parameter["name"]: value})


def bodies(operation: dict[str, Any]) -> Iterator[str]:
    """Yield the operation's example with one nasty part at a time, and nasty bodies."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    example = example_of(spec(), schema)
    fields = spec()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    yield from IN_BODIES
    for name in fields:
        rest = json.dumps({**example, name: None})
        for value in IN_BODIES:
            yield rest.replace(f'"{name}": null', f'"{name}": {value}', 1)


def assert_is_refused_well(answer: httpx.Response) -> None:
    """Check that a refusal is a problem document that says what to do, for each thing wrong."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    told = answer.json()
    assert told["remedy"], answer.text
    assert all(fault["place"] and fault["message"] and fault["remedy"] for fault in told.get("errors", [])), answer.text
    assert told["status"] not in {400, 422} or told["field"], answer.text


@pytest.mark.parametrize(("method", "path"), operations(), ids=str)
async def test_no_address_makes_a_fault_of_ours(
    web: Web, known: dict[str, str], headers: dict[str, str], method: str, path: str
) -> None:
    for address in addresses(path, spec()["paths"][path][method], known):
        answer = await web.client.request(method, address, headers=headers)
        assert answer.status_code < 500, f"{address}: {answer.text}"
        if not answer.is_success:
            assert_is_refused_well(answer)
        assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path in operations() if "requestBody" in spec()["paths"][path][method]],
    ids=str,
)
async def test_no_body_makes_a_fault_of_ours(
    web: Web, known: dict[str, str], headers: dict[str, str], method: str, path: str
) -> None:
    for body in bodies(spec()["paths"][path][method]):
        answer = await web.client.request(
            method, path.format(**known), content=body, headers={"Content-Type": "application/json"} | headers
        )
        assert answer.status_code < 500, f"{body[:200]}: {answer.text}"
        if not answer.is_success:
            assert_is_refused_well(answer)


@pytest.mark.parametrize(("method", "path"), operations(), ids=str)
async def test_an_unknown_parameter_is_refused(
    web: Web, known: dict[str, str], headers: dict[str, str], method: str, path: str
) -> None:
    answer = await web.client.request(method, f"{path.format(**known)}?intervall=5", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["field"] == "query.intervall"
    assert_is_refused_well(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path in operations() if "requestBody" not in spec()["paths"][path][method]],
    ids=str,
)
async def test_a_body_that_nobody_reads_is_refused(
    web: Web, known: dict[str, str], headers: dict[str, str], method: str, path: str
) -> None:
    answer = await web.client.request(method, path.format(**known), json={"interval": 5}, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (422, "body")
    assert_is_refused_well(answer)


PAGES = {
    "/": ("said", "cycle"),
    "/carts": ("state", "search", "after", "limit", "min_date"),
    "/deliveries": ("state", "destination_id", "after"),
}


@pytest.mark.parametrize("path", PAGES)
async def test_no_query_of_a_page_makes_a_fault_of_ours(web: Web, path: str) -> None:
    for address in (f"{path}?{name}={value}" for name in PAGES[path] for value in IN_ADDRESSES):
        assert (await web.client.get(address)).status_code < 500, address


@pytest.mark.parametrize("path", ["/carts/{0}/{0}", "/deliveries/{0}/{0}", "/static/{0}", "/{0}"])
async def test_no_address_of_a_page_makes_a_fault_of_ours(web: Web, path: str) -> None:
    for value in IN_ADDRESSES:
        assert (await web.client.get(path.format(value))).status_code < 500, value


@pytest.mark.parametrize("form", ["interval=%00", "interval=9" + "9" * 400, "interval=", "", "=&&=", "&" * 100, "\xff"])
async def test_no_form_makes_a_fault_of_ours(web: Web, form: str) -> None:
    answer = await web.client.post("/console/start", content=form.encode("latin-1"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/?said=bad_interval")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)


@given(json_values)
def test_what_passes_the_first_look_can_be_written_as_utf8(value: Any) -> None:
    try:
        passed = storable(value)
    except ValueError:
        return
    text = json.dumps(passed, ensure_ascii=False, allow_nan=False)
    assert "\0" not in text.encode().decode()


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_place_or_is_refused(text: str) -> None:
    try:
        place = read_place(text)
    except BadInput:
        return
    assert read_place(write_place(place.at, place.id)) == place


@given(
    st.datetimes().map(lambda naive: naive.isoformat() + "+00:00"),
    st.from_regex(r"[A-Za-z0-9_.:-]{1,80}", fullmatch=True),
)
def test_a_place_survives_the_way_there_and_back(moment: str, row_id: str) -> None:
    place = Place(datetime.fromisoformat(moment), row_id)
    assert read_place(write_place(place.at, place.id)) == place
