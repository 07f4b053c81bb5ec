"""Companies: made with their key, never seen by each other, kept when something names them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from backend.errors import BadInput, Conflict, NotFound
from backend.models import data_keys
from backend.services.companies import CompanyChanges, CompanyDraft, CompanyService
from tests.factories import make_agent, make_company
from tests.worlds import World


@pytest.fixture
def companies(world: World) -> CompanyService:
    return CompanyService(world.database, world.clock, world.keyring)


async def test_a_company_keeps_what_it_was_made_with(companies: CompanyService) -> None:
    made = await companies.create(CompanyDraft(name=" Acme ", website="https://acme.example", country="de"))
    found = await companies.get(made.id)
    assert (found.name, found.website, found.country, found.status) == ("Acme", "https://acme.example", "DE", "active")


async def test_a_new_company_has_its_first_data_key(companies: CompanyService, world: World) -> None:
    made = await companies.create(CompanyDraft(name="Acme"))
    async with world.database.reading(made.id) as tx:
        count = (await tx.execute(select(func.count()).select_from(data_keys))).scalar_one()
    assert count == 1


async def test_a_company_weighs_one_until_told_otherwise(companies: CompanyService) -> None:
    made = await companies.create(CompanyDraft(name="Acme"))
    changed = await companies.change(made.id, CompanyChanges(weight=3))
    assert (made.weight, changed.weight, (await companies.get(made.id)).weight) == (1, 3, 3)


@pytest.mark.parametrize("weight", [0, 101, -1, 1.5])
def test_a_weight_out_of_bounds_is_refused(weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        CompanyDraft.model_validate({"name": "Acme", "weight": weight})


async def test_a_name_is_taken_once(companies: CompanyService) -> None:
    await companies.create(CompanyDraft(name="Acme"))
    with pytest.raises(Conflict, match="already a company named Acme") as refused:
        await companies.create(CompanyDraft(name="Acme"))
    assert (refused.value.field, refused.value.remedy) == ("name", "choose another name")


async def test_what_is_not_said_stays(companies: CompanyService) -> None:
    made = await companies.create(CompanyDraft(name="Acme", phone="+49 30 1234"))
    changed = await companies.change(made.id, CompanyChanges(name="Acme GmbH"))
    assert (changed.name, changed.phone) == ("Acme GmbH", "+49 30 1234")


async def test_null_empties_what_may_be_empty(companies: CompanyService) -> None:
    made = await companies.create(CompanyDraft(name="Acme", phone="+49 30 1234"))
    assert (await companies.change(made.id, CompanyChanges(phone=None))).phone is None


def test_null_is_refused_where_a_value_is_needed() -> None:
    with pytest.raises(ValidationError, match="name cannot be null"):
        CompanyChanges(name=None)


def test_changes_that_say_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="at least one thing"):
        CompanyChanges()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a\x00b"},
        {"name": "x" * 201},
        {"name": "Acme", "website": "javascript:alert(1)"},
        {"name": "Acme", "support_email": "nobody"},
        {"name": "Acme", "country": "Germany"},
        {"name": "Acme", "nmae": "x"},
    ],
)
def test_a_draft_that_makes_no_sense_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        CompanyDraft.model_validate(fields)


async def test_pages_go_on_where_the_last_one_ended(companies: CompanyService) -> None:
    made = [(await companies.create(CompanyDraft(name=f"Company {n}"))).id for n in range(5)]
    first = await companies.list(limit=2)
    second = await companies.list(limit=2, after=first.next)
    third = await companies.list(limit=2, after=second.next)
    seen = [item.id for page in (first, second, third) for item in page.items]
    assert (seen, third.next) == (made[::-1], None)


async def test_a_list_can_ask_for_one_status(companies: CompanyService) -> None:
    await companies.create(CompanyDraft(name="Acme"))
    asleep = await companies.create(CompanyDraft(name="Bolt", status="inactive"))
    assert [item.id for item in (await companies.list(status="inactive")).items] == [asleep.id]


@pytest.mark.parametrize("asked", [{"status": "asleep"}, {"limit": 0}, {"limit": 1000}, {"after": "nonsense"}])
async def test_a_list_that_cannot_be_is_refused(companies: CompanyService, asked: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        await companies.list(**asked)  # type: ignore[arg-type]


async def test_an_unused_company_is_deleted_for_good(companies: CompanyService, world: World) -> None:
    made = await companies.create(CompanyDraft(name="Acme"))
    await companies.remove(made.id)
    with pytest.raises(NotFound):
        await companies.get(made.id)


async def test_a_company_with_agents_is_deactivated(companies: CompanyService, world: World) -> None:
    company_id = await make_company(world)
    await make_agent(world, company_id)
    await companies.remove(company_id)
    assert (await companies.get(company_id)).status == "inactive"


@pytest.mark.parametrize("deed", ["get", "remove"])
async def test_a_company_that_is_not_there(companies: CompanyService, deed: str) -> None:
    with pytest.raises(NotFound):
        await getattr(companies, deed)("nobody")
