"""Hold deliveries back and release them, over the API and on a page of the console."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field, StringConstraints
from starlette.responses import Response

from backend.errors import BadInput
from backend.routers.deps import Using
from backend.routers.guard import OPERATOR, VIEWER, guard, needs
from backend.routers.problems import problems
from backend.routers.rendering import page
from backend.routers.schemas import Answer, Held, Storable
from backend.routers.visits import form_fields
from backend.services.drafts import Draft
from backend.services.restore import LONGEST_REASON

router = APIRouter()
api = APIRouter(prefix="/deliveries", tags=["deliveries"])
pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

SAID = {
    "released": ("good", "Deliveries go again."),
    "free": ("calm", "Deliveries were not held."),
    "held": ("good", "Deliveries are held. What was in the air ends by itself."),
    "kept": ("calm", "Deliveries were held already; the older reason stays."),
    "bad_reason": ("bad", f"A reason has 1 to {LONGEST_REASON} characters."),
}


class Reason(Storable, Draft):
    """Why nothing may be sent for now."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON)] = Field(
        examples=["the partner moves to a new system tonight"]
    )


class Outcome(Answer):
    """Whether deliveries are held after a call."""

    held: bool
    changed: bool = Field(description="Whether this call changed anything.", examples=[True])


class Plan(Answer):
    """What a release would let go."""

    held: Held | None = Field(description="Null while deliveries go.")
    deliveries_waiting: int
    oldest_waiting_seconds: int | None
    carts_asked: int = Field(description="Carts of the 10,000 oldest deliveries, which the gate was asked about.")
    carts_allowed: int = Field(description="Those that may go as things are known now.")
    carts_active: int = Field(description="Carts that may yet be abandoned.")
    stores: int
    stores_read_since: int = Field(description="Stores that were read up to the moment since when deliveries are held.")
    in_words: str


@api.get(
    "/hold",
    summary="Look at what a release would let go",
    response_model=Plan,
    responses=problems(),
    dependencies=guard(VIEWER),
)
async def show_plan(services: Using) -> dict[str, Any]:
    """Say whether deliveries are held and why, how many wait, and how many of them the gate would still allow.

    Polls go on while deliveries are held: what was bought meanwhile is counted out once its store was read.
    """
    return await services.hold.plan()


@api.post(
    "/hold",
    summary="Hold deliveries back",
    response_model=Outcome,
    responses=problems(413, 422),
    dependencies=guard(OPERATOR),
)
async def hold(services: Using, body: Reason) -> dict[str, Any]:
    """Send nothing to any partner until a release. What is in the air ends by itself; polls and the sweep go on.

    Held already, nothing changes, and the older reason stays.
    """
    return await services.hold.hold(body.reason)


@api.post(
    "/release",
    summary="Let deliveries go again",
    response_model=Outcome,
    responses=problems(),
    dependencies=guard(OPERATOR),
)
async def release(services: Using) -> dict[str, Any]:
    """End a hold, whoever set it. What is due goes at once, each cart asked about once more before it is sent.

    Look at the plan first (GET /deliveries/hold). Releasing twice does no harm.
    """
    return await services.hold.release()


@pages.get("/console/hold", dependencies=needs(VIEWER))
async def show_page(services: Using, said: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Show what is held and what a release would let go."""
    kind, words = SAID.get(said, ("", ""))
    told = {"kind": kind, "words": words} if words else None
    return page("hold.html", here="/", said=told, plan=await services.hold.plan(), longest=LONGEST_REASON)


@pages.post("/console/hold", dependencies=needs(OPERATOR))
async def press_hold(request: Request, services: Using) -> Response:
    """Hold deliveries from the page's form."""
    try:
        done = await services.hold.hold((await form_fields(request)).get("reason", ""))
    except BadInput:
        return _back("bad_reason")
    return _back("held" if done["changed"] else "kept")


@pages.post("/console/release", dependencies=needs(OPERATOR))
async def press_release(services: Using) -> Response:
    """Release deliveries from the page's form."""
    return _back("released" if (await services.hold.release())["changed"] else "free")


def _back(said: str) -> Response:
    return RedirectResponse(f"/console/hold?said={said}", status_code=303)


router.include_router(api)
router.include_router(pages)
