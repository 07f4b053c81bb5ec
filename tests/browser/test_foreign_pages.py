"""Pages of other origins in the system's Chromium, and a name that is bound to this machine: nobody is signed in."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from benchmarks.attack_sign_in import served
from benchmarks.attack_sign_in_browser import TRICKS, Seen, browse, chromium, visit

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a real server in development mode."""
    with served("127.0.0.1") as found:
        yield found


@pytest.fixture(scope="module")
def seen(port: int) -> list[Seen]:
    """Return what the browser saw of the service after every trick."""
    with chromium() as browser:
        assert visit(browser, f"http://localhost:{port}/") == 200  # the local user is let in
        return browse(browser, port)


def test_no_page_of_another_origin_is_signed_in(seen: list[Seen]) -> None:
    assert [each for each in seen if each.status != 401] == []


def test_every_trick_reached_the_service(seen: list[Seen]) -> None:
    tried = {each.trick.partition(" to ")[0] for each in seen if each.page != "rebinding"}
    assert tried == set(TRICKS)


def test_a_name_that_is_bound_to_this_machine_is_refused(seen: list[Seen]) -> None:
    assert [each.status for each in seen if each.page == "rebinding"] == [401] * 6


def test_nothing_was_changed(seen: list[Seen], port: int) -> None:
    with httpx.Client(base_url=f"http://localhost:{port}") as client:
        found = (client.get("/polling/status").json()["running"], client.get("/api/v1/companies").json()["items"])
    assert (bool(seen), *found) == (True, False, [])
