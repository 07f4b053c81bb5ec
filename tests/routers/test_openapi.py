"""The OpenAPI document is complete: every route says what it does, what it takes, what it answers and refuses."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from backend.config import Settings
from backend.main import create_app
from backend.routers.problems import MEDIA_TYPE, TITLES
from backend.routers.reference import TAGS, example_of, groups
from backend.routers.sign_in import OPEN_PATHS
from tests.routers.conftest import Web


@cache
def spec() -> dict[str, Any]:
    """Return the document; it needs no database."""
    return create_app(Settings(_env_file=None)).openapi()


def operations() -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, methods in spec()["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("name", operations())
def test_an_operation_says_what_it_does(name: str) -> None:
    operation = operations()[name]
    assert operation["summary"]
    assert operation["description"]
    assert len(operation["tags"]) == 1


@pytest.mark.parametrize("name", operations())
def test_an_operation_says_what_it_answers(name: str) -> None:
    (status, answer), *_ = sorted(operations()[name]["responses"].items())
    assert status == "204" or "$ref" in answer["content"]["application/json"]["schema"]


@pytest.mark.parametrize("name", [name for name in operations() if name != "get /api/health"])
def test_an_operation_says_what_it_refuses(name: str) -> None:
    operation = operations()[name]
    refusals = {status: answer for status, answer in operation["responses"].items() if status[0] == "4"}
    needed = (
        {"401"}
        | ({"404", "422"} if "{" in name else set())
        | ({"400", "413", "415", "422"} if "requestBody" in operation else set())
    )
    assert needed <= set(refusals)
    assert all(answer["content"][MEDIA_TYPE]["schema"]["$ref"].endswith("/Problem") for answer in refusals.values())


@pytest.mark.parametrize("name", [name for name, operation in operations().items() if "requestBody" in operation])
def test_a_body_has_an_example_that_fits_it(name: str) -> None:
    schema = operations()[name]["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": spec()["components"]}
    Draft202012Validator(whole).validate(example_of(spec(), schema))


@pytest.mark.parametrize("name", operations())
def test_a_parameter_says_what_it_means(name: str) -> None:
    silent = [one["name"] for one in operations()[name].get("parameters", []) if not one.get("description")]
    assert set(silent) <= {
        "state",
        "status",
        "kind",
        "outcome",
        "agent_id",
        "integration_id",
        "destination_id",
        "is_open",
    }


def body_schema(name: str) -> dict[str, Any]:
    schema = operations()[name]["requestBody"]["content"]["application/json"]["schema"]
    return {**schema, "components": spec()["components"]}


CHANGING = [name for name in operations() if name.startswith("patch ")]
MAY_BE_EMPTY = {"website", "support_email", "phone", "country", "poll_interval_seconds"}


@pytest.mark.parametrize("name", CHANGING)
def test_changes_that_change_nothing_do_not_fit_their_schema(name: str) -> None:
    assert not Draft202012Validator(body_schema(name)).is_valid({})


@pytest.mark.parametrize("name", CHANGING)
def test_null_fits_only_the_fields_that_may_be_emptied(name: str) -> None:
    fields = spec()["components"]["schemas"][body_schema(name)["$ref"].rpartition("/")[2]]["properties"]
    validator = Draft202012Validator(body_schema(name))
    assert {field for field in fields if validator.is_valid({field: None})} == MAY_BE_EMPTY & set(fields)


def test_only_what_is_open_to_everybody_asks_for_no_sign_in() -> None:
    usual, schemes = spec()["security"], spec()["components"]["securitySchemes"]
    assert {name for each in usual for name in each} == set(schemes)
    open_to_all = {name.partition(" ")[2] for name, each in operations().items() if each.get("security", usual) == []}
    assert open_to_all == OPEN_PATHS & spec()["paths"].keys()


FITTING: dict[str, tuple[str, dict[str, Any], bool]] = {
    "a platform": ("post /api/v1/companies/{company_id}/integrations", {"platform": "mock"}, True),
    "no platform": ("post /api/v1/companies/{company_id}/integrations", {"platform": "opencart"}, False),
    "a scope": ("post /api/v1/keys", {"scopes": ["carts:read"]}, True),
    "no scope": ("post /api/v1/keys", {"scopes": ["carts"]}, False),
    "a web address": ("post /api/v1/companies", {"website": "HTTPS://acme.example"}, True),
    "no web address": ("post /api/v1/companies", {"website": "acme.example"}, False),
    "a long web address": ("post /api/v1/companies", {"website": "https://" + "x" * 493}, False),
}


@pytest.mark.parametrize(("name", "fields", "fits"), FITTING.values(), ids=FITTING)
def test_what_a_service_refuses_does_not_fit_the_schema(name: str, fields: dict[str, Any], fits: bool) -> None:
    body = example_of(spec(), operations()[name]["requestBody"]["content"]["application/json"]["schema"]) | fields
    assert Draft202012Validator(body_schema(name)).is_valid(body) == fits


def test_every_group_has_its_words_and_its_operations() -> None:
    assert [tag["name"] for tag in TAGS] == [group["name"] for group in groups(spec())]
    assert all(group["operations"] and group["description"] for group in groups(spec()))


def test_every_reference_inside_the_document_leads_somewhere() -> None:
    schemas = spec()["components"]["schemas"]

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(inner) for inner in value.values()))
        return set().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()

    assert {name.rpartition("/")[2] for name in references(spec())} <= set(schemas)


async def test_the_reference_shows_every_operation_and_every_kind_of_problem(web: Web) -> None:
    page = (await web.client.get("/docs")).text
    assert all(f'id="{operation["operationId"]}"' in page for operation in operations().values())
    assert all(f'id="problem-{code}"' in page for code in TITLES)


async def test_the_reference_needs_nothing_from_the_internet(web: Web) -> None:
    page = (await web.client.get("/docs")).text
    assert 'src="http' not in page
    assert 'href="http' not in page


async def test_the_document_itself_is_served(web: Web) -> None:
    assert (await web.client.get("/openapi.json")).json() == web.app.openapi()
