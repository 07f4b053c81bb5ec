"""The console: pages for people, made on the server, that work without scripts and freshen themselves with them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from backend.domain.access import Caller
from backend.domain.lifecycle import CartState
from backend.errors import BadInput, NotFound
from backend.routers import console, reference
from backend.routers.carts import cart_filter
from backend.routers.deliveries import delivery_filter
from backend.routers.deps import CartId, CompanyId, DeliveryId, Page, Using
from backend.routers.guard import ANALYST, OPERATOR, VIEWER, Me, needs
from backend.routers.rendering import page
from backend.routers.visits import form_fields
from backend.services.overview import Paging
from backend.services.wiring import Services
from backend.store.listings import CartFilter, DeliveryFilter

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

CYCLES_SHOWN, DELIVERIES_SHOWN = 40, 8
SAID = {
    "started": ("good", "Polling is wanted. Every worker follows within a second or two."),
    "kept": ("calm", "Polling was running like that already."),
    "stopped": ("good", "Polling stops. A cycle in flight ends by itself."),
    "stopped_before": ("calm", "Polling was stopped already."),
    "bad_interval": ("bad", "The interval must be a whole number of seconds, 5 to 86,400."),
}


async def live_context(services: Services, me: Caller) -> dict[str, Any]:
    """Return what the part of the console shows that freshens itself, of the companies that the caller may see."""
    now, overview, only = services.clock.now(), services.overview, me.companies
    status, shown = await services.poller.status(only), await overview.console(only)
    cycles = await overview.cycles(only, None, Paging(CYCLES_SHOWN))
    deliveries = await overview.deliveries(only, DeliveryFilter(), Paging(DELIVERIES_SHOWN))
    return {
        "now": now,
        "status": status,
        "loops_note": "" if status["loops_here"] else status["loops_note"],
        "cart_states_counted": shown["cart_states"],
        "delivery_states_counted": console.delivery_totals(shown["destinations"]),
        "integrations": console.stores(shown["integrations"], status["integrations"], now),
        "destinations": console.destinations(shown["destinations"], now),
        "cycles": cycles.items,
        "deliveries": deliveries.items,
    }


@router.get("/", dependencies=needs(VIEWER, anywhere=True))
async def show_console(
    services: Using,
    me: Me,
    said: Annotated[str, Query(max_length=40)] = "",
    cycle: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """Show the console. `said` and `cycle` name what a button just did."""
    context = await live_context(services, me)
    return page("console.html", here="/", said=await _said(services, me, said, cycle), groups=reference.TAGS, **context)


async def _said(services: Services, me: Caller, said: str, cycle: str) -> dict[str, str] | None:
    if said == "tested":
        try:
            kind, words = console.said_of_cycle(await services.overview.cycle(me.companies, cycle))
        except NotFound:
            return None
        return {"kind": kind, "words": words}
    kind, words = SAID.get(said, ("", ""))
    return {"kind": kind, "words": words} if words else None


@router.get("/console/live", dependencies=needs(VIEWER, anywhere=True))
async def show_live(services: Using, me: Me) -> Response:
    """Show the part of the console that freshens itself."""
    return page("live.html", **await live_context(services, me))


@router.post("/console/start", dependencies=needs(OPERATOR))
async def press_start(request: Request, services: Using) -> Response:
    """Start polling from the console's form."""
    interval = (await form_fields(request)).get("interval", "")
    try:
        if not interval.isascii() or not interval.isdigit() or len(interval) > 6:
            return _back("bad_interval")
        wanted = await services.poller.start(int(interval))
    except BadInput:
        return _back("bad_interval")
    return _back("started" if wanted["changed"] else "kept")


@router.post("/console/stop", dependencies=needs(OPERATOR))
async def press_stop(services: Using) -> Response:
    """Stop polling from the console's form."""
    wanted = await services.poller.stop()
    return _back("stopped" if wanted["changed"] else "stopped_before")


@router.post("/console/test-once", dependencies=needs(OPERATOR))
async def press_test_once(services: Using) -> Response:
    """Run one cycle from the console's form."""
    report = await services.poller.run_once("test_once")
    return _back("tested", cycle=report["cycle_id"])


def _back(said: str, **more: str) -> Response:
    return RedirectResponse(f"/?{urlencode({'said': said, **more})}", status_code=303)


@router.get("/carts", dependencies=needs(VIEWER, anywhere=True))
async def show_carts(
    services: Using, me: Me, wanted: Annotated[CartFilter, Depends(cart_filter)], paging: Page
) -> Response:
    """Show carts of the companies that the caller may see."""
    listed = await services.overview.carts(me.companies, wanted, paging)
    asked = {"state": wanted.state, "search": wanted.search, "integration_id": wanted.integration_id}
    onward = _onward("/carts", asked, listed.next)
    now = services.clock.now()
    return page("carts.html", here="/carts", now=now, wanted=wanted, rows=listed.items, next=onward)


@router.get("/carts/{company_id}/{cart_id}", dependencies=needs(ANALYST))
async def show_cart(services: Using, company_id: CompanyId, cart_id: CartId) -> Response:
    """Show a cart with what happened to it."""
    row = await services.overview.cart(company_id, cart_id)
    return page("cart.html", here="/carts", now=services.clock.now(), row=row)


@router.get("/deliveries", dependencies=needs(VIEWER, anywhere=True))
async def show_deliveries(
    services: Using, me: Me, wanted: Annotated[DeliveryFilter, Depends(delivery_filter)], paging: Page
) -> Response:
    """Show deliveries of the companies that the caller may see."""
    listed = await services.overview.deliveries(me.companies, wanted, paging)
    asked = {name: getattr(wanted, name) for name in ("state", "destination_id", "integration_id")}
    onward = _onward("/deliveries", asked, listed.next)
    now = services.clock.now()
    return page("deliveries.html", here="/deliveries", now=now, wanted=wanted, rows=listed.items, next=onward)


@router.get("/deliveries/{company_id}/{delivery_id}", dependencies=needs(ANALYST))
async def show_delivery(services: Using, company_id: CompanyId, delivery_id: DeliveryId) -> Response:
    """Show a delivery with its attempts and carts."""
    row = await services.overview.delivery(company_id, delivery_id)
    return page("delivery.html", here="/deliveries", now=services.clock.now(), row=row)


def _onward(path: str, asked: dict[str, str | CartState | None], after: str | None) -> str:
    """Return the address of the next page, or nothing on the last one."""
    if after is None:
        return ""
    return f"{path}?{urlencode({**{name: value for name, value in asked.items() if value}, 'after': after})}"
