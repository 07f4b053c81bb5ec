"""What each route asks of its caller: a role, in the company of its path or else in the whole installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, params
from fastapi.routing import APIRoute

from backend.domain.access import Caller, Role
from backend.errors import NotAllowed, NotFound
from backend.routers.strictness import STRICT
from backend.routers.visits import Visit, check_forgery

READS = frozenset({"GET", "HEAD"})


def get_caller(request: Request) -> Caller:
    """Return who asks, as the sign-in found out."""
    caller: Caller = request.scope["caller"]
    return caller


def get_visit(request: Request) -> Visit:
    """Return who asks together with their session, where they have one."""
    who: Visit = request.scope["visit"]
    return who


@dataclass(frozen=True, slots=True)
class Need:
    """The role that a route asks for. Another company's id is answered as one that does not exist.

    `role` None: it is about the account of whoever is signed in. `anywhere`: in any company will do, as the route
    tells each caller only what is theirs.
    """

    role: Role | None
    anywhere: bool = False

    async def __call__(self, request: Request) -> None:
        """Let the caller pass. Raises `NotFound`, `NotAllowed`."""
        await check_forgery(request)
        caller, company = get_caller(request), request.path_params.get("company_id")
        if company is not None and not caller.knows(company):
            raise NotFound(f"there is no company {company}")
        if not self._is_met(caller, company):
            where = "all companies" if company is None else "this company"
            raise NotAllowed(f"this needs the role {self.role} in {where}")
        if self.role is None and caller.kind != "person":
            raise NotAllowed("only a person has an account; sign in with e-mail and password")
        scope = scope_of(request)
        if not caller.is_in_scope(scope):
            raise NotAllowed(f"the key is not meant for {scope}")

    def _is_met(self, caller: Caller, company: str | None) -> bool:
        if self.role is None or caller.may(self.role, company):
            return True
        return self.anywhere and caller.may_anywhere(self.role)


def scope_of(request: Request) -> str:
    """Return the scope that a key needs for this route: the route's group in the reference, and read or write."""
    tags = getattr(request.scope["route"], "tags", None) or ["console"]
    return f"{tags[0]}:{'read' if request.method in READS else 'write'}"


def needs(role: Role | None, *, anywhere: bool = False) -> list[params.Depends]:
    """Return the dependencies of a page's route."""
    return [Depends(Need(role, anywhere))]


def guard(role: Role | None, *, anywhere: bool = False) -> list[params.Depends]:
    """Return the dependencies of an API route: who may, then what it would otherwise ignore."""
    return [*needs(role, anywhere=anywhere), *STRICT]


def routes_of(router: APIRouter) -> Iterator[APIRoute]:
    """Yield a router's routes, those of routers within it too."""
    for each in router.routes:
        inner: Any = each
        if isinstance(each, APIRoute):
            yield each
        else:
            yield from routes_of(inner.original_router)


def need_of(route: APIRoute) -> Need | None:
    """Return what a route asks of its caller; None: it is open to everybody."""
    found = [each.call for each in route.dependant.dependencies if isinstance(each.call, Need)]
    return found[0] if found else None


VIEWER, ANALYST, OPERATOR, OWNER = Role
Me = Annotated[Caller, Depends(get_caller)]
MyVisit = Annotated[Visit, Depends(get_visit)]
