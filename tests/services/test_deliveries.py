"""The delivery lane over the wire: what each answer comes to, retries, the breaker, signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from backend.domain.backoff import DELIVERY_DELAYS, MOST_ATTEMPTS
from backend.domain.signing import make_secret
from backend.models import deliveries, delivery_attempts, destinations
from tests.factories import make_destination
from tests.services.acts import another, cart, change, messages, outbox, poll
from tests.services.line import NOON, Line

SECOND = timedelta(seconds=1)


async def sent(line: Line, kind: str = "", times: int = 1, **options: Any) -> Any:
    """Hand one cart off to a partner with a fault and return its delivery."""
    if kind:
        line.partner.inject(kind, times=times, **options)
    line.add("c1", 45)
    await line.run()
    (row,) = await outbox(line)
    return row


async def owed(line: Line, count: int) -> None:
    """Let the partner be owed so many messages of one cart each."""
    await change(line, destinations, max_carts_per_payload=1)
    for number in range(count):
        line.add(f"c{number:03}", 45 + number / 60)
    await poll(line)


async def partner_row(line: Line) -> Any:
    (row,) = await line.rows(destinations, destinations.c.id == line.destination)
    return row


async def attempts(line: Line) -> list[Any]:
    return sorted(await line.rows(delivery_attempts), key=lambda row: (row.started_at, row.id))


ANSWERS = [
    (200, "delivered", "delivered"),
    (202, "delivered", "delivered"),
    (301, "pending", "redirected"),
    (307, "pending", "redirected"),
    (400, "pending", "refused"),
    (401, "pending", "refused"),
    (404, "pending", "refused"),
    (410, "pending", "gone"),
    (429, "pending", "throttled"),
    (500, "pending", "server_error"),
    (502, "pending", "throttled"),
    (503, "pending", "server_error"),
    (504, "pending", "throttled"),
]


class TestOutcomes:
    @pytest.mark.parametrize(("status", "state", "outcome"), ANSWERS)
    async def test_an_answer_is_sorted_and_kept(self, line: Line, status: int, state: str, outcome: str) -> None:
        row = await sent(line, "status", status=status, body="why", headers={"Location": "http://127.0.0.1:1/"})
        (attempt,) = await attempts(line)
        assert (row.state, row.last_outcome, row.last_status) == (state, outcome, status)
        assert (attempt.number, attempt.outcome, attempt.status, bytes(attempt.answer)) == (1, outcome, status, b"why")

    @pytest.mark.parametrize(("kind", "outcome"), [("reset", "connection_failed"), ("cut", "connection_failed")])
    async def test_a_broken_connection_is_a_failure(self, line: Line, kind: str, outcome: str) -> None:
        row = await sent(line, kind, times=3)
        assert (row.state, row.last_outcome, row.attempts) == ("pending", outcome, 1)

    async def test_nobody_there_is_a_failure(self, line: Line) -> None:
        await change(line, destinations, url="http://127.0.0.1:1/hook")
        row = await sent(line)
        assert (row.state, row.last_outcome, (await partner_row(line)).failures) == ("pending", "connection_failed", 1)

    async def test_an_answer_that_drips_is_ended_by_the_deadline(self, line: Line) -> None:
        line.world.settings = line.world.settings.model_copy(update={"delivery_deadline_seconds": 0.3})
        async with another(line) as engine:
            line.partner.inject("accepted_then_drip", seconds=0.05)
            line.add("c1", 45)
            await engine.poller.run_once()
        (row,) = await outbox(line)
        assert (row.state, row.last_outcome) == ("pending", "timeout")

    async def test_only_the_beginning_of_an_answer_is_kept(self, line: Line) -> None:
        row = await sent(line, "status", status=200, body="x" * 100_000)
        (attempt,) = await attempts(line)
        assert (row.state, len(attempt.answer)) == ("delivered", 16 * 1024)

    async def test_a_blocked_address_is_our_fault_and_no_attempt(self, line: Line) -> None:
        await change(line, destinations, url="http://10.1.2.3/hook")
        row = await sent(line)
        partner = await partner_row(line)
        assert (row.last_outcome, row.attempts, row.next_attempt_at) == ("address_blocked", 0, NOON + 30 * SECOND)
        assert (partner.failures, partner.held_until) == (0, None)

    async def test_a_success_is_contact_with_the_shopper(self, line: Line) -> None:
        await sent(line)
        assert (await cart(line)).contacted_at == NOON


class TestRetries:
    async def test_a_message_is_tried_on_schedule_and_then_dead(self, line: Line) -> None:
        row = await sent(line, "status", status=500, times=99)
        waits = []
        while row.state == "pending":
            waits.append(row.next_attempt_at - line.clock.now())
            line.clock.at = row.next_attempt_at
            await change(line, destinations, held_until=None)  # the breaker is another matter
            await line.engine.poller.deliver()
            (row,) = await outbox(line)
        assert (row.state, row.attempts, row.next_attempt_at, len(await attempts(line))) == ("dead", 10, None, 10)
        assert all(low <= wait <= low * 1.2 for low, wait in zip(DELIVERY_DELAYS[1:], waits, strict=True))

    async def test_a_dead_message_is_left_alone(self, line: Line) -> None:
        await sent(line, "status", status=500)
        async with line.world.database.work() as tx:
            await tx.execute(update(deliveries).values(state="dead", next_attempt_at=None))
        line.clock.move(days=9)
        await line.engine.poller.deliver()
        assert len(await attempts(line)) == 1

    async def test_a_receiver_can_ask_for_more_time(self, line: Line) -> None:
        row = await sent(line, "status", status=503, headers={"Retry-After": "3600"})
        assert row.next_attempt_at == NOON + 3600 * SECOND

    async def test_a_retry_sends_the_same_bytes_under_the_same_id_at_a_new_time(self, line: Line) -> None:
        line.partner.keep_requests = 9
        await sent(line, "status", status=500)
        line.clock.move(seconds=60)
        await line.engine.poller.deliver()
        first, second = line.partner.requests
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 60
        assert first.headers["webhook-signature"] != second.headers["webhook-signature"]

    async def test_a_message_that_took_effect_and_whose_answer_was_lost_has_one_effect(self, line: Line) -> None:
        await sent(line, "answered_then_reset")
        line.clock.move(seconds=60)
        await line.engine.poller.deliver()
        assert (messages(line), line.effects()) == (2, ["c1"])


class TestSignatures:
    async def signed(self, line: Line) -> tuple[str, str]:
        line.partner.keep_requests = 9
        await sent(line)
        (seen,) = line.partner.requests
        return f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.{seen.body.decode()}", seen.headers[
            "webhook-signature"
        ]

    @staticmethod
    def of(secret: str, text: str) -> str:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()

    async def test_it_is_made_with_the_partner_s_secret(self, line: Line) -> None:
        text, signature = await self.signed(line)
        assert signature == self.of(line.secret, text)

    async def test_two_live_secrets_both_sign(self, line: Line) -> None:
        newer = make_secret()
        place = (line.company, "destinations", "secrets_sealed", line.destination)
        async with line.world.database.transaction(line.company) as tx:
            sealed, version = await line.base.keyring.seal_json(tx, place, [newer, line.secret], NOON)
        await change(line, destinations, secrets_sealed=sealed, secrets_version=version)
        text, signature = await self.signed(line)
        assert signature.split() == [self.of(newer, text), self.of(line.secret, text)]

    async def test_a_partner_with_another_secret_refuses(self, line: Line) -> None:
        line.partner.register("p", [make_secret()])
        row = await sent(line)
        assert (row.state, row.last_status, line.effects()) == ("pending", 401, [])


class TestBreaker:
    @pytest.mark.parametrize("kind", ["status", "cut"])
    async def test_it_opens_after_five_failures_in_a_row(self, line: Line, kind: str) -> None:
        await owed(line, 40)
        line.partner.inject(kind, times=99)
        await line.engine.poller.deliver()
        partner = await partner_row(line)
        # Four may be in the air at once, so a few more than five were begun.
        assert 5 <= partner.failures <= 8
        assert len(await attempts(line)) == partner.failures
        assert partner.held_until >= line.clock.now() + 30 * SECOND

    async def test_what_was_not_begun_keeps_its_attempts(self, line: Line) -> None:
        await owed(line, 40)
        line.partner.inject("status", times=99)
        await line.engine.poller.deliver()
        counts = [row.attempts for row in await outbox(line)]
        tried = len(await attempts(line))
        assert (counts.count(1), counts.count(0)) == (tried, 40 - tried)
        assert {row.lease_token for row in await outbox(line)} == {None}

    async def test_an_open_breaker_lets_nothing_through(self, line: Line) -> None:
        await owed(line, 40)
        line.partner.inject("status", times=99)
        await line.engine.poller.deliver()
        before = len(await attempts(line))
        line.clock.move(seconds=29)
        await line.engine.poller.deliver()
        assert len(await attempts(line)) == before

    async def test_it_probes_with_one_and_waits_longer(self, line: Line) -> None:
        await owed(line, 40)
        line.partner.inject("status", times=99)
        await line.engine.poller.deliver()
        before, opened = len(await attempts(line)), await partner_row(line)
        line.clock.at = opened.held_until
        await line.engine.poller.deliver()
        again = await partner_row(line)
        assert (len(await attempts(line)) - before, again.held_until - line.clock.now() > 30 * SECOND) == (1, True)

    async def test_a_probe_that_succeeds_closes_it_and_the_backlog_goes(self, line: Line) -> None:
        await owed(line, 40)
        line.partner.inject("status", times=99)
        await line.engine.poller.deliver()
        line.partner.faults.clear()
        line.clock.move(hours=1)
        await line.engine.poller.deliver()
        partner = await partner_row(line)
        assert (partner.failures, partner.held_until, len(line.effects())) == (0, None, 40)

    async def test_a_success_between_failures_counts_them_anew(self, line: Line) -> None:
        await owed(line, 3)
        await change(line, destinations, failures=4)
        await line.engine.poller.deliver()
        assert (await partner_row(line)).failures == 0

    async def test_a_partner_on_probation_that_fails_by_our_fault_stays_there(self, line: Line) -> None:
        await owed(line, 3)
        await change(line, destinations, failures=6, url="http://10.1.2.3/hook")
        await line.engine.poller.deliver()
        assert (await partner_row(line)).failures == 6


class TestLeftAlone:
    async def test_gone_disables_at_once_and_keeps_what_is_owed(self, line: Line) -> None:
        await owed(line, 40)
        line.partner.inject("status", status=410, times=99)
        await line.engine.poller.deliver()
        partner = await partner_row(line)
        assert (partner.status, {row.state for row in await outbox(line)}) == ("disabled", {"pending"})
        assert len(await attempts(line)) <= 4  # what was in the air

    async def test_what_is_owed_goes_once_it_is_enabled_again(self, line: Line) -> None:
        await owed(line, 5)
        line.partner.inject("status", status=410, times=99)
        await line.engine.poller.deliver()
        line.partner.faults.clear()
        await change(line, destinations, status="active", failures=0, held_until=None)
        line.clock.move(hours=1)
        await line.engine.poller.deliver()
        assert len(line.effects()) == 5

    @pytest.mark.parametrize("status", [429, 502, 504])
    async def test_a_throttling_partner_is_held_as_long_as_it_says(self, line: Line, status: int) -> None:
        await owed(line, 40)
        line.partner.inject("status", status=status, times=99, headers={"Retry-After": "600"})
        await line.engine.poller.deliver()
        partner = await partner_row(line)
        assert (partner.held_until, len(await attempts(line)) <= 4) == (line.clock.now() + 600 * SECOND, True)

    async def test_a_partner_that_names_no_time_is_held_half_a_minute(self, line: Line) -> None:
        await sent(line, "status", status=429)
        assert (await partner_row(line)).held_until == NOON + 30 * SECOND

    async def test_no_partner_is_held_for_longer_than_a_day(self, line: Line) -> None:
        await sent(line, "status", status=429, headers={"Retry-After": "99999999"})
        assert (await partner_row(line)).held_until == NOON + timedelta(days=1)

    async def test_new_carts_wait_with_the_others(self, line: Line) -> None:
        await sent(line, "status", status=410)
        line.add("c2", 0)
        line.clock.move(minutes=31)
        await line.run()
        assert (len(await outbox(line)), messages(line)) == (2, 0)


class TestOthersGoOn:
    async def more_partners(self, line: Line, **fields: Any) -> str:
        line.partner.register("q", [line.secret])
        url = f"{line.partner.base_url}/hook/q"
        return await make_destination(line.world, line.company, line.agent, url, line.secret, **fields)

    async def test_a_dead_partner_does_not_hold_up_another(self, line: Line) -> None:
        await self.more_partners(line)
        line.partner.inject("status", match="/hook/p", times=99)
        await owed(line, 20)
        await line.engine.poller.deliver()
        assert (len(line.partner.hook("q").effects), line.effects()) == (20, [])

    async def test_secrets_that_do_not_open_stop_only_their_own_partner(self, line: Line) -> None:
        broken = await self.more_partners(line)
        async with line.world.database.work() as tx:
            await tx.execute(update(destinations).where(destinations.c.id == broken).values(secrets_sealed=b"damaged"))
        line.add("c1", 45)
        report = await line.run()
        assert (line.effects(), report["deliveries_succeeded"]) == (["c1"], 1)

    async def test_what_our_bug_kept_from_being_sent_keeps_its_attempts_and_waits(self, line: Line) -> None:
        await change(line, destinations, secrets_sealed=b"damaged")
        for _ in range(MOST_ATTEMPTS + 2):
            line.add("c1", 45)
            await line.run()
            line.clock.move(seconds=31)
        (row,) = await outbox(line)
        assert (row.state, row.attempts, row.lease_token) == ("pending", 0, None)

    async def test_no_more_than_four_are_in_the_air_to_one_partner(self, line: Line) -> None:
        in_air: list[int] = []
        open_now = 0
        receive = line.partner._receive  # noqa: SLF001

        async def counted(request: Any) -> Any:
            nonlocal open_now
            open_now += 1
            in_air.append(open_now)
            try:
                return await receive(request)
            finally:
                open_now -= 1

        line.partner._receive = counted  # type: ignore[method-assign]  # noqa: SLF001
        await owed(line, 40)
        await line.engine.poller.deliver()
        assert max(in_air, default=0) <= 4


class TestTimeLimit:
    async def test_a_one_off_run_gets_through_a_backlog_that_takes_more_than_one_slice(self, line: Line) -> None:
        await owed(line, 30)
        line.world.settings = line.world.settings.model_copy(update={"destination_in_flight": 1})
        async with another(line) as engine:
            await engine.poller.run_once()
        assert len(line.effects()) == 30
