"""Every route declares its role, and each role opens exactly what it is declared for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from backend.domain.access import GROUPS, ORDER, Role
from backend.main import ROUTERS
from backend.routers import reference
from backend.routers.guard import Need
from backend.routers.sign_in import OPEN_PATHS
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.routers.test_keys import bearer, key_of


def routes(router: APIRouter) -> Iterator[APIRoute]:
    for each in router.routes:
        if isinstance(each, APIRoute):
            yield each
        else:
            yield from routes(each.original_router)  # type: ignore[attr-defined]


ALL = [route for module in (*ROUTERS, reference) for route in routes(module.router)]
GUARDED = [route for route in ALL if route.path not in OPEN_PATHS]


def name_of(route: APIRoute) -> str:
    return f"{'/'.join(sorted(route.methods))} {route.path}"


def need_of(route: APIRoute) -> list[Need]:
    return [each.call for each in route.dependant.dependencies if isinstance(each.call, Need)]


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_a_route_declares_one_role(route: APIRoute) -> None:
    assert len(need_of(route)) == 1


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_whoever_changes_something_is_operator_at_least(route: APIRoute) -> None:
    (need,) = need_of(route)
    assert need.role.covers(Role.OPERATOR) or route.methods <= {"GET", "HEAD"}


@pytest.mark.parametrize("route", [route for route in GUARDED if route.include_in_schema], ids=name_of)
def test_a_route_s_group_is_one_that_keys_can_be_narrowed_to(route: APIRoute) -> None:
    assert route.tags[0] in GROUPS


def test_only_the_open_addresses_ask_for_nothing() -> None:
    assert {route.path for route in ALL if not need_of(route)} == OPEN_PATHS


@pytest.mark.parametrize("role", ORDER)
async def test_each_role_opens_what_is_declared_for_it_and_nothing_else(web: Web, role: Role) -> None:
    """Ask every route with a key of each role, of all companies and of another one, for things that do not exist."""
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    whole, narrow = bearer(await key_of(web, role)), bearer(await key_of(web, role, mine))
    wrong = []
    for route in GUARDED:
        (need,), method = need_of(route), sorted(route.methods)[0]
        has_company = "{company_id}" in route.path
        for headers, company in ((whole, mine), (narrow, mine), (narrow, other)):
            path = route.path.replace("{company_id}", company)
            for part in (
                "agent_id",
                "integration_id",
                "destination_id",
                "cart_id",
                "delivery_id",
                "cycle_id",
                "key_id",
            ):
                path = path.replace(f"{{{part}}}", "none")
            answer = await web.client.request(method, path, headers=headers)
            if has_company and company == other and headers is narrow:
                expected = answer.status_code == 404
            elif not role.covers(need.role) or (headers is narrow and not has_company and not need.anywhere):
                expected = answer.status_code == 403
            else:
                expected = answer.status_code not in {401, 403, 500}
            if not expected:
                wrong.append((method, path, headers is narrow, answer.status_code))
            if route.path.endswith("/{company_id}") and method == "DELETE" and answer.status_code == 204:
                mine = await make_company(web.world, f"Again {len(wrong)} {company}")
    assert wrong == []
