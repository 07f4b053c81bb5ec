"""Who a caller is and what they may do: roles, grants of one company or of all, scopes of keys. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do, each with all that those before it may."""

    VIEWER = "viewer"  # looks at states and figures
    ANALYST = "analyst"  # and at carts, deliveries and whom they concern
    OPERATOR = "operator"  # and connects, pauses, starts and stops
    OWNER = "owner"  # and decides who else may, and removes what cannot be brought back

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        return ORDER.index(self) >= ORDER.index(needed)


ORDER = tuple(Role)
# What keys may be narrowed to: the API's groups, to read or to change.
GROUPS = (
    "account",
    "agents",
    "audit",
    "carts",
    "companies",
    "cycles",
    "deliveries",
    "destinations",
    "health",
    "integrations",
    "keys",
    "metrics",
    "people",
    "polling",
    "quarantine",
)
SCOPES = frozenset(f"{group}:{deed}" for group in GROUPS for deed in ("read", "write"))


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in one company, or in all of them and in the installation itself (`company_id` None)."""

    role: Role
    company_id: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request. `kind`: local (development), command, key or person.

    `scopes` None: all that the role allows. `until`: when a key ends, None for one that does not.
    """

    kind: str
    id: str
    name: str
    grants: tuple[Grant, ...]
    scopes: frozenset[str] | None = None
    until: datetime | None = None

    @property
    def as_actor(self) -> str:
        """How records name this caller."""
        return f"{self.kind}:{self.id}"

    def may(self, needed: Role, company_id: str | None) -> bool:
        """Whether some grant covers the role in this company; None: in the installation, so in all companies."""
        return any(grant.role.covers(needed) for grant in self.grants if grant.company_id in {None, company_id})

    def may_anywhere(self, needed: Role) -> bool:
        """Whether some grant covers the role, in whichever company."""
        return any(grant.role.covers(needed) for grant in self.grants)

    def knows(self, company_id: str) -> bool:
        """Whether this caller may know that the company exists."""
        return any(grant.company_id in {None, company_id} for grant in self.grants)

    @property
    def companies(self) -> frozenset[str] | None:
        """The companies that this caller may see; None: all of them."""
        if any(grant.company_id is None for grant in self.grants):
            return None
        return frozenset(grant.company_id for grant in self.grants if grant.company_id is not None)

    def is_in_scope(self, scope: str) -> bool:
        """Whether the key is meant for this; people are not narrowed."""
        return self.scopes is None or scope in self.scopes


LOCAL_OWNER = Caller("local", "local", "the user of this machine", (Grant(Role.OWNER, None),))
