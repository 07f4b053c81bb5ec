"""What callers hand in: a draft makes a thing, changes alter one."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Draft(BaseModel):
    """Base of every draft: an unknown field is an error, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Changes(Draft):
    """Base of every set of changes: what is left out stays as it is.

    Null is taken only for the fields in `may_be_empty`; anywhere else it would leave nothing in a field that needs
    a value.
    """

    may_be_empty: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say at least one thing to change")
        empty = sorted(name for name in self.model_fields_set - self.may_be_empty if getattr(self, name) is None)
        if empty:
            raise ValueError(f"{', '.join(empty)} cannot be null; leave out what shall stay")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the schema too where null is not taken, and that something must be changed."""
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in schema["properties"].items():
            if name not in cls.may_be_empty:
                _forbid_null(field)
        return {**schema, "minProperties": 1}

    def values(self) -> dict[str, Any]:
        """Return what was said, by field."""
        return self.model_dump(exclude_unset=True)


def _forbid_null(field: dict[str, Any]) -> None:
    """Take null out of the choices of a field's schema; a single one that is left takes their place."""
    kept = [choice for choice in field.get("anyOf", []) if choice.get("type") != "null"]
    field.pop("default", None)
    if len(kept) == 1:
        del field["anyOf"]
        field.update(kept[0] | field)
    elif kept:
        field["anyOf"] = kept
