"""What ends a walk that a store would never end, and which pages no store should be walked past."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from backend.domain.carts import CartPage
from backend.domain.cursor import Cursor
from backend.domain.trail import Trail
from backend.errors import TryLater

# A store with a million carts is read through in pages of 50.
MOST_PAGES = 20_000
# Such a walk holds a place for minutes on end, so it is not begun again with every back-off of half a minute.
AFTER_ENDLESS = timedelta(hours=1)
# A place may come back once: some walks begin a part again when records moved under them.
MOST_LAPS = 1
MOST_REPEATS = 1
MOST_EMPTY = 9
ALL_BAD_FROM = 3  # records; a smaller page that is bad all through is quarantined and passed
# What a record's own date says is no matter of its form, and the store lists it again with every window.
DATED = "dated_in_the_future"

# Codes of `TryLater` after which the walk in hand leads nowhere: the next one begins its window anew.
ENDS_WALK = frozenset({"pagination_loop", "pagination_endless", "page_repeats", "bad_next_cursor"})

_FAULTY = (
    "The store's paging is at fault: each page has to lead on to records that were not shown before, and to an end."
)


@dataclass(slots=True)
class WalkGuard:
    """Watches a walk for one poll; a circle too long for that is met by the most pages, which the cursor counts."""

    most_pages: int = MOST_PAGES
    _tokens: Trail = field(default_factory=Trail)
    _shown: frozenset[str] = frozenset()
    _repeats: int = 0
    _empty: int = 0

    def saw(self, cursor: Cursor, page: CartPage) -> None:
        """Take note of the page that `cursor` asked for, before it is saved.

        Raises `TryLater` with a code of `ENDS_WALK`. The last page of a walk never does.
        """
        if page.next_page_token is None:
            return
        if cursor.pages + 1 >= self.most_pages:
            raise TryLater(
                f"the walk has no end: {cursor.pages + 1} pages so far",
                code="pagination_endless",
                remedy=_FAULTY,
                retry_after=AFTER_ENDLESS,
            )
        if cursor.page_token is not None:
            self._tokens = self._tokens.step(cursor.page_token)
        if self._tokens.laps > MOST_LAPS:
            raise TryLater("the store's pages go round in a circle", code="pagination_loop", remedy=_FAULTY)
        self._compare(records_of(page))

    def _compare(self, shown: frozenset[str]) -> None:
        self._empty = 0 if shown else self._empty + 1
        if shown:
            self._repeats = self._repeats + 1 if shown <= self._shown else 0
            self._shown = shown
        if self._repeats > MOST_REPEATS or self._empty > MOST_EMPTY:
            raise TryLater("the store's pages bring nothing new", code="page_repeats", remedy=_FAULTY)


def records_of(page: CartPage) -> frozenset[str]:
    """Return the page's records by id and change time: a cart that changed since is another record."""
    return frozenset(
        (
            *(f"{cart.source_cart_id} {cart.updated_at.isoformat()}" for cart in page.carts),
            *(f"{exclusion.source_cart_id} {exclusion.reason}" for exclusion in page.exclusions),
            *(record.raw.decode(errors="replace") for record in page.unreadable),
        )
    )


def is_bad_all_through(page: CartPage) -> bool:
    """Whether a page tells that the store changed the form of its carts, so that the cursor has to stay.

    Records that can be read but for a date in the future tell nothing of the kind. They lie in quarantine and come
    again with every window, until the store dates them rightly.
    """
    misshapen = [record for record in page.unreadable if record.reason != DATED]
    return len(misshapen) >= ALL_BAD_FROM and not page.carts and not page.exclusions
