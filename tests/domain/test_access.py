"""Roles, grants and scopes: who may do what, as pure rules."""

from __future__ import annotations

import pytest

from backend.domain.access import LOCAL_OWNER, ORDER, Caller, Grant, Role


def caller(*grants: tuple[Role, str | None], scopes: frozenset[str] | None = None) -> Caller:
    return Caller("key", "k", "k", tuple(Grant(role, company) for role, company in grants), scopes)


@pytest.mark.parametrize("held", ORDER)
@pytest.mark.parametrize("needed", ORDER)
def test_a_role_covers_itself_and_those_below(held: Role, needed: Role) -> None:
    rank = {"viewer": 0, "analyst": 1, "operator": 2, "owner": 3}
    assert held.covers(needed) is (rank[held] >= rank[needed])


@pytest.mark.parametrize(
    ("company", "allowed"),
    [("mine", True), ("other", False), (None, False), ("", False)],
)
def test_a_grant_of_one_company_reaches_that_company_alone(company: str | None, allowed: bool) -> None:
    assert caller((Role.OWNER, "mine")).may(Role.VIEWER, company) is allowed


@pytest.mark.parametrize("company", ["mine", "other", None])
def test_a_grant_of_all_companies_reaches_the_installation_too(company: str | None) -> None:
    assert caller((Role.OPERATOR, None)).may(Role.OPERATOR, company)


def test_a_role_in_one_company_adds_nothing_in_another() -> None:
    both = caller((Role.OWNER, "mine"), (Role.VIEWER, "other"))
    assert [both.may(Role.OPERATOR, company) for company in ("mine", "other")] == [True, False]


def test_the_companies_of_a_caller_are_those_granted() -> None:
    assert caller((Role.OWNER, "a"), (Role.VIEWER, "b")).companies == frozenset({"a", "b"})


def test_a_grant_of_all_companies_names_none() -> None:
    assert caller((Role.OWNER, "a"), (Role.VIEWER, None)).companies is None


def test_without_a_grant_nothing_is_known() -> None:
    nobody = caller()
    assert (nobody.knows("mine"), nobody.may_anywhere(Role.VIEWER), nobody.companies) == (False, False, frozenset())


def test_scopes_narrow_a_key() -> None:
    narrow = caller((Role.OWNER, None), scopes=frozenset({"carts:read"}))
    assert (narrow.is_in_scope("carts:read"), narrow.is_in_scope("carts:write")) == (True, False)


def test_a_key_without_any_scope_reaches_nothing() -> None:
    assert not caller((Role.OWNER, None), scopes=frozenset()).is_in_scope("carts:read")


def test_the_local_user_is_owner_of_all() -> None:
    assert LOCAL_OWNER.may(Role.OWNER, None)
