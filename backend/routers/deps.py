"""What routes are given: the services, a page of a list, ids out of the path."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from backend.services.overview import MOST, Paging
from backend.services.wiring import Services


def get_services(request: Request) -> Services:
    """Return what the lifespan built."""
    services: Services = request.app.state.services
    return services


def get_paging(
    limit: Annotated[int, Query(ge=1, le=MOST, description="Rows of one page.", examples=[50])] = 50,
    after: Annotated[
        str | None,
        Query(max_length=400, pattern=r"^[A-Za-z0-9_.~:=+-]*$", description="`next` of the page before, as it came."),
    ] = None,
) -> Paging:
    """Return the page that the caller asks for."""
    return Paging(limit, after or None)


ID = r"^[A-Za-z0-9_.:~-]+$"
Using = Annotated[Services, Depends(get_services)]
Page = Annotated[Paging, Depends(get_paging)]
CompanyId = Annotated[str, Path(max_length=36, pattern=ID, description="The company's id.", examples=["5f0c9a52"])]
AgentId = Annotated[str, Path(max_length=80, pattern=ID, description="The agent's id.", examples=["a1b2c3"])]
IntegrationId = Annotated[str, Path(max_length=80, pattern=ID, description="The integration's id.", examples=["i7d9"])]
DestinationId = Annotated[str, Path(max_length=80, pattern=ID, description="The destination's id.", examples=["d4e8"])]
CartId = Annotated[str, Path(max_length=80, pattern=ID, description="Our id of the cart.", examples=["c0ffee"])]
DeliveryId = Annotated[str, Path(max_length=80, pattern=ID, description="The delivery's id.", examples=["de11"])]
KeyId = Annotated[str, Path(max_length=80, pattern=ID, description="The API key's id.", examples=["k3e1"])]
PersonId = Annotated[str, Path(max_length=80, pattern=ID, description="The person's id.", examples=["p3e1"])]
SessionId = Annotated[str, Path(max_length=80, pattern=ID, description="The session's id.", examples=["5e55"])]
InvitationId = Annotated[str, Path(max_length=80, pattern=ID, description="The invitation's id.", examples=["1n17"])]
CycleId = Annotated[str, Path(max_length=80, pattern=ID, description="The cycle's id.", examples=["cy01"])]
