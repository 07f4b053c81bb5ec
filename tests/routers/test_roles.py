"""Every route declares its role, and each role opens exactly what it is declared for."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute

from backend.domain.access import GROUPS, ORDER, Role
from backend.main import ROUTERS
from backend.routers import reference
from backend.routers.guard import Need, need_of, routes_of
from backend.routers.sign_in import OPEN_PATHS
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.routers.test_keys import bearer, key_of

ALL = [route for module in (*ROUTERS, reference) for route in routes_of(module.router)]
GUARDED = [route for route in ALL if route.path not in OPEN_PATHS]


def methods_of(route: APIRoute) -> list[str]:
    return sorted(route.methods or ())


def name_of(route: APIRoute) -> str:
    return f"{'/'.join(methods_of(route))} {route.path}"


def needed(route: APIRoute) -> Need:
    need = need_of(route)
    assert need is not None
    return need


WITH_ROLE = [route for route in GUARDED if needed(route).role is not None]


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_a_route_declares_its_role(route: APIRoute) -> None:
    assert needed(route).role in {*ORDER, None}


def test_only_what_is_about_one_s_own_account_needs_no_role() -> None:
    assert {route.path for route in GUARDED if needed(route).role is None} == {
        "/account",
        "/account/password",
        "/account/second-factor",
        "/account/second-factor/confirm",
        "/account/second-factor/remove",
        "/account/sessions/end",
        "/api/v1/account",
        "/api/v1/account/password",
        "/api/v1/account/second-factor",
        "/api/v1/account/second-factor/confirm",
        "/api/v1/account/second-factor/remove",
        "/api/v1/account/sessions",
        "/api/v1/account/sessions/{session_id}",
        "/sign-out",
    }


@pytest.mark.parametrize("route", WITH_ROLE, ids=name_of)
def test_whoever_changes_something_is_operator_at_least(route: APIRoute) -> None:
    role = needed(route).role
    assert role is not None
    assert role.covers(Role.OPERATOR) or {"GET", "HEAD"}.issuperset(methods_of(route))


@pytest.mark.parametrize("route", [route for route in GUARDED if route.include_in_schema], ids=name_of)
def test_a_route_s_group_is_one_that_keys_can_be_narrowed_to(route: APIRoute) -> None:
    assert route.tags[0] in GROUPS


def test_only_the_open_addresses_ask_for_nothing() -> None:
    assert {route.path for route in ALL if need_of(route) is None} == OPEN_PATHS


# Removing a company takes its keys along, so it comes last.
ASKED = sorted(GUARDED, key=lambda route: route.name == "remove_company")
PARTS = (
    "agent_id",
    "integration_id",
    "destination_id",
    "cart_id",
    "delivery_id",
    "cycle_id",
    "key_id",
    "person_id",
    "session_id",
    "invitation_id",
)


def path_of(route: APIRoute, company: str) -> str:
    path = route.path.replace("{company_id}", company)
    for part in PARTS:
        path = path.replace(f"{{{part}}}", "none")
    return path


@pytest.mark.parametrize("role", ORDER)
async def test_each_role_opens_what_is_declared_for_it_and_nothing_else(web: Web, role: Role) -> None:
    """Ask every route with a key of one company, for another one and for its own; then with a key of all."""
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    narrow, whole = bearer(await key_of(web, role, mine)), bearer(await key_of(web, role))
    wrong = []
    for route in ASKED:
        need, has_company = needed(route), "{company_id}" in route.path
        for headers, company in ((narrow, other), (narrow, mine), (whole, mine)):
            answer = await web.client.request(methods_of(route)[0], path_of(route, company), headers=headers)
            is_narrow = headers is narrow
            if has_company and is_narrow and company == other:
                is_right = answer.status_code == 404
            elif need.role is None:
                is_right = answer.status_code == 403  # a key has no account
            elif not role.covers(need.role) or (is_narrow and not has_company and not need.anywhere):
                is_right = answer.status_code == 403
            else:
                is_right = answer.status_code not in {401, 403, 500}
            if not is_right:
                wrong.append((name_of(route), is_narrow, answer.status_code))
    assert wrong == []
