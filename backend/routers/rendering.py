"""Pages out of templates, and how times, amounts and plots look on them. Everything is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from backend.routers.visits import visit
from backend.services.state_words import apart, span

FOLDER = Path(__file__).resolve().parent.parent
NOTHING = "\N{EM DASH}"
PLOT_HEIGHT, BAR_PITCH, BAR_WIDTH = 60, 10, 8
FEWEST_BARS = 24  # a plot has room for at least so many

CART_STATES = {
    "active": "shopping",
    "abandoned": "abandoned",
    "recovered": "recovered",
    "converted": "bought",
    "emptied": "emptied",
    "lost": "lost",
    "excluded": "excluded",
}
DELIVERY_STATES = {"pending": "waiting", "delivered": "delivered", "dead": "given up", "superseded": "superseded"}


def moment(at: datetime | str | None, now: datetime) -> Markup:
    """Return a time (ISO 8601 where it comes from a report) as its distance from now, the full UTC time on hover."""
    if at is None:
        return Markup('<span class="faint">never</span>')
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S UTC"), apart(at, now)
    )


def money(values: Mapping[str, float]) -> str:
    """Return amounts per currency: `459.97 USD, 12.00 EUR`."""
    return ", ".join(f"{amount:,.2f} {currency}" for currency, amount in values.items()) or NOTHING


def milliseconds(value: int | None) -> str:
    """Return a duration in the unit that reads best."""
    if value is None:
        return NOTHING
    return f"{value} ms" if value < 1_000 else f"{value / 1_000:.1f} s" if value < 60_000 else span(value / 1_000)


def prose(text: str) -> Markup:
    """Return text with its `quoted names` set as code."""
    parts = [
        escape(part) if place % 2 == 0 else Markup("<code>{}</code>").format(part)
        for place, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def short(row_id: str) -> str:
    """Return the last eight characters of an id; the first ones tell the time and are alike."""
    return row_id[-8:]


def bars(cycles: Sequence[Mapping[str, Any]], lower: str, upper: str) -> list[dict[str, Any]]:
    """Return the bars of a plot over cycles, oldest first: the count `lower` with `upper` stacked on it."""
    rows = list(reversed(cycles))
    tallest = max((row[lower] + row[upper] for row in rows), default=0) or 1
    return [_bar(position, row, (lower, upper), tallest) for position, row in enumerate(rows)]


def plot_width(cycles: Sequence[Mapping[str, Any]]) -> int:
    """Return the width of a plot over cycles. A few leave room at its end, so that no bar is a block."""
    return max(len(cycles), FEWEST_BARS) * BAR_PITCH


def _bar(position: int, row: Mapping[str, Any], names: tuple[str, str], tallest: int) -> dict[str, Any]:
    low, high = (round(row[name] / tallest * PLOT_HEIGHT, 1) for name in names)
    words = ", ".join(f"{row[name]} {name.replace('_', ' ')}" for name in names)
    return {
        "x": position * BAR_PITCH,
        "width": BAR_WIDTH,
        "low": low,
        "low_y": round(PLOT_HEIGHT - low, 1),
        "high": high,
        "high_y": round(PLOT_HEIGHT - low - high, 1),
        "title": f"{row['started_at'][11:19]} UTC: {words}",
    }


def static_version() -> str:
    """Return a short hash of the static files, so that a changed one is fetched anew."""
    contents = [path.read_bytes() for path in sorted((FOLDER / "static").iterdir())]
    return hashlib.blake2b(b"".join(contents), digest_size=6).hexdigest()


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "moment": moment,
        "money": money,
        "milliseconds": milliseconds,
        "short": short,
        "prose": prose,
        "span": span,
    }
    made.globals |= {
        "bars": bars,
        "plot_height": PLOT_HEIGHT,
        "plot_width": plot_width,
        "cart_states": CART_STATES,
        "delivery_states": DELIVERY_STATES,
        "static_version": static_version(),
    }
    return made


_TEMPLATES = _environment()


def page(template: str, code: int = 200, **context: Any) -> HTMLResponse:
    """Return a template as an HTML answer with the HTTP status `code`."""
    context["visit"] = visit()
    return HTMLResponse(_TEMPLATES.get_template(template).render(context), status_code=code)
