"""Magento's search criteria as query parameters: filters of one group are alternatives, all groups must hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

Filter = tuple[str, str, str]  # field, condition, value
Group = tuple[Filter, ...]

# Only what is read: birthdays, tax numbers and streets never leave the store.
PERSON = "firstname,lastname"
ADDRESS = f"{PERSON},email,telephone,country_id"
CART_FIELDS = (
    "items[id,created_at,updated_at,is_active,items_count,items[item_id,sku,qty,name,price,product_type],"
    f"customer[id,email,{PERSON},extension_attributes[is_subscribed]],billing_address[{ADDRESS}],"
    "reserved_order_id,currency[base_currency_code,quote_currency_code,base_to_quote_rate],store_id,"
    f"extension_attributes[coupon_codes,shipping_assignments[shipping[address[{ADDRESS}]]]]],total_count"
)
ORDER_FIELDS = (
    "items[entity_id,increment_id,quote_id,state,created_at,order_currency_code,grand_total,subtotal,discount_amount,"
    "tax_amount,coupon_code,customer_id,customer_email,customer_firstname,customer_lastname,"
    f"billing_address[{ADDRESS}],items[item_id,parent_item_id,product_id,sku,name,qty_ordered,price,row_total]]"
    ",total_count"
)
OLDEST_FIRST = ("updated_at", "entity_id")


@dataclass(frozen=True, slots=True)
class Search:
    """One search: groups of filters, the fields it is sorted by (ascending), how many records at most."""

    groups: Sequence[Group]
    size: int
    fields: str
    sorted_by: Sequence[str] = ()

    def pairs(self) -> list[tuple[str, str]]:
        """Return the query parameters, decoded, in order."""
        root = "searchCriteria"
        found: list[tuple[str, str]] = []
        for place, group in enumerate(self.groups):
            for position, (field, condition, value) in enumerate(group):
                name = f"{root}[filterGroups][{place}][filters][{position}]"
                found += [(f"{name}[field]", field), (f"{name}[value]", value), (f"{name}[conditionType]", condition)]
        for place, field in enumerate(self.sorted_by):
            name = f"{root}[sortOrders][{place}]"
            found += [(f"{name}[field]", field), (f"{name}[direction]", "ASC")]
        return [*found, (f"{root}[pageSize]", str(self.size)), (f"{root}[currentPage]", "1"), ("fields", self.fields)]


def among(field: str, values: Iterable[object], condition: str = "in") -> Group:
    """Return the group that wants `field` to be one of `values`, or with ``nin`` none of them."""
    return ((field, condition, ",".join(str(value) for value in values)),)


def nothing() -> Group:
    """Return the group that no quote and no order can match."""
    return (("entity_id", "eq", "0"),)


def digits(moment: datetime) -> str:
    """Return an aware time as Magento keeps it: UTC digits without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat(sep=" ")
