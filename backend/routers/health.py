"""Whether the service can do its work; the one address that asks nobody who they are."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from backend.routers.deps import Using
from backend.routers.problems import problems
from backend.routers.schemas import Answer
from backend.routers.strictness import STRICT

router = APIRouter(prefix="/api", tags=["health"], dependencies=STRICT)


class Health(Answer):
    """The service answers and reaches its database."""

    status: str = Field(examples=["ok"])


@router.get(
    "/health", summary="Say whether the service works", response_model=Health, responses={422: problems(422)[422]}
)
async def health(services: Using) -> Health:
    """Answer 200 when the database can be read. Needs no sign-in and tells nothing else."""
    await services.poller.rhythm()
    return Health(status="ok")
