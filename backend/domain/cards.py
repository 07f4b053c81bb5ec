"""Numbers that look like payment cards, and pages without them: no card number is ever stored.

A number looks like a card when it has 14 to 19 digits, with single blanks or hyphens between them at most, begins as
one of the networks' numbers do (ISO/IEC 7812) and passes the Luhn check. Ids and addresses are left alone: a tenth of
all long numbers passes that check, and a changed id would be another cart's.
"""

from __future__ import annotations

import re
from dataclasses import replace

from backend.domain.carts import CartPage, Line, SeenCart, UnreadableRecord

REMOVED = "[card number removed]"
NOTICE = "card_numbers_removed"
LOOKS_LIKE = re.compile(r"(?<![0-9])[2-6][0-9](?:[ -]?[0-9]){12,17}(?![0-9])")
LOOKS_LIKE_BYTES = re.compile(LOOKS_LIKE.pattern.encode())
# First digits and lengths: American Express, Diners Club, JCB, Visa, Mastercard, UnionPay, Discover, Maestro.
NETWORKS = re.compile(
    r"3[47][0-9]{13}|3(?:0[0-5]|[689])[0-9]{11,16}|35[0-9]{14}|4[0-9]{15}(?:[0-9]{3})?|5[1-5][0-9]{14}"
    r"|2[2-7][0-9]{14}|62[0-9]{14,17}|6(?:011|4[4-9]|5)[0-9]{12,16}|(?:5[0678]|6[37])[0-9]{12,17}"
)
DOUBLED = tuple(sum(divmod(2 * digit, 10)) for digit in range(10))


def is_card(number: str) -> bool:
    """Whether digits, with blanks or hyphens between them, are those of a payment card."""
    digits = number.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit()) or NETWORKS.fullmatch(digits) is None:
        return False
    backwards = [int(digit) for digit in reversed(digits)]
    return (sum(backwards[::2]) + sum(DOUBLED[digit] for digit in backwards[1::2])) % 10 == 0


def without_cards(text: str) -> tuple[str, int]:
    """Return a text with its card numbers replaced, and how many they were."""
    found = 0

    def removed(match: re.Match[str]) -> str:
        nonlocal found
        if not is_card(match[0]):
            return match[0]
        found += 1
        return REMOVED

    return LOOKS_LIKE.sub(removed, text), found


def stripped(page: CartPage) -> tuple[CartPage, int]:
    """Return the page without card numbers in what people typed, and how many there were.

    Nearly every page is returned as it is.
    """
    sieve = _Sieve()
    carts = tuple(map(sieve.cart, page.carts))
    unreadable = tuple(map(sieve.record, page.unreadable))
    if not sieve.found:
        return page, 0
    return replace(page, carts=carts, unreadable=unreadable, notices=(*page.notices, NOTICE)), sieve.found


class _Sieve:
    """Takes card numbers out of texts, and counts them."""

    def __init__(self) -> None:
        self.found = 0

    def text(self, text: str | None) -> str | None:
        if not text or LOOKS_LIKE.search(text) is None:
            return text
        kept, found = without_cards(text)
        self.found += found
        return kept

    def cart(self, seen: SeenCart) -> SeenCart:
        person, typed = seen.shopper, [*seen.coupons, seen.consent.source]
        typed += [person.first_name, person.last_name, *(text for line in seen.lines for text in _typed(line))]
        if LOOKS_LIKE.search("\n".join(filter(None, typed))) is None:
            return seen
        named = replace(person, first_name=self.text(person.first_name), last_name=self.text(person.last_name))
        return replace(
            seen,
            shopper=named,
            consent=replace(seen.consent, source=self.text(seen.consent.source)),
            lines=tuple(map(self.line, seen.lines)),
            coupons=tuple(self.text(code) or "" for code in seen.coupons),
        )

    def line(self, line: Line) -> Line:
        return replace(line, title=self.text(line.title) or "", variant=self.text(line.variant))

    def record(self, record: UnreadableRecord) -> UnreadableRecord:
        """Mask every card number in what the store sent, ids included: a record in quarantine is only looked at."""

        def masked(match: re.Match[bytes]) -> bytes:
            if not is_card(match[0].decode()):
                return match[0]
            self.found += 1
            return b"*" * len(match[0])

        raw = LOOKS_LIKE_BYTES.sub(masked, record.raw)
        return record if raw == record.raw else replace(record, raw=raw)


def _typed(line: Line) -> tuple[str | None, ...]:
    return (line.title, line.variant)
