"""What is wrong with a value, and what to do about it, in plain sentences for each kind of fault of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FALLBACK = "send a value as /docs describes it"
BODY_FALLBACK = "send an object with at least one of the fields that /docs lists, and leave out what shall stay"
BAD_JSON = "send well-formed JSON"
DEEPEST = 12  # levels of a body

# Kind of fault -> what is wrong, what to do; the names in braces are those of the fault's context.
WORDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("the number is too small", "send {ge} or more"),
    "greater_than": ("the number is too small", "send more than {gt}"),
    "less_than_equal": ("the number is too large", "send {le} or less"),
    "less_than": ("the number is too large", "send less than {lt}"),
    "missing": ("this is missing", "add it"),
    "extra_forbidden": ("there is no such field", "remove the field, or check its spelling"),
    "unknown_parameter": ("there is no such parameter", "{known}"),
    "repeated_parameter": ("this parameter is given more than once", "send it once"),
    "body_not_taken": ("this address takes no body", "{instead}"),
    "enum": ("this is not one of the values known here", "use one of {expected}"),
    "literal_error": ("this is not one of the values known here", "use one of {expected}"),
    "string_pattern_mismatch": (
        "the text holds characters that cannot be in it, or is not of the right form",
        "send text of the form that /docs shows in its example",
    ),
    "string_too_short": ("the text is empty or too short", "send at least {min_length} character(s), spaces aside"),
    "string_too_long": ("the text is too long", "send at most {max_length} characters"),
    "string_type": ("this is not text", "send text in double quotes"),
    "too_short": ("there are too few entries", "send at least {min_length}"),
    "too_long": ("there are too many entries", "send at most {max_length}"),
    "bool_parsing": ("this is neither true nor false", "send true or false"),
    "bool_type": ("this is neither true nor false", "send true or false"),
    "int_type": ("this is not a whole number", "send a whole number, without quotes"),
    "int_parsing": ("this is not a whole number", "send a whole number in digits, such as 60"),
    "int_parsing_size": ("the number has too many digits", "send a smaller whole number"),
    "int_from_float": ("this is not a whole number", "send a whole number, without a fraction"),
    "float_type": ("this is not a number", "send a number, without quotes"),
    "float_parsing": ("this is not a number", "send a number, such as 1.5"),
    "finite_number": ("this is not a finite number", "send a finite number"),
    "dict_type": ("this is not an object", 'send a JSON object, such as {{"key": "value"}}'),
    "list_type": ("this is not a list", "send a JSON list"),
    "model_attributes_type": ("this is not an object", 'send a JSON object, such as {{"name": "Acme"}}'),
    "model_type": ("this is not an object", 'send a JSON object, such as {{"name": "Acme"}}'),
} | {
    f"{kind}_{fault}": ("this is not a time", "send a time in ISO 8601, such as 2026-01-05T10:30:00Z")
    for kind in ("datetime", "datetime_from_date", "date")
    for fault in ("parsing", "type", "object_invalid")
}  # fmt: skip

# What texts of a fixed form look like; a pattern itself tells most people nothing.
FORMS: Mapping[str, str] = {
    r"^[A-Za-z0-9_.:~-]+$": "send an id as a list shows it: letters, digits and _ . : ~ -",
    r"^[A-Za-z0-9_.~:=+-]*$": "hand back `next` as it came",
    r"^[A-Za-z0-9_.:~-]{1,80}$": "send an id as a list shows it: letters, digits and _ . : ~ -",
    r"^[a-z0-9][a-z0-9_-]{0,99}$": "send small letters, digits, _ and -, beginning with a letter or digit",
    r"^[^@\s]+@[^@\s]+\.[^@\s]+$": "send an address such as help@acme.example",
    r"^[0-9+() ./-]{3,40}$": "send digits, spaces and + ( ) . / -, such as +1 555 0100",
    r"^[A-Za-z]{2}$": "send two letters, such as US",
    r"^[^\x00]*$": "remove the NUL character",
}


class Misplaced(ValueError):
    """A fault somewhere inside a value, found by a look at the whole: `place` leads to it from there."""

    def __init__(self, message: str, place: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.remedy = remedy


def explained(fault: Mapping[str, Any]) -> tuple[tuple[Any, ...], str, str]:
    """Return where a fault of a validation is, what is wrong, and what to do; the last is never empty."""
    context: Mapping[str, Any] = fault.get("ctx") or {}
    own = context.get("error")
    place = (*fault["loc"], *(own.place if isinstance(own, Misplaced) else ()))
    message, remedy = WORDS.get(fault["type"], (str(fault["msg"]).removeprefix("Value error, "), ""))
    if isinstance(own, Misplaced):
        remedy = own.remedy
    if not remedy:
        remedy = BODY_FALLBACK if place == ("body",) else FALLBACK
    elif fault["type"] in WORDS:
        remedy = remedy.format(**context)
    return place, message, FORMS.get(str(context.get("pattern")), remedy)
