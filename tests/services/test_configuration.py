"""The declarative set-up: the difference, its application company by company, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from backend.domain.configuration import FaultyConfiguration
from backend.models import companies, company_agents, destinations, installation_state, integrations
from backend.services.configuration import Applied, ConfigurationService
from tests.factories import make_agent, make_company, make_integration
from tests.services.test_agent_integrations import make_cart
from tests.worlds import World

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = "whsec_" + "B" * 32
ENVIRONMENT = {
    "ACME_SHOPIFY_TOKEN": "shpat_1",
    "CK": "ck_1",
    "CS": "cs_1",
    "ACME_HOOK_SECRET": SECRET,
}
ACME = """\
companies:
  - name: Acme
    agents:
      - name: Recovery agent
        template_slug: ecommerce-abandoned-cart
        status: active
        abandonment_threshold_minutes: 30
        recovery_horizon_days: 30
        integrations:
          - platform: shopify
            name: acme-main
            shop: acme.myshopify.com
            base_url: http://127.0.0.1:9101/s0
            allow_http: true
            api_version: "2026-10"
            credentials: {access_token: env:ACME_SHOPIFY_TOKEN}
            poll_interval_seconds: 300
            initial_lookback_days: 3
          - platform: woocommerce
            name: acme-woo
            base_url: http://127.0.0.1:18480
            allow_http: true
            credentials: {consumer_key: env:CK, consumer_secret: env:CS}
            options: {statuses: [pending, failed, checkout-draft]}
        destinations:
          - name: partner
            url: http://127.0.0.1:9102/hook/p
            secret: env:ACME_HOOK_SECRET
            max_carts_per_payload: 100
            include_uncontactable: false
            include_opted_out: false
"""
SMALL = """\
companies:
  - name: Acme
    agents:
      - name: Recovery agent
        integrations:
          - {platform: custom, name: main, base_url: https://a.example, credentials: {token: t}}
"""
WHERE = "Acme / Recovery agent"


class Office:
    """Applies files and looks at what came of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.service = ConfigurationService(world.database, world.clock, world.settings, world.keyring, world.http)

    async def lines(self, text: str, environment: dict[str, str] | None = None, **options: bool) -> list[str]:
        return (await self.service.plan(text, ENVIRONMENT | (environment or {}), **options)).lines()

    async def apply(self, text: str, environment: dict[str, str] | None = None, **options: bool) -> Applied:
        plan = await self.service.plan(text, ENVIRONMENT | (environment or {}), **options)
        applied = await self.service.apply(plan)
        assert applied.failed == ()
        return applied

    async def faults(self, text: str, **options: bool) -> list[str]:
        with pytest.raises(FaultyConfiguration) as refused:
            await self.service.plan(text, ENVIRONMENT, **options)
        return [str(fault) for fault in refused.value.faults]

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        async with self.world.database.overview() as tx:
            return [dict(row) for row in (await tx.execute(select(table))).mappings()]

    async def set(self, table: Any, **values: Any) -> None:
        async with self.world.database.work() as tx:
            await tx.execute(update(table).values(**values))

    async def opened(self, table: Any, column: str, version: str) -> list[Any]:
        """Open the one sealed column of every row."""
        found = []
        for row in await self.rows(table):
            place = (row["company_id"], table.name, column, row["id"])
            async with self.world.database.reading(row["company_id"]) as tx:
                found.append(await self.world.keyring.open_json(tx, place, row[column], row[version]))
        return found


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


async def test_the_first_run_makes_everything(office: Office) -> None:
    assert await office.lines(ACME) == [
        "+ company Acme",
        f"+ agent {WHERE}",
        f"+ integration {WHERE} / acme-main: acme.myshopify.com",
        f"+ integration {WHERE} / acme-woo: 127.0.0.1:18480",
        f"+ destination {WHERE} / partner: http://127.0.0.1:9102/hook/p",
    ]


async def test_a_plan_changes_nothing(office: Office) -> None:
    await office.lines(ACME)
    assert await office.rows(companies) == []


async def test_the_second_run_has_nothing_to_change(office: Office) -> None:
    await office.apply(ACME)
    assert await office.lines(ACME) == ["nothing to change"]


async def test_what_is_made_can_be_polled_and_delivered_to(office: Office) -> None:
    await office.apply(ACME)
    assert await office.opened(integrations, "credentials_sealed", "credentials_version") == [
        {"access_token": "shpat_1"}, {"consumer_key": "ck_1", "consumer_secret": "cs_1"},
    ]  # fmt: skip
    assert await office.opened(destinations, "secrets_sealed", "secrets_version") == [[SECRET]]


async def test_the_difference_is_told_without_secrets(office: Office) -> None:
    await office.apply(ACME)
    changed = (
        ACME.replace("poll_interval_seconds: 300", "poll_interval_seconds: 60")
        .replace("minutes: 30", "minutes: 10")
        .replace("[pending, failed, checkout-draft]", "[pending]")
        .replace("include_opted_out: false", "include_opted_out: true")
    )
    secrets = {"ACME_SHOPIFY_TOKEN": "shpat_2", "ACME_HOOK_SECRET": NEW_SECRET}
    assert await office.lines(changed, secrets) == [
        f"~ agent {WHERE}: abandonment_threshold_minutes 30 -> 10",
        f"~ integration {WHERE} / acme-main: poll_interval_seconds 300 -> 60; credentials changed (access_token)",
        (
            f"~ integration {WHERE} / acme-woo: options {{'statuses': ['pending', 'failed', 'checkout-draft']}} -> "
            "{'statuses': ['pending']}"
        ),
        f"~ destination {WHERE} / partner: include_opted_out false -> true; secret changed",
    ]


async def test_what_differs_is_changed_and_then_is_the_same(office: Office) -> None:
    await office.apply(ACME)
    changed = ACME.replace("poll_interval_seconds: 300", "poll_interval_seconds: 60")
    secrets = {"CS": "cs_2", "ACME_HOOK_SECRET": NEW_SECRET}
    await office.apply(changed, secrets)
    assert await office.lines(changed, secrets) == ["nothing to change"]
    assert await office.opened(destinations, "secrets_sealed", "secrets_version") == [[NEW_SECRET]]


async def test_keys_that_the_file_leaves_out_stay_as_they_are(office: Office) -> None:
    await office.apply(ACME)
    await office.set(company_agents, attribution_window_days=3)
    shorter = "\n".join(line for line in ACME.splitlines() if "poll_interval" not in line and "minutes" not in line)
    assert await office.lines(shorter) == ["nothing to change"]


async def test_an_interval_can_be_unset(office: Office) -> None:
    await office.apply(ACME)
    await office.apply(ACME.replace("poll_interval_seconds: 300", "poll_interval_seconds: null"))
    assert [row["poll_interval_seconds"] for row in await office.rows(integrations)] == [None, None]


async def test_objects_that_the_file_leaves_out_are_left_alone_and_listed(office: Office) -> None:
    await office.apply(ACME)
    await make_company(office.world, "Bolt")
    empty = "companies:\n  - name: Acme\n    agents:\n      - name: Recovery agent\n"
    assert await office.lines(empty) == [
        "nothing to change",
        f"= integration {WHERE} / acme-main: not in the file, left alone",
        f"= integration {WHERE} / acme-woo: not in the file, left alone",
        f"= destination {WHERE} / partner: not in the file, left alone",
        "= company Bolt: not in the file, left alone",
    ]


async def test_pruning_deactivates_what_the_file_leaves_out(office: Office) -> None:
    await office.apply(ACME)
    await make_agent(office.world, await make_company(office.world, "Bolt"))
    await office.apply("companies:\n  - name: Acme\n", prune=True)
    assert {row["name"]: row["status"] for row in await office.rows(companies)} == {
        "Acme": "active", "Bolt": "inactive",
    }  # fmt: skip
    statuses = sorted((row["template_slug"], row["status"]) for row in await office.rows(company_agents))
    assert statuses == [("ecommerce-abandoned-cart", "active"), ("ecommerce-abandoned-cart", "inactive")]


async def test_pruning_twice_has_nothing_to_change(office: Office) -> None:
    await office.apply(ACME)
    await office.apply(SMALL, prune=True)
    assert await office.lines(SMALL, prune=True) == ["nothing to change"]


async def test_what_was_pruned_comes_back_when_the_file_names_it_again(office: Office) -> None:
    await office.apply(ACME)
    await office.apply(SMALL, prune=True)
    assert await office.lines(ACME, prune=True) == [
        f"~ integration {WHERE} / acme-main: status inactive -> active",
        f"~ integration {WHERE} / acme-woo: status inactive -> active",
        f"- integration {WHERE} / main: not in the file, deactivated",
        f"~ destination {WHERE} / partner: status inactive -> active",
    ]


async def test_an_inactive_company_comes_back_when_the_file_names_it(office: Office) -> None:
    await office.apply(SMALL)
    await office.set(companies, status="inactive")
    assert (await office.lines(SMALL))[0] == "~ company Acme: status inactive -> active"


async def test_a_company_s_weight_is_set_changed_and_otherwise_left_alone(office: Office) -> None:
    heavy = SMALL.replace("- name: Acme", "- name: Acme\n    weight: 5")
    await office.apply(heavy.replace("5", "2"))
    assert await office.lines(heavy) == ["~ company Acme: weight 2 -> 5"]
    await office.apply(heavy)
    assert await office.lines(SMALL) == ["nothing to change"]
    assert [row["weight"] for row in await office.rows(companies)] == [5]


async def test_a_weight_out_of_bounds_is_refused_with_its_line(office: Office) -> None:
    (fault,) = await office.faults(SMALL.replace("- name: Acme", "- name: Acme\n    weight: 0"))
    assert fault.startswith("line 3: companies[0].weight: ")


async def test_an_inactive_agent_without_a_status_in_the_file_is_left_alone_and_listed(office: Office) -> None:
    await office.apply(SMALL)
    await office.set(company_agents, status="inactive")
    assert await office.lines(SMALL) == [
        "nothing to change", f"= status of agent {WHERE} (inactive): not in the file, left alone",
    ]  # fmt: skip


async def test_a_pause_is_left_alone(office: Office) -> None:
    await office.apply(SMALL)
    await office.set(integrations, status="paused", pause_reason="paused by operator")
    assert await office.lines(SMALL) == ["nothing to change"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("shop: acme.myshopify.com", "shpo: acme", ("line 12: {at}.integrations[0]: shpo is not a known key; "
                                                   "did you mean shop?")),
        ("poll_interval_seconds", "poll_interval_second", ("line 17: {at}.integrations[0]: poll_interval_second is "
                                                          "not a known key; did you mean poll_interval_seconds?")),
        ("platform: shopify", "platform: shopfy", ("line 10: {at}.integrations[0]: there is no platform 'shopfy'; use "
                                                  "one of bigcommerce, custom, magento, mock, shopify, woocommerce")),
        ("http://127.0.0.1:9101/s0", "https://10.1.1.1/", ("line 13: {at}.integrations[0]: the address is not one "
                                                          "that may be called: private; give a public address")),
        ("{access_token: env:ACME_SHOPIFY_TOKEN}", "{acces_token: x}",
         ("line 16: {at}.integrations[0]: credentials.access_token is missing; credentials.acces_token is not known; "
         "the credentials it takes: access_token")),
        ("http://127.0.0.1:9102/hook/p", "http://partner.example/p",
         ("line 27: {at}.destinations[0]: the address must begin with https://; use https; plain http is for this "
         "machine only, with OUTBOUND_ALLOW_LOOPBACK=true")),
        ("env:ACME_HOOK_SECRET", "whsec_c2hvcnQ=",
         ("line 28: {at}.destinations[0]: the signing secret is not 24 to 64 bytes of base64; Give a secret of the "
         "form whsec_<base64>, or leave it out to have one made.")),
    ],
)  # fmt: skip
async def test_a_fault_that_only_the_services_see_has_its_line_too(
    office: Office, old: str, new: str, fault: str
) -> None:
    assert await office.faults(ACME.replace(old, new)) == [fault.format(at="companies[0].agents[0]")]


async def test_a_fault_in_one_company_keeps_all_others_from_being_written(office: Office) -> None:
    bad = "  - name: Bolt\n    agents:\n      - {name: A, integrations: [{platform: none, name: x}]}\n"
    await office.faults(ACME + bad)
    assert await office.rows(companies) == []


async def test_a_platform_does_not_change(office: Office) -> None:
    await office.apply(SMALL)
    mock = SMALL.replace("{platform: custom, name: main, base_url: https://a.example, credentials: {token: t}}",
                         "{platform: mock, name: main}")  # fmt: skip
    assert "main is a custom store, and stays one" in (await office.faults(mock))[0]


async def test_a_store_with_carts_does_not_become_another(office: Office) -> None:
    await office.apply(SMALL)
    (row,) = await office.rows(integrations)
    await make_cart(office.world, row["company_id"], row["agent_id"], row["id"])
    faults = await office.faults(SMALL.replace("a.example", "b.example"))
    assert faults[0].startswith("line 6: companies[0].agents[0].integrations[0]: these settings lead to another store")


async def test_one_store_under_two_names_is_a_fault(office: Office) -> None:
    twice = (
        SMALL + "          - {platform: custom, name: again, base_url: https://A.example/, credentials: {token: t}}\n"
    )
    assert await office.faults(twice) == [
        ("line 7: companies[0].agents[0].integrations[1]: the store a.example is already main; "
        "name each store once per company"),
    ]  # fmt: skip


async def test_a_store_that_is_connected_under_another_name_is_a_fault(office: Office) -> None:
    await office.apply(SMALL)
    assert "already connected as main" in (await office.faults(SMALL.replace("name: main", "name: other")))[0]


async def test_an_interval_below_the_polling_interval_is_warned_of(office: Office) -> None:
    lines = await office.lines(ACME.replace("poll_interval_seconds: 300", "poll_interval_seconds: 10"))
    assert lines[0] == (
        f"! integration {WHERE} / acme-main: poll_interval_seconds 10 is below the polling interval of 30 s, "
        "and acts as that"
    )


async def test_the_polling_interval_is_the_one_that_was_started_with(office: Office) -> None:
    async with office.world.database.work() as tx:
        row = {"id": 1, "is_wanted": True, "interval_seconds": 600, "changed_at": office.world.clock.now()}
        await tx.execute(insert(installation_state), [row])
    assert "below the polling interval of 600 s" in (await office.lines(ACME))[0]


NO_SECRET = ACME.replace("            secret: env:ACME_HOOK_SECRET\n", "")


async def test_a_secret_is_made_where_it_can_be_shown(office: Office) -> None:
    made = (await office.apply(NO_SECRET, may_generate=True)).secrets
    assert [each.path for each in made] == [f"{WHERE} / partner"]
    assert await office.opened(destinations, "secrets_sealed", "secrets_version") == [[made[0].secret]]
    assert made[0].secret not in repr(made)


async def test_a_missing_secret_is_a_fault_where_none_can_be_shown(office: Office) -> None:
    assert "there is no secret, and no terminal" in (await office.faults(NO_SECRET))[0]


async def test_a_destination_keeps_its_secret_when_the_file_gives_none(office: Office) -> None:
    await office.apply(ACME)
    assert await office.lines(NO_SECRET) == ["nothing to change"]


async def test_a_company_comes_out_whole_or_as_it_was(office: Office) -> None:
    plan = await office.service.plan(SMALL + "  - name: Bolt\n", ENVIRONMENT)
    await make_company(office.world, "Acme")  # somebody else was faster
    applied = await office.service.apply(plan)
    assert (applied.companies, [name for name, _ in applied.failed]) == (("Bolt",), ["Acme"])
    async with office.world.database.overview() as tx:
        assert (await tx.execute(select(func.count()).select_from(company_agents))).scalar_one() == 0


async def test_names_are_matched_within_their_parent(office: Office) -> None:
    other = await make_company(office.world, "Bolt")
    await make_integration(office.world, other, await make_agent(office.world, other), name="main")
    assert f"+ integration {WHERE} / main: a.example" in await office.lines(SMALL)


async def test_a_url_is_shown_without_what_may_be_secret(office: Office) -> None:
    lines = await office.lines(ACME.replace("/hook/p", "/hook/p?key=abc"))
    assert lines[-1].endswith("http://127.0.0.1:9102/hook/p?key=***")
