"""Search criteria as Magento reads them, and what they find in a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeVar

from simulator.magento.refusals import Refused, bad_field, page_too_large

_FILTER = re.compile(r"searchCriteria\[(?:filterGroups|filter_groups)]\[(\w+)]\[filters]\[(\w+)]\[(\w+)]")
_SORT = re.compile(r"searchCriteria\[(?:sortOrders|sort_orders)]\[(\w+)]\[(\w+)]")
_PAGE = re.compile(r"searchCriteria\[(pageSize|page_size|currentPage|current_page)]")
DEFAULT_PAGE = 20  # where input limiting is on
_NUMBER = re.compile(r"\s*-?\d+(?:\.\d+)?")


class Row(Protocol):
    """A row of a table."""

    def columns(self) -> dict[str, Any]: ...


RowType = TypeVar("RowType", bound=Row)


@dataclass(slots=True)
class Criteria:
    """Groups of filters (any of a group, all of the groups), sort orders, and the page."""

    groups: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    sorts: dict[str, dict[str, str]] = field(default_factory=dict)
    page: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, query: Sequence[tuple[str, str]]) -> Criteria:
        """Read a query. Raises `Refused` for a page that is no number."""
        found = cls()
        for name, value in query:
            if match := _FILTER.fullmatch(name):
                key = {"condition_type": "conditionType"}.get(match[3], match[3])
                found.groups.setdefault(match[1], {}).setdefault(match[2], {})[key] = value
            elif match := _SORT.fullmatch(name):
                found.sorts.setdefault(match[1], {})[match[2]] = value
            elif match := _PAGE.fullmatch(name):
                if not value.isdigit():
                    message = 'The "%value" value\'s type is invalid. The "%type" type was expected.'
                    raise Refused(400, message, {"value": value, "type": "int"})
                found.page["size" if "ize" in match[1] else "current"] = int(value)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return what the answer repeats of the question."""
        groups = [{"filters": [_filter_json(each) for each in filters.values()]} for filters in self.groups.values()]
        shown: dict[str, Any] = {"filter_groups": groups}
        if self.sorts:
            shown["sort_orders"] = list(self.sorts.values())
        named = {"size": "page_size", "current": "current_page"}
        return shown | {named[name]: number for name, number in self.page.items()}


def find(rows: Iterable[RowType], criteria: Criteria, largest_page: int | None) -> tuple[list[RowType], int]:
    """Return the asked page and how many rows match. Past the last page, the last page comes again."""
    size = criteria.page.get("size", 0)
    if largest_page is not None and size > largest_page:
        raise page_too_large(largest_page)
    size = size or (0 if largest_page is None else DEFAULT_PAGE)
    found = [row for row in rows if _matches(row, criteria)]
    for sort in reversed(list(criteria.sorts.values())):
        backwards = sort.get("direction", "DESC").upper() != "ASC"
        found.sort(key=lambda row, by=sort["field"]: _cell(row, by), reverse=backwards)  # type: ignore[misc]
    if not size or not found:
        return found, len(found)
    pages = -(-len(found) // size)
    page = min(max(criteria.page.get("current", 1), 1), pages)
    return found[(page - 1) * size : page * size], len(found)


def _filter_json(given: dict[str, str]) -> dict[str, str]:
    kind = given.get("conditionType", "eq")
    return {"field": given.get("field", ""), "value": given.get("value", ""), "condition_type": kind}


def _matches(row: Row, criteria: Criteria) -> bool:
    return all(
        any(_holds(row, given) for given in group.values()) for group in criteria.groups.values()
    )  # fmt: skip


def _holds(row: Row, given: dict[str, str]) -> bool:
    cell, value = _cell(row, given.get("field", "")), given.get("value", "")
    condition = given.get("conditionType") or "eq"
    if condition in ("null", "notnull"):
        return (cell is None) == (condition == "null")
    if cell is None:
        return False
    if condition in ("in", "nin"):
        return any(_as(cell, word) == cell for word in value.split(",")) == (condition == "in")
    compare = _COMPARE.get(condition)
    if compare is None:
        raise Refused(400, f"Condition type {condition} is not supported")
    return compare(cell, _as(cell, value))


def _cell(row: Row, name: str) -> Any:
    columns = row.columns()
    if name not in columns:
        raise bad_field(name)
    return columns[name]


def _as(cell: Any, value: str) -> Any:
    """Return a value as the database compares it with a cell: a text beside a number counts as the number it begins."""
    if isinstance(cell, str):
        return value
    number = _NUMBER.match(value)
    try:
        return Decimal(number[0].strip()) if number else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda cell, value: bool(cell == value),
    "neq": lambda cell, value: bool(cell != value),
    "gt": lambda cell, value: bool(cell > value),
    "gteq": lambda cell, value: bool(cell >= value),
    "lt": lambda cell, value: bool(cell < value),
    "lteq": lambda cell, value: bool(cell <= value),
    "from": lambda cell, value: bool(cell >= value),
    "to": lambda cell, value: bool(cell <= value),
    "moreq": lambda cell, value: bool(cell >= value),
    "like": lambda cell, value: value.strip("%") in str(cell),
}
