"""What a platform owes the shared contract suite: a store that the suite can fill, change and break.

`tests/contract/<platform>_store.py` has a class `ContractStore` of this form for every platform in the registry.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, cast

from backend.platforms.base import Connection
from simulator.base import SeenRequest, Simulator


class Store(Protocol):
    """Two stores on one host and port; everything but `second_tenant` is about the first.

    `page_size`: records per page, small. A store may also have `inapplicable`, which maps the name of a case to the
    reason why it cannot apply, and `signature_of(request)` where requests are signed one by one.
    """

    page_size: int

    @property
    def requests(self) -> list[SeenRequest]: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def connection(self, company_id: str = "c1") -> Connection: ...

    async def second_tenant(self) -> Connection: ...

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str: ...

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None: ...

    async def complete(self, source_id: str, at: datetime) -> None: ...

    async def delete(self, source_id: str) -> None: ...

    async def leave_filter(self, source_id: str, at: datetime) -> None: ...

    async def revoke(self) -> None: ...

    async def throttle(self, seconds: float) -> None: ...


def open_store(platform: str) -> Store:
    """Return a store of a platform, not yet started. A platform without one raises, and so fails the suite."""
    module = importlib.import_module(f"tests.contract.{platform}_store")
    return cast(Store, module.ContractStore())


def inapplicable(store: Store) -> Mapping[str, str]:
    """Return the cases that cannot apply to this store, with the reason."""
    return cast(Mapping[str, str], getattr(store, "inapplicable", {}))


def signature_of(store: Store, request: SeenRequest) -> Any:
    """Return the part of a request that must differ each time; the request's place in time where nothing is signed."""
    read = getattr(store, "signature_of", None)
    return id(request) if read is None else read(request)


def simulator_of(store: Store) -> Simulator:
    """Return the server behind the store."""
    return cast(Simulator, getattr(store, "simulator"))  # noqa: B009 - not every store has one
