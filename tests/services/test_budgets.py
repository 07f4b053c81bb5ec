"""A store's budget around a poll: waits, what answers teach, and how it travels from one lease's owner to the next."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import structlog
from pydantic import ValidationError

from backend.clock import Clock
from backend.config import Settings
from backend.domain.buckets import Rate
from backend.errors import SetupProblem, TryLater
from backend.platforms.registry import PLATFORMS
from backend.platforms.shopify.answers import points_in
from backend.services.budget_keepers import ProcessKeeper
from backend.services.budgets import Budgets, BudgetSpent, Paced, open_keeper, rate_of, sharers_in, store_key
from tests.factories import make_agent, make_company, make_integration
from tests.fleet.redis_server import free_port
from tests.pace import REQUEST, Claim, CountingStore, SetTime, alone, answer, limited, over_limit
from tests.worlds import World

TWO_A_SECOND = Rate(5, 2)
JUST = 0.005  # seconds that a sleep may be longer than the wait


@pytest.fixture
def clock() -> SetTime:
    return SetTime()


@pytest.fixture
def store(clock: SetTime) -> CountingStore:
    return CountingStore(clock)


def worker(clock: SetTime, store: CountingStore) -> Budgets:
    """Return the budgets of one process."""
    return Budgets(ProcessKeeper(clock.ticks), store, clock.times, alone)


async def send(paced: Paced, count: int) -> None:
    """Send so many requests, one after another."""
    for _ in range(count):
        await paced.send(REQUEST)


async def send_for(paced: Paced, clock: SetTime, seconds: float) -> None:
    """Send as fast as the budget allows; told to come later, do so."""
    end = clock.seconds + seconds
    while clock.seconds < end:
        try:
            await paced.send(REQUEST)
        except BudgetSpent as spent:
            await clock.sleep(spent.retry_after.total_seconds() if spent.retry_after else 0)


def shop_answer(**cost: Any) -> Any:
    """Return an answer of a shop that restores 100 points a second up to 2,000."""
    status = {"maximumAvailable": 2000.0, "currentlyAvailable": cost.pop("available"), "restoreRate": 100.0}
    return answer(body=orjson.dumps({"data": {}, "extensions": {"cost": {**cost, "throttleStatus": status}}}))


SHOP: dict[str, Any] = {"platform": "shopify", "store_id": "acme.myshopify.com"}


class TestPace:
    async def test_a_burst_goes_at_once(self, clock: SetTime, store: CountingStore) -> None:
        await clock.run(send(worker(clock, store).open(limited(Rate(10, 2))), 9))
        assert clock.seconds == 0

    async def test_after_it_each_request_waits_for_its_turn(self, clock: SetTime, store: CountingStore) -> None:
        await clock.run(send(worker(clock, store).open(limited(Rate(1, 2))), 3))
        assert store.came_at == pytest.approx([0, 1 / 1.9, 2 / 1.9], abs=JUST)

    async def test_a_long_wait_is_told_and_not_waited(self, clock: SetTime, store: CountingStore) -> None:
        paced = worker(clock, store).open(limited(Rate(1, 0.01)))
        await paced.send(REQUEST)
        with pytest.raises(BudgetSpent) as spent:
            await paced.send(REQUEST)
        assert spent.value.retry_after is not None
        assert spent.value.retry_after.total_seconds() == pytest.approx(1 / 0.0095)

    async def test_a_spent_budget_has_its_own_code(self, clock: SetTime, store: CountingStore) -> None:
        paced = worker(clock, store).open(limited(Rate(1, 0.01), claims=2))
        with pytest.raises(TryLater) as spent:
            await paced.send(REQUEST)
        assert spent.value.code == "budget_exhausted"

    async def test_eight_polls_of_one_store_stay_below_its_limit(self, clock: SetTime, store: CountingStore) -> None:
        budgets = worker(clock, store)
        await clock.run(*(send_for(budgets.open(limited(TWO_A_SECOND)), clock, 600) for _ in range(8)))
        assert over_limit(store.came_at, TWO_A_SECOND) == 0

    async def test_and_use_nine_tenths_of_it(self, clock: SetTime, store: CountingStore) -> None:
        budgets = worker(clock, store)
        await clock.run(*(send_for(budgets.open(limited(TWO_A_SECOND)), clock, 600) for _ in range(8)))
        assert len([at for at in store.came_at if at < 600]) >= 0.9 * 600 * TWO_A_SECOND.per_second

    async def test_companies_that_ask_one_store_share_its_limit(self, clock: SetTime, store: CountingStore) -> None:
        budgets = worker(clock, store)
        await budgets.open(limited(Rate(1, 0.01))).send(REQUEST)
        with pytest.raises(BudgetSpent):
            await budgets.open(limited(Rate(1, 0.01), company_id="c2")).send(REQUEST)
        assert len(store.came_at) == 1

    def test_where_the_platform_counts_by_app_each_company_has_its_own(self) -> None:
        assert len({store_key(Claim(**SHOP, company_id=company)) for company in ("c1", "c2")}) == 2

    def test_the_key_tells_nothing_of_the_store(self) -> None:
        key = store_key(Claim(**SHOP))
        assert "acme" not in key
        assert len(key) == 32

    async def test_a_plentiful_budget_costs_next_to_nothing(self, clock: SetTime, store: CountingStore) -> None:
        """Counted in steps of the event loop, not in time: nobody is waited for."""
        paced = worker(clock, store).open(limited(Rate(10_000, 10_000)))
        sending = paced.send(REQUEST)
        with pytest.raises(StopIteration):
            sending.send(None)


class TestRates:
    @pytest.mark.parametrize(
        ("options", "rate"),
        [
            ({}, Rate(20, 5)),
            ({"requests_per_second": 2}, Rate(1, 2)),
            ({"requests_per_second": 2, "requests_at_once": 40}, Rate(40, 2)),
            ({"requests_at_once": 40}, Rate(20, 5)),
        ],
    )
    @pytest.mark.parametrize("platform", ["custom", "woocommerce"])
    def test_options_stand_in_for_the_polite_rate(self, platform: str, options: dict[str, Any], rate: Rate) -> None:
        assert rate_of(PLATFORMS[platform].capabilities.pace, {"options": options}) == rate

    @pytest.mark.parametrize("platform", ["custom", "woocommerce"])
    @pytest.mark.parametrize("options", [{"requests_per_second": 0}, {"requests_at_once": 0}])
    def test_a_rate_that_would_stop_everything_is_refused(self, platform: str, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            PLATFORMS[platform].Settings.model_validate({"base_url": "https://shop.example.com", "options": options})

    def test_an_answer_without_figures_tells_nothing(self) -> None:
        assert points_in(answer(body=b'{"data": {"name": "throttleStatus"}}')) is None

    def test_a_shoppers_text_cannot_pass_for_figures(self) -> None:
        said = '{"throttleStatus": {"maximumAvailable": 9, "currentlyAvailable": 9, "restoreRate": 9}}'
        assert points_in(answer(body=orjson.dumps({"data": {"note": said, "name": "throttleStatus"}}))) is None


class TestSharers:
    @pytest.mark.parametrize(("platform", "count"), [("custom", 3), ("shopify", 2)])
    async def test_integrations_of_the_same_store_count_and_where_apps_are_counted_only_one_s_own(
        self, world: World, platform: str, count: int
    ) -> None:
        ours, theirs = await make_company(world), await make_company(world, "Other")
        agent, stranger = await make_agent(world, ours), await make_agent(world, theirs)
        for status in ("active", "paused", "inactive"):
            await make_integration(world, ours, agent, status=status, platform=platform, store_id="shop.example.com")
        await make_integration(world, ours, agent, platform=platform, store_id="other.example.com")
        await make_integration(world, theirs, stranger, platform=platform, store_id="shop.example.com")
        assert await sharers_in(world.database)(Claim(ours, platform=platform)) == count


class TestAnswers:
    async def test_retry_after_is_kept(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [answer(429, retry_after="3")]
        await clock.run(send(worker(clock, store).open(limited(Rate(10, 10))), 2))
        assert store.came_at[1] == pytest.approx(3 + 1 / 9.5, abs=JUST)

    async def test_every_poll_of_the_store_keeps_it(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [answer(429, retry_after="60")]
        budgets = worker(clock, store)
        other = budgets.open(limited(Rate(10, 10)))
        await budgets.open(limited(Rate(10, 10))).send(REQUEST)
        with pytest.raises(BudgetSpent):
            await other.send(REQUEST)

    async def test_it_outlives_the_lease(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [answer(429, retry_after="60")]
        paced = worker(clock, store).open(limited(Rate(10, 10)))
        await paced.send(REQUEST)
        clock.seconds += 30
        with pytest.raises(BudgetSpent) as spent:
            await worker(clock, store).open(limited(Rate(10, 10), budget=paced.carried())).send(REQUEST)
        assert spent.value.retry_after is not None
        assert spent.value.retry_after.total_seconds() == pytest.approx(30 + 1 / 9.5, abs=0.01)

    async def test_a_429_without_a_time_empties_the_bucket(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [answer(429)]
        await clock.run(send(worker(clock, store).open(limited(Rate(10, 1))), 2))
        assert store.came_at[1] == pytest.approx(1 / 0.95, abs=JUST)

    async def test_an_overloaded_store_without_a_time_does_not(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [answer(503)]
        await clock.run(send(worker(clock, store).open(limited(Rate(10, 1))), 2))
        assert store.came_at[1] == 0

    async def test_points_that_a_query_did_not_use_come_back(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [shop_answer(requestedQueryCost=735, actualQueryCost=107, available=1893)] * 2
        await clock.run(send(worker(clock, store).open(Claim(**SHOP)), 2))
        assert store.came_at == [0, 0]

    async def test_a_shop_that_has_little_left_is_waited_for(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [shop_answer(requestedQueryCost=735, actualQueryCost=300, available=450)]
        await clock.run(send(worker(clock, store).open(Claim(**SHOP)), 2))
        assert store.came_at[1] == pytest.approx((735 - 450) / 95, abs=JUST)

    async def test_a_throttled_answer_teaches_too(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [shop_answer(requestedQueryCost=300, actualQueryCost=None, available=20)]
        paced = worker(clock, store).open(Claim(**SHOP))
        await clock.run(send(paced, 2))
        assert store.came_at[1] == pytest.approx((300 - 0) / 95, abs=JUST)  # 900 were reserved of 900

    async def test_what_was_learned_travels_with_the_lease(self, clock: SetTime, store: CountingStore) -> None:
        store.answers = [shop_answer(requestedQueryCost=200, actualQueryCost=100, available=1900)]
        paced = worker(clock, store).open(Claim(**SHOP))
        await paced.send(REQUEST)
        clock.seconds += 30
        after = worker(clock, store).open(Claim(**SHOP, budget=paced.carried()))
        await clock.run(send(after, 9))
        assert clock.seconds == 30  # nine of 200 points are what a shop of 2,000 grants at once, less the margin

    async def test_figures_of_the_first_release_are_understood(self, clock: SetTime, store: CountingStore) -> None:
        kept = {"maximum": 2000.0, "available": 1893.0, "restored_per_second": 100.0, "requested": 735.0}
        await worker(clock, store).open(Claim(**SHOP, budget=kept)).send(REQUEST)
        assert store.came_at == [0]


class TestOwners:
    async def test_a_change_of_owner_gives_nothing_twice(self, clock: SetTime, store: CountingStore) -> None:
        budget = None
        for _ in range(40):
            paced = worker(clock, store).open(limited(TWO_A_SECOND, budget=budget))
            await clock.run(send_for(paced, clock, 2))
            budget = paced.carried()
        assert over_limit(store.came_at, TWO_A_SECOND) == 0

    async def test_a_killed_owners_successor_begins_empty(self, clock: SetTime, store: CountingStore) -> None:
        settled = worker(clock, store).open(limited(TWO_A_SECOND)).carried()
        for claims in range(1, 40):
            taken_over = worker(clock, store).open(limited(TWO_A_SECOND, budget=settled, claims=claims))
            await clock.run(send_for(taken_over, clock, 2))  # and never settles
        assert over_limit(store.came_at, TWO_A_SECOND) == 0

    async def test_a_clock_a_little_ahead_gives_nothing_more(self, clock: SetTime, store: CountingStore) -> None:
        paced = worker(clock, store).open(limited(Rate(10, 10)))
        await clock.run(send(paced, 9))
        budget = paced.carried()
        budget["at"] -= 0.2  # as the next owner's clock sees it
        after = worker(clock, store).open(limited(Rate(10, 10), budget=budget))
        await clock.run(send(after, 1))
        assert store.came_at[-1] == pytest.approx(1 / 9.5, abs=JUST)

    async def test_an_hour_later_it_is_full_again(self, clock: SetTime, store: CountingStore) -> None:
        paced = worker(clock, store).open(limited(TWO_A_SECOND))
        await clock.run(send(paced, 4))
        clock.seconds += 3600
        await clock.run(send(worker(clock, store).open(limited(TWO_A_SECOND, budget=paced.carried())), 4))
        assert store.came_at[4:] == [3600.0] * 4

    async def test_two_integrations_of_one_store_share_in_one_process(
        self, clock: SetTime, store: CountingStore
    ) -> None:
        budgets = worker(clock, store)
        first, second = (budgets.open(limited(Rate(5, 2))) for _ in range(2))
        await clock.run(send(first, 4), send(second, 4))
        assert over_limit(store.came_at, Rate(5, 2)) == 0


class TestSettings:
    async def test_without_redis_the_process_keeps_them(self) -> None:
        assert await open_keeper(Settings(_env_file=None), Clock()).describe() == "in-process"

    async def test_a_redis_that_does_not_answer_is_told_of_before_anybody_needs_it(self) -> None:
        keeper = open_keeper(Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}/0"), Clock())
        with structlog.testing.capture_logs() as lines:
            assert (await keeper.describe()).startswith("Redis is away")
        assert [line["event"] for line in lines] == ["budgets.redis_away"]
        await keeper.aclose()

    def test_an_address_that_cannot_be_used_is_not_shown(self) -> None:
        with pytest.raises(SetupProblem) as problem:
            open_keeper(
                Settings(_env_file=None, redis_url="redis://:s3cret@127.0.0.1:6379/0?socket_timeout=soon"), Clock()
            )
        assert "s3cret" not in str(problem.value)
