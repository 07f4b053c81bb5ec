"""Whether the service can do its work; the one address that asks nobody who they are."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from backend.routers.deps import Using
from backend.routers.schemas import Answer

router = APIRouter(prefix="/api", tags=["health"])


class Health(Answer):
    """The service answers and reaches its database."""

    status: str = Field(examples=["ok"])


@router.get("/health", summary="Say whether the service works", response_model=Health)
async def health(services: Using) -> Health:
    """Answer 200 when the database can be read. Needs no sign-in and tells nothing else."""
    await services.poller.rhythm()
    return Health(status="ok")
