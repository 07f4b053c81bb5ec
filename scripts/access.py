"""API keys, people and roles from the command line, on the machine of the database: how the first ones are made.

Exit codes: 0 done; 1 there is no such key or company, or it cannot be done; 2 a setting or the database is at fault.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.needs import need_packages

need_packages()

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from backend.config import load_settings
from backend.db import prepare_database
from backend.domain.access import Caller, Grant, Role
from backend.domain.acting import COMMAND, acting_as
from backend.errors import ServiceError, SetupProblem, Unavailable
from backend.logs import set_up_logs
from backend.services.api_keys import ApiKeyDraft, MadeKey
from backend.services.invitations import InvitationDraft, MadeLink
from backend.services.wiring import Services, build_services

# Whoever can run this can read the database as well.
OPERATING = Caller("command", COMMAND, "a command on the machine of the database", (Grant(Role.OWNER, None),))
WIDE = 180  # characters of the list of keys
Company = Annotated[str | None, typer.Option(help="The id of the company it is for; left out: all companies.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `keys` shows it.")]
app = typer.Typer(
    help="API keys, people and roles. The first key and the first owner are made here; later ones over the API too.",
    no_args_is_help=True,
)


@asynccontextmanager
async def opened() -> AsyncIterator[Services]:
    """Open the services on the database of the settings."""
    settings = load_settings()
    set_up_logs(settings.model_copy(update={"log_level": "error"}))
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        yield services
    finally:
        await services.aclose()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; a fault is one line on standard error."""
    try:
        with acting_as(OPERATING.as_actor):
            asyncio.run(work)
    except (SetupProblem, Unavailable) as problem:
        _fail(str(problem), 2)
    except ServiceError as error:
        _fail(". ".join(filter(None, (str(error), getattr(error, "remedy", "")))), 1)


def _fail(words: str, code: int) -> None:
    print(f"error: {words}", file=sys.stderr)
    raise typer.Exit(code)


def _tell(made: MadeKey) -> None:
    """Print a key on standard output, alone, so that a script can take it; what it is for on standard error."""
    where = "all companies" if made.api_key.company_id is None else f"company {made.api_key.company_id}"
    print(f"key {made.api_key.id}: {made.api_key.role} in {where}; it is shown this once", file=sys.stderr)
    print(made.key)


@app.command("create-key")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    company: Company = None,
    scope: Annotated[list[str] | None, typer.Option(help="Narrow it, for example carts:read. Repeatable.")] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires; left out: never.")] = None,
) -> None:
    """Make an API key and print it."""
    try:
        draft = ApiKeyDraft(name=name, role=role, scopes=None if not scope else tuple(scope), expires_in_days=days)
    except ValidationError as error:
        fault = error.errors()[0]
        _fail(f"{fault['loc'][0]}: {fault['msg']}", 1)
        return

    async def work() -> None:
        async with opened() as services:
            _tell(await services.keys.create(company, draft, OPERATING))

    run(work())


@app.command("keys")
def list_keys(company: Company = None) -> None:
    """List the keys of a company, or those for all companies."""

    async def work() -> None:
        async with opened() as services:
            after: str | None = None
            table = Table("id", "key", "name", "role", "scopes", "state", "expires", "last used")
            while True:
                page = await services.keys.list(company, after=after)
                for key in page.items:
                    times = [f"{at:%Y-%m-%d %H:%M}" if at else "never" for at in (key.expires_at, key.last_used_at)]
                    scopes = "all" if key.scopes is None else " ".join(key.scopes)
                    table.add_row(key.id, key.shown, key.name, key.role.value, scopes, key.state, *times)
                after = page.next
                if after is None:
                    break
            # Whole ids matter more than lines that fit: they are what the other commands take.
            wide = Console(width=max(Console().width, WIDE))
            wide.print(table if table.row_count else "There is no key yet: make one with create-key.")

    run(work())


@app.command("rotate-key")
def rotate_key(key_id: KeyId, company: Company = None) -> None:
    """Make a key to take another's place, and print it; the old one works for another day."""

    async def work() -> None:
        async with opened() as services:
            _tell(await services.keys.rotate(company, key_id, OPERATING))

    run(work())


@app.command("revoke-key")
def revoke_key(key_id: KeyId, company: Company = None) -> None:
    """Refuse a key from now on."""

    async def work() -> None:
        async with opened() as services:
            key = await services.keys.revoke(company, key_id)
            print(f"key {key.id} ({key.shown}) is refused from now on")

    run(work())


@app.command("invite")
def invite(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.VIEWER,
    company: Company = None,
) -> None:
    """Make a link by which somebody comes in, and print it; how the first owner is made."""

    async def work() -> None:
        async with opened() as services:
            draft = InvitationDraft(email=email, role=role)
            _tell_link(await services.invitations.invite(company, draft, OPERATING))

    run(work())


@app.command("reset-link")
def reset_link(person_id: Annotated[str, typer.Argument(help="The person's id, as `people` shows it.")]) -> None:
    """Make a link with which somebody sets a new password, and print it."""

    async def work() -> None:
        async with opened() as services:
            _tell_link(await services.invitations.reset(person_id, OPERATING))

    run(work())


def _tell_link(made: MadeLink) -> None:
    """Print a link on standard output, alone; whom it is for on standard error."""
    until = f"{made.link.expires_at:%Y-%m-%d %H:%M} UTC"
    print(f"for {made.link.email}: works once, until {until}; it is shown this once", file=sys.stderr)
    print(made.url)


@app.command("people")
def list_people(company: Company = None) -> None:
    """List who may sign in, to a company or at all."""

    async def work() -> None:
        async with opened() as services:
            after: str | None = None
            table = Table("id", "e-mail", "name", "roles", "second factor", "state")
            while True:
                page = await services.people.list_page(company, after=after)
                for person in page.items:
                    roles = ", ".join(f"{each.role.value} in {each.company_id or 'all'}" for each in person.grants)
                    factor = "on" if person.has_second_factor else "off"
                    table.add_row(person.id, person.email, person.name, roles or "none", factor, person.state)
                after = page.next
                if after is None:
                    break
            wide = Console(width=max(Console().width, WIDE))
            wide.print(table if table.row_count else "Nobody can sign in yet: make a link with invite.")

    run(work())


@app.command("roles")
def show_roles() -> None:
    """Print which role each route needs."""
    from backend.main import ROUTERS  # noqa: PLC0415  the web app is loaded for this command only
    from backend.routers.guard import need_of, routes_of  # noqa: PLC0415

    table = Table("role", "in", "method", "address")
    for route in (route for module in ROUTERS for route in routes_of(module.router)):
        need, method = need_of(route), "/".join(sorted(route.methods or ()))
        if need is None:
            table.add_row("anybody", "", method, route.path)
        else:
            where = "the company" if "{company_id}" in route.path else "all companies"
            role = "whoever is signed in" if need.role is None else need.role.value
            where = "one's own account" if need.role is None else "any company" if need.anywhere else where
            table.add_row(role, where, method, route.path)
    wide = Console(width=max(Console().width, WIDE))
    wide.print(table)


if __name__ == "__main__":
    app()
