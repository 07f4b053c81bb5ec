"""Keys of programs: made once, kept as hashes, rotated with both alive, refused at once when revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from backend.domain.access import LOCAL_OWNER, Caller, Grant, Role
from backend.domain.api_keys import hash_of, make_key
from backend.errors import BadInput, Conflict, NotAllowed, NotFound
from backend.models import api_keys
from backend.services.api_keys import ApiKeyDraft, ApiKeyService, MadeKey
from tests.factories import make_company
from tests.services.line import SetClock
from tests.worlds import World

NIGHTLY = ApiKeyDraft(name="nightly", role=Role.ANALYST)


@pytest.fixture
def clock(world: World) -> SetClock:
    return SetClock()


@pytest.fixture
def keys(world: World, clock: SetClock) -> ApiKeyService:
    return ApiKeyService(world.database, clock, world.settings)


async def made(keys: ApiKeyService, company: str | None = None, **more: Any) -> MadeKey:
    return await keys.create(company, NIGHTLY.model_copy(update=more), LOCAL_OWNER)


async def test_a_key_says_who_holds_it(world: World, keys: ApiKeyService) -> None:
    company = await make_company(world, "Acme")
    key = await made(keys, company)
    caller = await keys.caller_of(key.key)
    assert caller is not None
    assert (caller.kind, caller.id, caller.grants) == ("key", key.api_key.id, (Grant(Role.ANALYST, company),))


async def test_only_a_hash_is_kept(world: World, keys: ApiKeyService) -> None:
    key = await made(keys)
    async with world.database.work() as tx:
        row = (await tx.execute(select(api_keys))).one()
    assert (row.hash, key.key in str(tuple(row)), key.key in repr(key)) == (hash_of(key.key), False, False)


@pytest.mark.parametrize("text", ["", "crk_live_x", "x" * 10_000])
async def test_what_is_no_key_is_nobody_s(keys: ApiKeyService, text: str) -> None:
    await made(keys)
    assert await keys.caller_of(text) is None


async def test_an_unknown_key_is_nobody_s(keys: ApiKeyService) -> None:
    await made(keys)
    assert await keys.caller_of(make_key(is_live=True)) is None


async def test_a_revoked_key_is_refused_from_the_next_request_on(keys: ApiKeyService) -> None:
    key = await made(keys)
    assert await keys.caller_of(key.key)
    assert (await keys.revoke(None, key.api_key.id)).state == "revoked"
    assert await keys.caller_of(key.key) is None


async def test_revoking_twice_keeps_the_first_time(keys: ApiKeyService, clock: SetClock) -> None:
    key = await made(keys)
    first = await keys.revoke(None, key.api_key.id)
    clock.move(minutes=5)
    assert await keys.revoke(None, key.api_key.id) == first


async def test_a_key_ends_with_its_time(keys: ApiKeyService, clock: SetClock) -> None:
    key = await made(keys, expires_in_days=1)
    clock.move(hours=23.99)
    assert await keys.caller_of(key.key)
    clock.move(minutes=1)
    assert (await keys.caller_of(key.key), (await keys.list(None)).items[0].state) == (None, "expired")


async def test_after_a_rotation_both_keys_work_for_a_day(keys: ApiKeyService, clock: SetClock) -> None:
    old = await made(keys, scopes=("carts:read",))
    new = await keys.rotate(None, old.api_key.id, LOCAL_OWNER)
    callers = [await keys.caller_of(each.key) for each in (old, new)]
    assert [each and (each.grants, each.scopes) for each in callers] == [
        ((Grant(Role.ANALYST, None),), frozenset({"carts:read"}))
    ] * 2
    clock.move(hours=24)
    assert [bool(await keys.caller_of(each.key)) for each in (old, new)] == [False, True]


async def test_a_successor_lives_as_long_as_the_key_was_made_for(keys: ApiKeyService, clock: SetClock) -> None:
    old = await made(keys, expires_in_days=90)
    clock.move(days=80)
    new = await keys.rotate(None, old.api_key.id, LOCAL_OWNER)
    assert new.api_key.expires_at == clock.now() + timedelta(days=90)


async def test_a_rotation_never_makes_a_key_live_longer(keys: ApiKeyService, clock: SetClock) -> None:
    old = await made(keys, expires_in_days=1)
    clock.move(hours=20)
    await keys.rotate(None, old.api_key.id, LOCAL_OWNER)
    clock.move(hours=4)
    assert await keys.caller_of(old.key) is None


async def test_two_are_alive_and_never_three(keys: ApiKeyService) -> None:
    old = await made(keys)
    await keys.rotate(None, old.api_key.id, LOCAL_OWNER)
    with pytest.raises(Conflict, match="being replaced"):
        await keys.rotate(None, old.api_key.id, LOCAL_OWNER)


async def test_two_keys_are_alive_and_never_three(keys: ApiKeyService) -> None:
    first = await made(keys)
    second = await keys.rotate(None, first.api_key.id, LOCAL_OWNER)
    with pytest.raises(Conflict, match="still works"):
        await keys.rotate(None, second.api_key.id, LOCAL_OWNER)


async def test_a_dead_key_is_not_rotated(keys: ApiKeyService) -> None:
    key = await made(keys)
    await keys.revoke(None, key.api_key.id)
    with pytest.raises(Conflict, match="revoked"):
        await keys.rotate(None, key.api_key.id, LOCAL_OWNER)


@pytest.mark.parametrize("deed", ["rotate", "revoke"])
async def test_another_company_s_key_is_not_found(world: World, keys: ApiKeyService, deed: str) -> None:
    mine, other = await make_company(world, "Acme"), await make_company(world, "Bolt")
    key = await made(keys, other)
    with pytest.raises(NotFound):
        await (
            keys.rotate(mine, key.api_key.id, LOCAL_OWNER) if deed == "rotate" else keys.revoke(mine, key.api_key.id)
        )
    assert await keys.caller_of(key.key)


async def test_a_list_shows_the_company_s_own_keys(world: World, keys: ApiKeyService) -> None:
    mine, other = await make_company(world, "Acme"), await make_company(world, "Bolt")
    key = await made(keys, mine)
    await made(keys, other)
    await made(keys)
    assert [each.id for each in (await keys.list(mine)).items] == [key.api_key.id]


async def test_a_company_that_is_not_there_gets_no_key(keys: ApiKeyService) -> None:
    with pytest.raises(NotFound):
        await made(keys, "nobody")


async def test_an_unknown_scope_is_refused_with_those_there_are(keys: ApiKeyService) -> None:
    with pytest.raises(BadInput) as caught:
        await made(keys, scopes=("carts:read", "carts:eat"))
    assert ("carts:eat" in str(caught.value), "carts:write" in caught.value.remedy) == (True, True)


async def test_use_is_noted_to_the_minute(keys: ApiKeyService, clock: SetClock) -> None:
    key, seen = await made(keys), []
    for seconds in (0, 30, 31):
        clock.move(seconds=seconds)
        await keys.caller_of(key.key)
        seen.append((await keys.list(None)).items[0].last_used_at)
    assert [at and (clock.now() - at).total_seconds() for at in seen] == [61, 61, 0]


async def caller_with(keys: ApiKeyService, **more: Any) -> Caller:
    key = await keys.create(None, ApiKeyDraft(name="o", role=Role.OWNER, **more), LOCAL_OWNER)
    caller = await keys.caller_of(key.key)
    assert caller is not None
    return caller


async def test_a_narrowed_key_makes_none(keys: ApiKeyService) -> None:
    narrowed, wide = await caller_with(keys, scopes=("keys:write",)), await made(keys)
    with pytest.raises(NotAllowed):
        await keys.create(None, NIGHTLY, narrowed)
    with pytest.raises(NotAllowed):
        await keys.rotate(None, wide.api_key.id, narrowed)


async def test_no_key_makes_one_that_lives_longer_than_itself(keys: ApiKeyService, clock: SetClock) -> None:
    short, lasting = await caller_with(keys, expires_in_days=1), await made(keys)
    new = [await keys.create(None, NIGHTLY, short), await keys.rotate(None, lasting.api_key.id, short)]
    assert [each.api_key.expires_at for each in new] == [clock.now() + timedelta(days=1)] * 2
