"""Which carts are handed off: the gate when a delivery is written, and once more right before each attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from backend.models import carts, company_agents, customers, delivery_carts, destinations
from backend.store.carts import CartStore
from tests.domain.sights import stored
from tests.factories import make_destination
from tests.services.acts import (
    add_store,
    buy,
    cart,
    change,
    fill,
    messages,
    outbox,
    poll,
    states,
    store_row,
    verdicts,
)
from tests.services.line import Line

NOBODY = {"customer": {"first": "Ada"}}
SAYS_NO = {"consent": {"email": "no"}}


async def allow(line: Line, **switches: bool) -> None:
    """Change what the line's destination takes."""
    await change(line, destinations, **switches)


class TestWriting:
    async def test_a_cart_nobody_can_be_reached_for_is_kept(self, line: Line) -> None:
        line.add("c1", 45, **NOBODY)
        await line.run()
        assert (await states(line), await verdicts(line)) == ({"c1": "abandoned"}, {"c1": ("deny", "contactable")})
        assert line.effects() == []

    async def test_it_is_handed_off_once_contact_comes(self, line: Line) -> None:
        line.add("c1", 45, **NOBODY)
        await line.run()
        line.store.touch("s0", "c1", line.clock.now(), customer={"email": "ada@example.com"})
        await line.run()
        assert (line.effects(), (await cart(line)).episode) == (["c1"], 1)

    async def test_it_is_handed_off_to_whom_wants_such_carts(self, line: Line) -> None:
        await allow(line, include_uncontactable=True)
        line.add("c1", 45, **NOBODY)
        await line.run()
        assert line.effects() == ["c1"]

    async def test_who_said_no_is_not_handed_off(self, line: Line) -> None:
        line.add("c1", 45, **SAYS_NO)
        await line.run()
        assert (line.effects(), await verdicts(line)) == ([], {"c1": ("deny", "refused")})

    async def test_who_said_no_is_handed_off_to_whom_wants_such_carts(self, line: Line) -> None:
        await allow(line, include_opted_out=True)
        line.add("c1", 45, **SAYS_NO)
        await line.run()
        assert line.effects() == ["c1"]

    async def test_each_destination_is_decided_for_itself(self, line: Line) -> None:
        line.partner.register("q", [line.secret])
        url = f"{line.partner.base_url}/hook/q"
        await make_destination(line.world, line.company, line.agent, url, line.secret, include_uncontactable=True)
        line.add("c1", 45, **NOBODY)
        await line.run()
        assert (len(line.partner.hook("p").effects), len(line.partner.hook("q").effects)) == (0, 1)

    async def test_a_change_of_mind_is_followed(self, line: Line) -> None:
        line.add("c1", 45, **SAYS_NO)
        await line.run()
        line.store.touch("s0", "c1", line.clock.now(), consent={"email": "yes"})
        await line.run()
        assert line.effects() == ["c1"]

    async def test_an_agent_without_a_destination_still_knows_its_carts(self, line: Line) -> None:
        await change(line, destinations, status="inactive")
        line.add("c1", 45)
        report = await line.run()
        assert (report["ok"], await states(line), await outbox(line)) == (True, {"c1": "abandoned"}, [])

    @pytest.mark.parametrize(("count", "bodies"), [(1, 5), (2, 3), (100, 1)])
    async def test_a_message_holds_as_many_carts_as_the_destination_takes(
        self, line: Line, count: int, bodies: int
    ) -> None:
        await change(line, destinations, max_carts_per_payload=count)
        for number in range(5):
            line.add(f"c{number}", 45 + number)
        await line.run()
        assert (messages(line), len(line.effects())) == (bodies, 5)

    async def test_the_trace_is_kept(self, line: Line) -> None:
        line.add("c1", 45, **NOBODY)
        await line.run()
        (row,) = await line.rows(delivery_carts)
        assert row.trace[-1] == ["contactable", "deny: neither e-mail nor phone"]
        assert row.trace[0] == ["erased", "pass"]


class TestSweep:
    @pytest.mark.parametrize(("seconds", "state"), [(0, "active"), (1, "abandoned")])
    async def test_a_cart_is_marked_once_its_threshold_is_over(self, line: Line, seconds: int, state: str) -> None:
        line.add("c1", 0)
        await poll(line)
        line.clock.move(minutes=29, seconds=30 + seconds)
        await line.engine.poller.sweep()
        assert await states(line) == {"c1": state}

    async def test_what_the_sweep_marks_is_handed_off(self, line: Line) -> None:
        line.add("c1", 0)
        await poll(line)
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        await line.engine.poller.deliver()
        assert line.effects() == ["c1"]

    async def test_what_the_sweep_hands_off_is_the_same_as_what_the_intake_would(self, line: Line) -> None:
        line.add("c1", 0)
        await poll(line)
        line.clock.move(minutes=31)
        line.add("c2", 31.5)
        await line.engine.poller.sweep()
        await poll(line)
        one, other = [orjson.loads(row.body) for row in await outbox(line)]
        assert (one["agent_info"], list(one), list(one["abandoned_carts"][0])) == (
            other["agent_info"],
            list(other),
            list(other["abandoned_carts"][0]),
        )

    async def test_an_abandonment_past_the_horizon_is_lost(self, line: Line) -> None:
        line.add("c1", 45)
        await poll(line)
        line.clock.move(days=31)
        await line.engine.poller.sweep()
        row = await cart(line)
        assert (row.state, row.next_check_at) == ("lost", None)

    async def test_a_longer_horizon_keeps_what_is_abandoned(self, line: Line) -> None:
        line.add("c1", 45)
        await poll(line)
        await change(line, company_agents, recovery_horizon_days=60)
        line.clock.move(days=31)
        await line.engine.poller.sweep()
        row = await cart(line)
        assert (row.state, row.next_check_at) == ("abandoned", row.abandoned_at + timedelta(days=60))

    async def test_a_longer_threshold_keeps_what_is_active(self, line: Line) -> None:
        line.add("c1", 0)
        await poll(line)
        await change(line, company_agents, abandonment_threshold_minutes=120)
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        row = await cart(line)
        assert (row.state, row.next_check_at) == ("active", row.last_activity_at + timedelta(minutes=120))

    async def test_all_stores_of_a_company_are_swept_at_once(self, line: Line) -> None:
        await add_store(line, "s1")
        line.store.add_cart("s1", "x", line.clock.now())
        line.add("c1", 0)
        await poll(line)
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        assert await states(line) == {"c1": "abandoned", "x": "abandoned"}

    async def test_a_sweep_gives_its_leases_back(self, line: Line) -> None:
        line.add("c1", 0)
        await poll(line)
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        row = await cart(line)
        assert (row.lease_token, row.lease_expires_at) == (None, None)

    async def test_a_store_whose_carts_cannot_be_swept_does_not_stop_the_others(self, line: Line) -> None:
        await add_store(line, "s1")
        line.store.add_cart("s1", "broken", line.clock.now() - timedelta(minutes=1))
        line.add("c1", 0)
        await poll(line)
        broken, now = await cart(line, "broken"), line.clock.now()
        async with line.world.database.transaction(line.company) as tx:  # as a bug might: logged, and not marked
            await CartStore(tx, line.company).log_abandonments(
                [replace(stored(), id=broken.id, episode=1, abandoned_at=now)], now
            )
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        assert await states(line) == {"broken": "active", "c1": "abandoned"}


# What happens between the writing of a delivery and its attempt, the rule that then says no, the cart's state.
MEANWHILE: dict[str, tuple[Callable[[Line], Any], str, str]] = {
    "bought": (lambda line: buy(line, "c1"), "bought", "converted"),
    "revived": (lambda line: fill(line, "c1"), "threshold", "active"),
    "emptied": (
        lambda line: line.store.touch("s0", "c1", line.clock.now(), items=[], total="0"),
        "excluded",
        "emptied",
    ),
    "refused": (
        lambda line: line.store.touch("s0", "c1", line.clock.now(), consent={"email": "no"}),
        "refused",
        "abandoned",
    ),
}
MARKED: dict[str, tuple[dict[str, Any], str]] = {
    "erased": ({"erased_at": timedelta(0)}, "erased"),
    "excluded": ({"state": "excluded"}, "excluded"),
    "lost": ({"state": "lost"}, "horizon"),
    "recovered": ({"state": "recovered"}, "bought"),
    "abandoned anew": ({"episode": 2}, "episode"),
}


class TestAttempt:
    @pytest.mark.parametrize("what", MEANWHILE)
    async def test_what_no_longer_may_go_is_superseded_unsent(self, line: Line, what: str) -> None:
        act, rule, state = MEANWHILE[what]
        line.add("c1", 45)
        await poll(line)
        act(line)
        await poll(line)
        await line.engine.poller.deliver()
        (delivery,) = await outbox(line)
        assert (delivery.state, delivery.attempts, delivery.superseded_by, messages(line)) == ("superseded", 0, None, 0)
        assert (await verdicts(line), await states(line)) == ({"c1": ("deny", rule)}, {"c1": state})

    @pytest.mark.parametrize("what", MARKED)
    async def test_what_is_marked_otherwise_is_superseded_unsent(self, line: Line, what: str) -> None:
        values, rule = MARKED[what]
        line.add("c1", 45)
        await poll(line)
        now = line.clock.now()
        await change(line, carts, **{n: now if isinstance(v, timedelta) else v for n, v in values.items()})
        await line.engine.poller.deliver()
        (delivery,) = await outbox(line)
        (row,) = await line.rows(delivery_carts)
        assert (delivery.state, messages(line), row.rule) == ("superseded", 0, rule)

    async def test_the_gate_reads_the_person_afresh(self, line: Line) -> None:
        line.add("c1", 45)
        await poll(line)
        await change(line, customers, consent_email="no")
        await line.engine.poller.deliver()
        assert (messages(line), await verdicts(line)) == (0, {"c1": ("deny", "refused")})

    async def test_a_superseded_cart_revived_and_abandoned_again_goes(self, line: Line) -> None:
        line.add("c1", 45)
        await poll(line)
        fill(line, "c1")
        await poll(line)
        await line.engine.poller.deliver()
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        await line.engine.poller.deliver()
        (effect,) = line.partner.hook("p").effects.values()
        assert (effect.source_cart_id, (await cart(line)).episode) == ("c1", 2)


class TestPartOfABatch:
    """Three carts in one message; one of them is bought before it is sent."""

    async def sold_one(self, line: Line, *, attempts: int = 0) -> list[Any]:
        for number in (1, 2, 3):
            line.add(f"c{number}", 45 + number)
        await poll(line)
        if attempts:
            line.partner.inject("status", times=attempts, status=500)
            await line.engine.poller.deliver()
        buy(line, "c2")
        await poll(line)
        await line.engine.poller.deliver()
        return await outbox(line)

    async def test_the_others_arrive_in_a_message_of_their_own(self, line: Line) -> None:
        old, new = await self.sold_one(line)
        assert (line.effects(), messages(line)) == (["c1", "c3"], 1)
        assert (old.state, old.superseded_by, new.state) == ("superseded", new.id, "delivered")

    async def test_the_message_is_new_and_the_events_are_the_same(self, line: Line) -> None:
        old, new = await self.sold_one(line)
        before, after = [
            {each["source_cart_id"]: each["event_id"] for each in orjson.loads(row.body)["abandoned_carts"]}
            for row in (old, new)
        ]
        assert (old.webhook_id != new.webhook_id, after) == (True, {name: before[name] for name in ("c1", "c3")})

    async def test_the_sums_are_those_of_what_is_left(self, line: Line) -> None:
        _, new = await self.sold_one(line)
        assert orjson.loads(new.body)["recovery_analytics"]["total_value"] == 20.0

    async def test_the_rows_move_and_the_sold_one_stays_with_its_reason(self, line: Line) -> None:
        old, new = await self.sold_one(line)
        rows = {row.delivery_id: row for row in await line.rows(delivery_carts) if row.verdict == "deny"}
        moved = [row for row in await line.rows(delivery_carts) if row.delivery_id == new.id]
        assert (list(rows), rows[old.id].rule, len(moved)) == ([old.id], "bought", 2)

    async def test_attempts_and_times_are_carried_over(self, line: Line) -> None:
        old, new = await self.sold_one(line, attempts=1)
        assert (old.attempts, new.attempts, new.first_attempt_at) == (1, 2, old.first_attempt_at)

    async def test_the_old_message_keeps_its_bytes(self, line: Line) -> None:
        old, _ = await self.sold_one(line)
        assert len(orjson.loads(old.body)["abandoned_carts"]) == 3

    async def test_a_message_sent_already_is_left_alone(self, line: Line) -> None:
        for number in (1, 2, 3):
            line.add(f"c{number}", 45)
        await line.run()
        buy(line, "c2")
        await line.run()
        assert [row.state for row in await outbox(line)] == ["delivered"]


class TestRecovery:
    async def test_a_purchase_after_the_hand_off_is_a_recovery(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        line.clock.move(hours=1)
        buy(line, "c1")
        await line.run()
        assert await states(line) == {"c1": "recovered"}

    async def test_a_purchase_before_the_hand_off_is_none(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        buy(line, "c1", minutes_ago=5)
        await line.run()
        assert await states(line) == {"c1": "converted"}

    async def test_a_hand_off_that_failed_is_no_contact(self, line: Line) -> None:
        line.partner.inject("status", status=500)
        line.add("c1", 45)
        await line.run()
        assert (await cart(line)).contacted_at is None

    async def test_contact_of_an_earlier_episode_does_not_count(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        fill(line, "c1")
        await poll(line)
        line.clock.move(minutes=31)
        await line.engine.poller.sweep()
        buy(line, "c1")
        await poll(line)
        assert await states(line) == {"c1": "converted"}

    async def test_a_purchase_past_the_attribution_window_is_a_conversion(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        line.clock.move(days=8)
        buy(line, "c1")
        await line.run()
        assert await states(line) == {"c1": "converted"}


async def test_the_next_poll_is_a_period_after_the_beat(line: Line) -> None:
    await poll(line)
    assert (await store_row(line)).next_poll_at == line.clock.now() + timedelta(seconds=30)
