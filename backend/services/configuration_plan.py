"""The difference between a configuration and what is stored, as steps to take. Decides; changes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.domain.configuration import (
    AgentEntry,
    CompanyEntry,
    DestinationEntry,
    FaultyConfiguration,
    IntegrationEntry,
    ReadConfiguration,
    shown,
)
from backend.domain.ids import new_id
from backend.domain.lined_yaml import Fault, Path
from backend.errors import BadInput
from backend.outbound import redacted_url
from backend.services.agent_integrations import AgentChanges, AgentDraft
from backend.services.companies import CompanyChanges, CompanyDraft
from backend.services.configuration_state import (
    Stored,
    StoredAgent,
    StoredCompany,
    StoredDestination,
    StoredIntegration,
)
from backend.services.connections import OpenStore, StoreCard, adapter_of
from backend.services.destinations import DestinationChanges, DestinationDraft, DestinationService, checked_secret
from backend.services.integrations import (
    IntegrationChanges,
    IntegrationDraft,
    IntegrationService,
    another_store,
    laid_over,
    second_store,
)

Noun = Literal["company", "agent", "integration", "destination"]
What = (
    CompanyDraft
    | CompanyChanges
    | AgentDraft
    | AgentChanges
    | IntegrationDraft
    | IntegrationChanges
    | DestinationDraft
    | DestinationChanges
)
INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `sign`: ``+`` make, ``~`` change, ``-`` deactivate. `details` never hold a secret.

    `what` is the draft or the changes, if there are any; `credentials` and `secret` are new ones to save.
    """

    sign: Literal["+", "~", "-"]
    noun: Noun
    path: str
    row_id: str
    details: tuple[str, ...] = ()
    what: What | None = None
    credentials: Mapping[str, str] | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return it as one line for people."""
        told = f": {'; '.join(self.details)}" if self.details else ""
        return f"{self.sign} {self.noun} {self.path}{told}"


@dataclass(frozen=True, slots=True)
class CompanyPlan:
    """The steps of one company, taken in one transaction."""

    company_id: str
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, what the file leaves out and so stays as it is, and what to be warned of."""

    companies: tuple[CompanyPlan, ...]
    left_alone: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return not self.companies

    def lines(self) -> list[str]:
        """Return the plan for people to read."""
        steps = [str(step) for company in self.companies for step in company.steps]
        stays = [f"= {each}: not in the file, left alone" for each in self.left_alone]
        return [*[f"! {warning}" for warning in self.warnings], *(steps or ["nothing to change"]), *stays]


@dataclass(frozen=True, slots=True)
class PlanRules:
    """`prune`: deactivate what the file leaves out. `may_generate`: a missing secret may be made and shown."""

    polling_interval: int
    prune: bool
    may_generate: bool


class Planner:
    """Compares one file with one state. Collects every fault before it gives up.

    The services are asked for what they know without a database: whether a store's description, a URL, a secret holds.
    """

    def __init__(
        self,
        read: ReadConfiguration,
        stored: Stored,
        rules: PlanRules,
        integrations: IntegrationService,
        destinations: DestinationService,
    ) -> None:
        self._integrations = integrations
        self._destinations = destinations
        self._read = read
        self._stored = stored
        self._rules = rules
        self._faults: list[Fault] = []
        self._left_alone: list[str] = []
        self._warnings: list[str] = []

    def plan(self) -> Plan:
        """Return the plan. Raises `FaultyConfiguration`."""
        plans = [
            self._company(entry, ("companies", position), self._stored.companies.get(entry.name))
            for position, entry in enumerate(self._read.content.companies)
        ]
        for row in self._stored.others:
            if row.status != INACTIVE:
                what = CompanyChanges(status="inactive")
                plans.append(CompanyPlan(row.id, row.name, tuple(self._left_out("company", row.name, row.id, what))))
        if self._faults:
            raise FaultyConfiguration(self._faults)
        return Plan(tuple(plan for plan in plans if plan.steps), tuple(self._left_alone), tuple(self._warnings))

    def _company(self, entry: CompanyEntry, at: Path, stored: StoredCompany | None) -> CompanyPlan:
        company_id = new_id() if stored is None else stored.row.id
        steps: list[Step] = []
        given = {name: value for name, value in entry.given("weight").items() if value is not None}
        if stored is None:
            steps.append(Step("+", "company", entry.name, company_id, what=CompanyDraft(name=entry.name, **given)))
        else:
            details, new = _difference({"status": "active", **given}, stored.row)
            if new:
                steps.append(Step("~", "company", entry.name, company_id, details, CompanyChanges(**new)))
        stores = _Stores(company_id, stored)
        known = {} if stored is None else stored.agents
        for position, agent in enumerate(entry.agents):
            steps += self._agent(agent, (*at, "agents", position), known.get(agent.name), (entry.name, stores))
        for name, left in known.items():
            if name not in {agent.name for agent in entry.agents} and left.row.status != INACTIVE:
                steps += self._left_out("agent", f"{entry.name} / {name}", left.row.id, AgentChanges(status="inactive"))
        return CompanyPlan(company_id, entry.name, tuple(steps))

    def _agent(
        self, entry: AgentEntry, at: Path, stored: StoredAgent | None, around: tuple[str, _Stores]
    ) -> Iterator[Step]:
        """Yield the steps of an agent and what belongs to it. `around` is its company's name and stores."""
        path = f"{around[0]} / {entry.name}"
        agent_id = new_id() if stored is None else stored.row.id
        figures = ("template_slug", "status", "abandonment_threshold_minutes", "recovery_horizon_days")
        given = {name: value for name, value in entry.given(*figures).items() if value is not None}
        if stored is None:
            yield Step("+", "agent", path, agent_id, what=AgentDraft(name=entry.name, **given))
        else:
            details, new = _difference(given, stored.row)
            if new:
                yield Step("~", "agent", path, agent_id, details, AgentChanges(**new))
            if stored.row.status == INACTIVE and "status" not in given:
                self._left_alone.append(f"status of agent {path} (inactive)")
        yield from self._integration_steps(entry, at, stored, (path, agent_id, around[1]))
        yield from self._destination_steps(entry, at, stored, (path, agent_id))

    def _integration_steps(
        self, entry: AgentEntry, at: Path, stored: StoredAgent | None, around: tuple[str, str, _Stores]
    ) -> Iterator[Step]:
        path, agent_id, stores = around
        known = {} if stored is None else stored.integrations
        for position, each in enumerate(entry.integrations):
            where = (*at, "integrations", position)
            try:
                yield from self._integration(each, known.get(each.name), (f"{path} / {each.name}", agent_id, stores))
            except BadInput as fault:
                self._faults.append(self._read.fault(_path_of(where, fault.field), _told(where, fault)))
            self._warn_of_interval(each, f"{path} / {each.name}")
        for name, left in known.items():
            if name not in {each.name for each in entry.integrations} and left.row.status != INACTIVE:
                what = IntegrationChanges(status="inactive")
                yield from self._left_out("integration", f"{path} / {name}", left.row.id, what)

    def _integration(
        self, entry: IntegrationEntry, stored: StoredIntegration | None, around: tuple[str, str, _Stores]
    ) -> Iterator[Step]:
        """Yield the steps of one integration. Raises `BadInput`."""
        path, agent_id, stores = around
        integration_id = new_id() if stored is None else stored.row.id
        _refuse_unknown(entry)
        opened = self._opened(entry, stored, (stores.company_id, integration_id))
        stores.take(entry.platform, opened.store_id, entry.name, integration_id)
        figures = entry.given("poll_interval_seconds", "initial_lookback_days")
        if figures.get("initial_lookback_days", 0) is None:
            del figures["initial_lookback_days"]
        if stored is None:
            draft = IntegrationDraft(
                agent_id=agent_id,
                name=entry.name,
                platform=entry.platform,
                settings=opened.settings,
                credentials=opened.credentials,
                **figures,
            )
            yield Step("+", "integration", path, integration_id, (opened.store_id,), draft)
            return
        if opened.store_id != stored.row.store_id and stored.holds_carts:
            raise another_store(stored.row)
        details, new = _difference(figures, stored.row)
        settings, changed = _setting_difference(stored.row.settings, opened.settings)
        details += settings
        if changed:
            new["settings"] = changed
        if stored.row.status == INACTIVE:
            details, new = (*details, "status inactive -> active"), new | {"status": "active"}
        credentials = opened.credentials if opened.credentials != stored.credentials else None
        if credentials is not None:
            names = sorted(
                name for name in {*credentials, *stored.credentials}
                if credentials.get(name) != stored.credentials.get(name)
            )  # fmt: skip
            details = (*details, f"credentials changed ({', '.join(names)})")
        if details:
            what = IntegrationChanges(**new) if new else None
            yield Step("~", "integration", path, integration_id, details, what, credentials)

    def _opened(self, entry: IntegrationEntry, stored: StoredIntegration | None, ids: tuple[str, str]) -> OpenStore:
        """Return the store as it would be after the change. Raises `BadInput`."""
        if stored is not None and stored.row.platform != entry.platform:
            raise BadInput(
                f"{entry.name} is a {stored.row.platform} store, and stays one",
                field="platform",
                remedy="give the other store another name",
            )
        settings = entry.settings if stored is None else laid_over(stored.row.settings, entry.settings)
        keeps = stored is not None and "credentials" not in entry.model_fields_set
        credentials = stored.credentials if stored is not None and keeps else entry.credentials
        return self._integrations.open_store(StoreCard(ids, entry.platform, settings, credentials))

    def _warn_of_interval(self, entry: IntegrationEntry, path: str) -> None:
        period = entry.poll_interval_seconds
        if period is not None and period < self._rules.polling_interval:
            self._warnings.append(
                f"integration {path}: poll_interval_seconds {period} is below the polling interval of "
                f"{self._rules.polling_interval} s, and acts as that"
            )

    def _destination_steps(
        self, entry: AgentEntry, at: Path, stored: StoredAgent | None, around: tuple[str, str]
    ) -> Iterator[Step]:
        path, agent_id = around
        known = {} if stored is None else stored.destinations
        for position, each in enumerate(entry.destinations):
            where = (*at, "destinations", position)
            try:
                yield from self._destination(each, known.get(each.name), (f"{path} / {each.name}", agent_id))
            except BadInput as fault:
                self._faults.append(self._read.fault(_path_of(where, fault.field), _told(where, fault)))
        for name, left in known.items():
            if name not in {each.name for each in entry.destinations} and left.row.status != INACTIVE:
                what = DestinationChanges(status="inactive")
                yield from self._left_out("destination", f"{path} / {name}", left.row.id, what)

    def _destination(
        self, entry: DestinationEntry, stored: StoredDestination | None, around: tuple[str, str]
    ) -> Iterator[Step]:
        """Yield the steps of one destination. Raises `BadInput`."""
        path, agent_id = around
        self._destinations.check_url(entry.url)
        secret = None if entry.secret is None else checked_secret(entry.secret)
        names = ("url", "max_carts_per_payload", "include_uncontactable", "include_opted_out")
        given = {name: value for name, value in entry.given(*names).items() if value is not None}
        if stored is None:
            if secret is None and not self._rules.may_generate:
                raise BadInput(
                    "there is no secret, and no terminal to show a new one on",
                    field="secret",
                    remedy="give secret: env:NAME, or apply the file on a terminal once",
                )
            draft = DestinationDraft(agent_id=agent_id, name=entry.name, secret=secret, **given)
            details = (_word(entry.url), *(() if secret else ("a secret is made and shown once",)))
            yield Step("+", "destination", path, new_id(), details, draft)
            return
        details, new = _difference(given, stored.row)
        if stored.row.status == INACTIVE:
            details, new = (*details, "status inactive -> active"), new | {"status": "active"}
        is_new = secret is not None and secret != stored.secrets[0]
        if is_new:
            details = (*details, "secret changed")
        if details:
            what = DestinationChanges(**new) if new else None
            yield Step("~", "destination", path, stored.row.id, details, what, secret=secret if is_new else None)

    def _left_out(self, noun: Noun, path: str, row_id: str, what: What) -> Iterator[Step]:
        """Yield the deactivation of what the file leaves out, or note that it stays."""
        if self._rules.prune:
            yield Step("-", noun, path, row_id, ("not in the file, deactivated",), what)
        else:
            self._left_alone.append(f"{noun} {path}")


class _Stores:
    """Which stores a company has, to notice one that is connected twice."""

    def __init__(self, company_id: str, stored: StoredCompany | None) -> None:
        self.company_id = company_id
        self._in_file: dict[tuple[str, str], tuple[str, str]] = {}
        self._stored = [
            each.row for agent in (stored.agents.values() if stored else ()) for each in agent.integrations.values()
        ]

    def take(self, platform: str, store_id: str, name: str, integration_id: str) -> None:
        """Note a store of the file. Raises `BadInput` when it is there already."""
        first = self._in_file.setdefault((platform, store_id), (integration_id, name))
        if first[0] != integration_id:
            raise BadInput(f"the store {store_id} is already {first[1]}", remedy="name each store once per company")
        for row in self._stored:
            if (row.platform, row.store_id) == (platform, store_id) and row.id != integration_id:
                problem = second_store(row)
                raise BadInput(str(problem), remedy=problem.remedy)


def _refuse_unknown(entry: IntegrationEntry) -> None:
    """Raise `BadInput` for a key that neither every integration nor this platform has."""
    theirs = adapter_of(entry.platform).Settings.model_fields
    known = [*IntegrationEntry.model_fields, *theirs]
    for name in entry.settings:
        if name not in theirs:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            raise BadInput(f"{name} is not a known key", field=f"settings.{name}", remedy=remedy)


def _path_of(where: Path, field_name: str) -> Path:
    """Return where in the file a field lies: a platform's settings stand beside the other keys."""
    steps = [step for step in field_name.removeprefix("settings").split(".") if step]
    return (*where, *(int(step) if step.isdigit() else step for step in steps))


def _told(where: Path, fault: BadInput) -> str:
    return f"{shown(where)}: {str(fault).replace('settings.', '')}" + (f"; {fault.remedy}" if fault.remedy else "")


def _difference(given: Mapping[str, Any], row: object) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return what of `given` differs from a stored row: in words, and as values."""
    new = {name: value for name, value in given.items() if value != getattr(row, name)}
    return tuple(f"{name} {_word(getattr(row, name))} -> {_word(value)}" for name, value in new.items()), new


def _setting_difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return what differs between two settings: in words, and as values to lay over the stored ones."""
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    told = tuple(f"{name} {_word(stored.get(name))} -> {_word(wanted.get(name))}" for name in names)
    return told, {name: wanted.get(name) for name in names}


def _word(value: object) -> str:
    """Return a value for people; a URL without what may be a secret in it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return redacted_url(text) if text.lower().startswith(("https://", "http://")) else text
