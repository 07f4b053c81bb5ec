"""Start, stop and look at polling, and run one cycle by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from backend.routers.alerts import Alert
from backend.routers.deps import Using
from backend.routers.guard import OPERATOR, VIEWER, Me, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Held

router = APIRouter(prefix="/polling", tags=["polling"])

Interval = Annotated[
    int | None,
    Query(ge=5, le=86_400, description="Seconds between two beats. Left out: as it was.", examples=[30]),
]


class Wanted(Answer):
    """The wanted state after a start or a stop."""

    running: bool = Field(examples=[True])
    interval_seconds: int = Field(examples=[30])
    changed: bool = Field(description="Whether this call changed anything.", examples=[True])


class Timings(Answer):
    """Milliseconds per stage, summed over stores; `total` is the cycle from start to end, null while it runs."""

    total: int | None = Field(examples=[640])
    poll: int = Field(examples=[410])
    fetch: int = Field(examples=[300])
    save: int = Field(examples=[80])
    deliver: int = Field(examples=[120])


class CycleSums(Answer):
    """What one cycle came to, over all companies."""

    cycle_id: str = Field(examples=["beat_30_848966400"])
    kind: str = Field(description="beat, test_once or once.", examples=["beat"])
    started_at: str = Field(examples=["2026-01-05T10:30:00.000Z"])
    finished_at: str | None = Field(examples=["2026-01-05T10:30:00.640Z"])
    agents_found: int = Field(examples=[3])
    pages: int = Field(examples=[3])
    carts_seen: int = Field(examples=[9])
    carts_new: int = Field(examples=[3])
    carts_changed: int = Field(examples=[1])
    carts_abandoned: int = Field(examples=[3])
    carts_excluded: int = Field(examples=[0])
    records_quarantined: int = Field(examples=[0])
    deliveries_made: int = Field(examples=[1])
    deliveries_succeeded: int = Field(examples=[1])
    deliveries_failed: int = Field(examples=[0])
    polls_succeeded: int = Field(examples=[3])
    polls_failed: int = Field(examples=[0])
    integrations_polled: int = Field(examples=[3])
    platforms_processed: list[str] = Field(
        description="Of a mock store: the platform that it plays.", examples=[["shopify"]]
    )
    delivery_success_rate: float | None = Field(description="Null when nothing was attempted.", examples=[1.0])
    total_recovery_value: dict[str, float] = Field(
        description="Recovery value: of the carts whose hand-off the gate allowed, whatever the partner answered. Per "
        "currency; never summed across.",
        examples=[{"USD": 459.97}],
    )
    timings_ms: Timings
    ok: bool = Field(description="No poll and no delivery failed.", examples=[True])


class StorePoll(Answer):
    """One store's poll in a one-off run."""

    integration_id: str
    company: str
    agent: str
    name: str
    platform: str = Field(description="Of a mock store: the platform that it plays; `is_mock` tells.")
    is_mock: bool
    outcome: str = Field(description="ok, later, ours, fix_credentials, lease_lost or bug.", examples=["ok"])
    carts_seen: int
    carts_new: int
    carts_changed: int
    error_code: str | None
    error: str | None
    remedy: str | None
    elapsed_ms: int


class WaitingStore(Answer):
    """A store that was not polled, and until when."""

    integration_id: str
    name: str
    until: str | None
    why: str | None


class HeldStore(Answer):
    """A store that another worker is polling right now."""

    integration_id: str
    name: str


class CycleReport(CycleSums):
    """The whole report of a cycle. The lists are filled for one-off runs only."""

    integrations: list[StorePoll]
    waiting: list[WaitingStore]
    held_elsewhere: list[HeldStore]
    deliveries_held: Held | None = Field(description="Why a one-off run sent nothing; null for a beat.")


class WorkerState(Answer):
    """A process that lives, or lived a moment ago."""

    id: str
    host: str
    pid: int
    role: str
    runs_loops: bool
    lanes: list[str] = Field(description="The lanes it works on; empty where it did not say.")
    bell: str | None = Field(description="Who rings it: ticks or celery.")
    started_at: str
    seen_at: str
    alive: bool


class Fleet(Answer):
    """What the processes share, and who rings their lanes."""

    bells: list[str] = Field(examples=[["ticks"]])
    workers_per_lane: dict[str, int]
    budgets: str = Field(description="Where the stores' rate budgets are kept.")
    in_words: str


class StoreState(Answer):
    """How current what we know of a store is."""

    company_id: str
    company: str
    agent: str
    integration_id: str
    name: str
    platform: str = Field(description="As it was connected: a mock store says mock, whatever platform it plays.")
    is_mock: bool
    status: str
    state_in_words: str = Field(examples=["Up to date: read up to 62 s ago."])
    watermark: str | None = Field(description="Everything the store changed before this was read.")
    watermark_age_seconds: int | None
    objective_seconds: int = Field(description="How old the watermark may be.")
    is_behind: bool = Field(description="Whether the watermark is older than that.")
    is_stuck: bool = Field(description="It should advance and does not, for longer than its objective; see alerts.")
    next_poll_at: str | None
    last_success_at: str | None
    last_error: str | None
    remedy: str | None
    polls: int
    empty_polls: int


class DeliveryTotals(Answer):
    """How many deliveries are in each state, and how long the oldest due one has waited."""

    pending: int
    delivered: int
    dead: int
    superseded: int
    oldest_due_seconds: int


class LaneState(Answer):
    """What waits in a lane: polls of stores, carts to sweep, or deliveries."""

    lane: str = Field(examples=["polls"])
    due: int = Field(description="Due now and not in hand.")
    oldest_due_seconds: int
    leases: int = Field(description="Stores, carts or destinations that workers hold.")
    is_behind: bool = Field(description="The oldest has waited for more than five minutes (polls: and one beat).")


class PollingState(Answer):
    """Everything about polling at this moment."""

    running: bool
    summary: str = Field(examples=["Polling is wanted for 3 stores. None of them is stuck."])
    interval_seconds: int
    last_beat_at: str | None
    next_beat_at: str | None
    last_cycle: CycleReport | None
    totals: dict[str, int] = Field(description="Sums over the cycles that are kept (30 days).")
    workers: list[WorkerState] = Field(description="Empty for callers who may not see all companies.")
    loops_here: bool = Field(description="Whether this process runs the background loops.")
    loops_note: str
    fleet: Fleet | None = Field(description="Null for callers who may not see all companies.")
    lanes: list[LaneState]
    alerts: list[Alert] = Field(description="The newest open ones, 50 at most; GET /api/v1/alerts has all.")
    alerts_open: int
    integrations: list[StoreState]
    deliveries: DeliveryTotals
    deliveries_held: Held | None = Field(description="Why nothing is sent at present; null while deliveries go.")


@router.post(
    "/start-abandoned-cart",
    summary="Start polling (same as /start)",
    response_model=Wanted,
    responses=problems(422),
    dependencies=guard(OPERATOR),
)
@router.post(
    "/start", summary="Start polling", response_model=Wanted, responses=problems(422), dependencies=guard(OPERATOR)
)
async def start(services: Using, interval: Interval = None) -> dict[str, Any]:
    """Want polling to run, and change the interval if one is given. Starting twice does no harm.

    The wanted state is kept in the database, so that every worker follows it and a restart keeps it.
    """
    return await services.poller.start(interval)


@router.post("/stop", summary="Stop polling", response_model=Wanted, responses=problems(), dependencies=guard(OPERATOR))
async def stop(services: Using) -> dict[str, Any]:
    """Want polling to stop. A cycle in flight ends by itself; stopping twice does no harm."""
    return await services.poller.stop()


@router.get(
    "/status",
    summary="Look at polling",
    response_model=PollingState,
    responses=problems(),
    dependencies=guard(VIEWER, anywhere=True),
)
async def status(services: Using, me: Me) -> dict[str, Any]:
    """Say what runs, what the last cycle came to, and how current each store's data is against its objective.

    Every figure is of the companies that the caller may see; workers are shown to those who may see all.
    """
    return await services.poller.status(me.companies)


@router.post(
    "/abandoned-cart/test-once",
    summary="Run one cycle now",
    response_model=CycleReport,
    responses=problems(),
    dependencies=guard(OPERATOR),
)
async def test_once(services: Using) -> dict[str, Any]:
    """Poll every store that may be polled, mark abandonments, attempt each due delivery once, and report.

    The background loop and its state stay as they were.
    """
    return await services.poller.run_once("test_once")
