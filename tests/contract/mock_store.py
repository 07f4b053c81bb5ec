"""The mock's store for the shared contract suite: there is no server, so most cases have nothing to act on."""

from __future__ import annotations

from collections.abc import Mapping

from backend.platforms.base import Connection
from simulator.base import SeenRequest

_OWN_CARTS = "a mock makes its own carts out of seed and time; none can be added or changed"
_NO_SERVER = "a mock calls no server"


class ContractStore:
    """Two mocks of different seeds."""

    page_size = 100
    makes_its_own_carts = True
    inapplicable: Mapping[str, str] = {
        "test_an_update_in_mid_walk_is_not_lost": _OWN_CARTS,
        "test_no_neighbour_of_a_change_in_mid_walk_is_lost": _OWN_CARTS,
        "test_carts_of_one_instant_over_several_pages_are_each_seen": _OWN_CARTS,
        "test_a_cart_without_contact_survives": _OWN_CARTS,
        "test_a_purchase_is_seen": _OWN_CARTS,
        "test_a_record_dated_2099_is_set_aside": _OWN_CARTS,
        "test_a_record_that_cannot_be_read_leaves_its_page_alone": _OWN_CARTS,
        "test_a_cart_read_again_is_as_it_is_now": _OWN_CARTS,
        "test_refused_credentials_are_the_companys_to_mend_each_time": _NO_SERVER,
        "test_a_check_names_refused_credentials": _NO_SERVER,
        "test_the_wait_is_the_stores_own_word": _NO_SERVER,
        "test_the_servers_time_is_its_date_header": _NO_SERVER,
        "test_trouble_on_the_way_is_tried_later": _NO_SERVER,
    }

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return the connection to the first mock."""
        return Connection(company_id, "i-0", {"options": {"seed": "s0"}}, {})

    async def second_tenant(self) -> Connection:
        """Return another company's mock."""
        return Connection("c2", "i-1", {"options": {"seed": "s1"}}, {})
