"""The declarative set-up: the shape of the file, read strictly, every fault with its line.

An integration's keys other than the ones named here are its platform's settings; they are checked by its adapter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from backend.domain.figures import (
    AgentStatus,
    HorizonDays,
    LookbackDays,
    MaxCarts,
    Name,
    PollInterval,
    Slug,
    ThresholdMinutes,
    Url,
    Weight,
)
from backend.domain.lined_yaml import Document, Fault, Path, read_yaml
from backend.errors import BadInput

ENVIRONMENT = "env:"
WORDS = {
    "missing": "is missing",
    "string_type": "must be a text, in quotes where it looks like a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table of keys and values",
    "model_type": "must be a table of keys and values",
    "model_attributes_type": "must be a table of keys and values",
}


class FaultyConfiguration(BadInput):
    """The file cannot be applied; nothing was changed. `faults` in the order of their lines."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults), key=lambda fault: (fault.line, fault.message)))
        super().__init__("\n".join(str(fault) for fault in self.faults), remedy="correct the file; nothing was changed")


class Entry(BaseModel):
    """Base of every part of the file. A key that is not given leaves what is stored alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of `names` that the file gives."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class IntegrationEntry(Entry):
    """A store. What is not named here is a setting of its platform."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    platform: str
    name: Name
    credentials: dict[str, str] = {}
    poll_interval_seconds: PollInterval | None = None
    initial_lookback_days: LookbackDays | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The platform's own keys."""
        return dict(self.__pydantic_extra__ or {})


class DestinationEntry(Entry):
    """A partner's address."""

    name: Name
    url: Url
    secret: str | None = None
    max_carts_per_payload: MaxCarts | None = None
    include_uncontactable: bool | None = None
    include_opted_out: bool | None = None


class AgentEntry(Entry):
    """An agent with its stores and partners."""

    name: Name
    template_slug: Slug | None = None
    status: AgentStatus | None = None
    abandonment_threshold_minutes: ThresholdMinutes | None = None
    recovery_horizon_days: HorizonDays | None = None
    integrations: list[IntegrationEntry] = []
    destinations: list[DestinationEntry] = []


class CompanyEntry(Entry):
    """A company with its agents."""

    name: Name
    weight: Weight | None = None
    agents: list[AgentEntry] = []


class Configuration(Entry):
    """The whole file."""

    companies: list[CompanyEntry]


@dataclass(frozen=True, slots=True)
class ReadConfiguration:
    """A file that has the right shape, with its lines."""

    content: Configuration
    document: Document

    def fault(self, path: Sequence[str | int], message: str) -> Fault:
        """Return a fault at a path of the file."""
        return Fault(self.document.line(path), message)


def read_configuration(text: str, environment: Mapping[str, str]) -> ReadConfiguration:
    """Return what the file says, secrets read from the environment. Raises `FaultyConfiguration` with all faults."""
    document, faults = read_yaml(text)
    if faults:
        raise FaultyConfiguration(faults)
    if not isinstance(document.value, dict):
        raise FaultyConfiguration([Fault(1, "the file must begin with companies:")])
    faults = _resolve_secrets(document, environment)
    try:
        content = Configuration.model_validate(document.value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise FaultyConfiguration([*faults, *(_shape_fault(document, detail) for detail in details)]) from None
    read = ReadConfiguration(content, document)
    faults += _repeated_names(read)
    if faults:
        raise FaultyConfiguration(faults)
    return read


def _resolve_secrets(document: Document, environment: Mapping[str, str]) -> list[Fault]:
    """Replace ``env:NAME`` among credentials and secrets in place; return a fault for each name that is not set."""
    faults: list[Fault] = []
    for path in document.lines:
        is_secret = path[-1:] == ("secret",) and path[-3:-2] == ("destinations",)
        is_credential = path[-2:-1] == ("credentials",) and path[-4:-3] == ("integrations",)
        if not (is_secret or is_credential):
            continue
        holder = document.value
        for step in path[:-1]:
            holder = holder[step]
        value = holder[path[-1]]
        if not isinstance(value, str) or not value.startswith(ENVIRONMENT):
            continue
        name = value.removeprefix(ENVIRONMENT)
        if not environment.get(name):
            faults.append(Fault(document.line(path), f"the environment has no {name or 'name after env:'}"))
        holder[path[-1]] = environment.get(name, "")
    return faults


def _shape_fault(document: Document, detail: ErrorDetails) -> Fault:
    """Put pydantic's finding into words, without quoting what was given: it may be a secret."""
    path: Path = tuple(detail["loc"])
    here = shown(path)
    if detail["type"] == "extra_forbidden":
        return Fault(document.line(path), f"{here} is not a known key{_hint(path)}")
    words = WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    return Fault(document.line(path), f"{here or 'the file'}: {words}")


def _hint(path: Path) -> str:
    """Return which keys there are where an unknown one was found, the likeliest first."""
    parents: dict[object, type[Entry]] = {
        "companies": CompanyEntry,
        "agents": AgentEntry,
        "destinations": DestinationEntry,
    }
    model = next((parents[step] for step in reversed(path[:-1]) if step in parents), Configuration)
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def shown(path: Sequence[str | int]) -> str:
    """Return a path as people read it: `companies[0].agents[1].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _repeated_names(read: ReadConfiguration) -> list[Fault]:
    """Return a fault for each name that stands twice under one parent: objects are matched by it."""
    faults: list[Fault] = []
    for where, entries in _lists(read.content):
        seen: set[str] = set()
        for position, entry in enumerate(entries):
            if entry.name in seen:
                faults.append(read.fault((*where, position, "name"), f"the name {entry.name!r} is there already"))
            seen.add(entry.name)
    return faults


Named = CompanyEntry | AgentEntry | IntegrationEntry | DestinationEntry


def _lists(content: Configuration) -> Iterable[tuple[Path, Sequence[Named]]]:
    yield ("companies",), content.companies
    for c, company in enumerate(content.companies):
        at: Path = ("companies", c, "agents")
        yield at, company.agents
        for a, agent in enumerate(company.agents):
            yield (*at, a, "integrations"), agent.integrations
            yield (*at, a, "destinations"), agent.destinations
