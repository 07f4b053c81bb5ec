"""Whether a store can be polled, what to do if not, and how many carts a first poll would hand off. Saves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.domain.lifecycle import AgentRules
from backend.domain.work import Target
from backend.errors import BadInput, FixCredentials, OurFault, ServiceError
from backend.platforms.base import ConnectionCheck, Finding, Platform
from backend.services.connections import is_polled_here
from backend.services.first_poll import FirstPoll, FirstPollMeter, Judge
from backend.store.companies import AgentRow

log = structlog.get_logger()

TRY_AGAIN = "Try again in a few minutes; if it stays so, look into the store."
OUR_SIDE = "Nothing is wrong with what you gave; tell the operator of this installation, whose log says more."
CREDENTIALS = "Check the credentials and the rights they carry in the store."


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What a connection test found. `first_poll` is empty when the store could not be read; `pages` were read."""

    platform: str
    store_id: str | None
    findings: tuple[Finding, ...]
    first_poll: tuple[FirstPoll, ...]
    pages: int
    checked_at: datetime

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test is made of: the store, the agent it is or would be of, that agent's destinations, the look-back."""

    platform: str
    adapter: Platform
    agent: AgentRow
    targets: Sequence[Target]
    lookback_days: int


class ConnectionTester:
    """Tests connections. A store's or our own fault becomes a finding, never an error."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def test(self, trial: Trial, found_before: Sequence[Finding] = ()) -> ConnectionReport:
        """Check the connection; where it holds, count what a first poll would hand off."""
        check = await _checked(trial.adapter)
        findings = [*found_before, *self._set_up(trial), *map(_with_remedy, check.findings)]
        meter = FirstPollMeter(trial.adapter, _judge(trial, self._clock.now()), trial.lookback_days)
        first_poll: tuple[FirstPoll, ...] = ()
        if check.ok:
            try:
                first_poll = await meter.measure()
            except Exception as error:  # noqa: BLE001  the report tells of any fault, ours included
                findings.append(_finding("first_poll", error))
        return ConnectionReport(
            platform=trial.platform,
            store_id=check.store_id or trial.adapter.store_id,
            findings=tuple(findings),
            first_poll=first_poll,
            pages=meter.pages,
            checked_at=self._clock.now(),
        )

    def refused(self, platform: str, fault: BadInput) -> ConnectionReport:
        """Return the report of a store that this installation does not even call."""
        finding = Finding(fault.field or "settings", ok=False, detail=str(fault), remedy=fault.remedy)
        return ConnectionReport(platform, None, (finding,), (), 0, self._clock.now())

    def _set_up(self, trial: Trial) -> list[Finding]:
        """Return what on our own side would keep the store's carts from being handed off."""
        findings = []
        if not is_polled_here(trial.platform, self._settings):
            detail = f"this installation does not poll {trial.platform}"
            findings.append(Finding("platform", ok=False, detail=detail, remedy="Add it to the setting PLATFORMS."))
        wanted = self._settings.target_template_slug
        if trial.agent.status != "active":
            detail = f"the agent {trial.agent.name} is {trial.agent.status}, so its stores are not polled"
            findings.append(Finding("agent", ok=False, detail=detail, remedy="Make the agent active."))
        elif trial.agent.template_slug != wanted:
            detail = f"the agent is made from {trial.agent.template_slug}; only {wanted} is polled"
            findings.append(Finding("agent", ok=False, detail=detail, remedy=f"Use an agent made from {wanted}."))
        if not trial.targets:
            detail = "the agent has no active destination: its carts are kept and handed to nobody"
            findings.append(Finding("destinations", ok=True, detail=detail))
        return findings


async def _checked(adapter: Platform) -> ConnectionCheck:
    try:
        return await adapter.check()
    except Exception as error:  # noqa: BLE001  the report tells of any fault, ours included
        return ConnectionCheck((_finding("connection", error),))


def _with_remedy(finding: Finding) -> Finding:
    """Say what to do where the adapter does not: a store's passing trouble needs no more than another try."""
    return finding if finding.ok or finding.remedy else replace(finding, remedy=TRY_AGAIN)


def _finding(name: str, error: Exception) -> Finding:
    """Put a fault into plain words with a remedy."""
    if isinstance(error, FixCredentials):
        return Finding(name, ok=False, detail=str(error), remedy=error.remedy or CREDENTIALS)
    if isinstance(error, OurFault):
        return Finding(name, ok=False, detail=str(error), remedy=OUR_SIDE)
    if isinstance(error, ServiceError):
        return Finding(name, ok=False, detail=str(error), remedy=getattr(error, "remedy", "") or TRY_AGAIN)
    log.error("connection_test.failed", check=name, exc_info=error)
    return Finding(name, ok=False, detail="the test itself failed", remedy=OUR_SIDE)


def _judge(trial: Trial, now: datetime) -> Judge:
    rules = AgentRules(
        threshold=timedelta(minutes=trial.agent.abandonment_threshold_minutes),
        horizon=timedelta(days=trial.agent.recovery_horizon_days),
        attribution=timedelta(days=trial.agent.attribution_window_days),
    )
    return Judge(rules, trial.targets, now)
