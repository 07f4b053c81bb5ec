"""Reads the contract's cart objects: direct code, since every cart of every poll passes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from backend.domain.carts import Answer, CartPage, Consent, Line, SeenCart, Shopper, SourceStatus, UnreadableRecord
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.reading import email_or_none, phone_or_none, refuse_future, text_or_none, unreadable, utc_time

RAW_VERSION = "custom/1"
LONGEST_ID = 200
LONGEST_URL = 2048
UNKNOWN_CONSENT = Consent()
STATUSES = {status.value: status for status in SourceStatus}
ANSWERS: Mapping[str | None, Answer] = {None: Answer.UNKNOWN, **{answer.value: answer for answer in Answer}}
CONTACTS = ("email", "phone")
Default = TypeVar("Default", datetime, None)


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads one store's records. `fields` maps our names to paths in records that are shaped otherwise."""

    store_id: str
    fields: Mapping[str, tuple[str, ...]]

    def page(self, records: list[Any], server_time: datetime) -> CartPage:
        """Return the carts of one page; a record that cannot be read does not touch its neighbours."""
        carts: list[SeenCart] = []
        bad: list[UnreadableRecord] = []
        for record in records:
            try:
                carts.append(self._cart(record, server_time))
            except BadRecord as problem:
                bad.append(unreadable(record, self._id_of(record), problem.code))
        return CartPage(carts=tuple(carts), unreadable=tuple(bad))

    def _cart(self, record: Any, server_time: datetime) -> SeenCart:
        if not isinstance(record, dict):
            raise BadRecord("a cart is a JSON object", code="not_an_object")
        if self.fields:
            record = self._mapped(record)
        updated_at = utc_time(record.get("updated_at"))
        refuse_future(updated_at, server_time)
        created_at = _time_or(record.get("created_at"), updated_at)
        completed_at = _time_or(record.get("completed_at"), None)
        if completed_at is not None:
            refuse_future(completed_at, server_time)
        status = _status(record.get("status"), completed_at)
        return SeenCart(
            source_cart_id=_id(record.get("id")),
            store_id=self.store_id,
            status=status,
            created_at=min(created_at, updated_at),
            updated_at=updated_at,
            currency=_currency(record.get("currency")),
            total=_amount(record.get("total")),
            lines=_lines(record.get("items")),
            shopper=_shopper(record.get("customer")),
            consent=_consent(record.get("consent")),
            completed_at=completed_at if status is SourceStatus.COMPLETED else None,
            subtotal=_amount_or_none(record.get("subtotal")),
            discount=_amount_or_none(record.get("discount")),
            tax=_amount_or_none(record.get("tax")),
            coupons=_coupons(record.get("coupons")),
            recovery_url=_recovery_url(record.get("recovery_url")),
            order_ref=text_or_none(record.get("order_ref")),
            is_test=record.get("test") is True,
            raw_version=RAW_VERSION,
        )

    def _mapped(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record with every mapped field where the contract has it."""
        found = {name: _dig(record, path) for name, path in self.fields.items()}
        contacts = {name: found.pop(name) for name in CONTACTS if name in found}
        if contacts:
            customer = record.get("customer")
            found["customer"] = {**(customer if isinstance(customer, dict) else {}), **contacts}
        return {**record, **found}

    def _id_of(self, record: Any) -> str | None:
        """Return the id of a record that cannot be read, if at least that can be."""
        value = _dig(record, self.fields.get("id", ("id",)))
        text = text_or_none(value)
        return text if text is not None and len(text) <= LONGEST_ID else None


def _dig(value: Any, path: tuple[str, ...]) -> Any:
    """Follow names through objects, and positions through lists; None where the path ends early."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            return None
    return value


def _id(value: Any) -> str:
    text = text_or_none(value)
    if text is None or len(text) > LONGEST_ID:
        raise BadRecord("the cart's id is missing or too long", code="bad_id")
    return text


def _time_or(value: Any, default: Default) -> datetime | Default:
    return default if value is None else utc_time(value)


def _status(value: Any, completed_at: datetime | None) -> SourceStatus:
    """A time of purchase says more than a status that was not kept up with it."""
    if completed_at is not None:
        return SourceStatus.COMPLETED
    if value is None:
        return SourceStatus.OPEN
    if not isinstance(value, str) or value not in STATUSES:
        raise BadRecord("status is open, completed or expired", code="bad_status")
    return STATUSES[value]


def _currency(value: Any) -> str:
    if not (isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()):
        raise BadRecord("currency is three letters (ISO 4217)", code="bad_currency")
    return value.upper()


def _amount(value: Any) -> Decimal:
    amount = to_decimal(value)
    if amount < 0:
        raise BadRecord("an amount must not be negative", code="bad_amount")
    return amount


def _amount_or_none(value: Any) -> Decimal | None:
    return None if value is None else _amount(value)


def _lines(value: Any) -> tuple[Line, ...]:
    if not isinstance(value, list):
        raise BadRecord("items is a list", code="bad_items")
    return tuple([_line(item, position) for position, item in enumerate(value, 1)])


def _line(item: Any, position: int) -> Line:
    if not isinstance(item, dict):
        raise BadRecord("an item is a JSON object", code="bad_items")
    title = text_or_none(item.get("title"))
    if title is None:
        raise BadRecord("an item has no title", code="bad_items")
    quantity = _amount(item.get("qty"))
    unit_price = _amount(item.get("unit_price"))
    line_total = item.get("line_total")
    return Line(
        id=text_or_none(item.get("id")) or str(position),
        title=title,
        quantity=quantity,
        unit_price=unit_price,
        line_total=_amount(quantity * unit_price if line_total is None else line_total),
        product_id=text_or_none(item.get("product_id")),
        variant_id=text_or_none(item.get("variant_id")),
        sku=text_or_none(item.get("sku")),
        variant=text_or_none(item.get("variant")),
        image_url=_url_or_none(item.get("image_url")),
        url=_url_or_none(item.get("url")),
    )


def _shopper(value: Any) -> Shopper:
    if value is None:
        return Shopper()
    if not isinstance(value, dict):
        raise BadRecord("customer is a JSON object", code="bad_customer")
    country = text_or_none(value.get("country"))
    identity = text_or_none(value.get("id"))
    is_guest = value.get("is_guest")
    return Shopper(
        id=identity,
        email=email_or_none(value.get("email")),
        phone=phone_or_none(value.get("phone"), country),
        first_name=text_or_none(value.get("first")),
        last_name=text_or_none(value.get("last")),
        locale=text_or_none(value.get("locale")),
        country=country.upper() if country else None,
        is_guest=is_guest if isinstance(is_guest, bool) else identity is None,
    )


def _consent(value: Any) -> Consent:
    """A consent that cannot be read must not pass for "unknown", which may be sent to."""
    if value is None:
        return UNKNOWN_CONSENT
    try:
        return Consent(
            email=ANSWERS[value.get("email")],
            sms=ANSWERS[value.get("sms")],
            source=text_or_none(value.get("source")),
            at=_time_or(value.get("at"), None),
        )
    except (AttributeError, KeyError, TypeError):
        raise BadRecord("a consent is yes, no or unknown", code="bad_consent") from None


def _coupons(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise BadRecord("coupons is a list of texts", code="bad_coupons")
    return tuple(value)


def _recovery_url(value: Any) -> str | None:
    """A link that shoppers are sent to must be one, or the company must hear of it."""
    text = text_or_none(value)
    if text is not None and _url_or_none(text) is None:
        raise BadRecord("recovery_url is an http or https address", code="bad_recovery_url")
    return text


def _url_or_none(value: Any) -> str | None:
    text = text_or_none(value)
    if text is None or len(text) > LONGEST_URL or not text.lower().startswith(("https://", "http://")):
        return None
    return text
