"""Magento's error bodies: a message with places in it, and its parameters as a list or as an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Refused(Exception):
    """A request that is answered with an error body. Status 200 is one that some modules give."""

    def __init__(self, status: int, message: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message}
        if parameters:
            self.body["parameters"] = parameters


def unauthorized(right: str) -> Refused:
    """Nobody known, or an integration without the right."""
    return Refused(401, "The consumer isn't authorized to access %resources.", {"resources": right})


def oauth(message: str, *parameters: Any) -> Refused:
    """A signature, token or consumer is refused."""
    return Refused(401, message, parameters)


def no_route() -> Refused:
    """No such path."""
    return Refused(404, "Request does not match any route.")


def no_store() -> Refused:
    """No such store view."""
    return Refused(404, "The store that was requested wasn't found. Verify the store and try again.")


def no_entity(name: str, value: Any) -> Refused:
    """There is no such quote."""
    return Refused(404, "No such entity with %fieldName = %fieldValue", {"fieldName": name, "fieldValue": value})


def bad_field(name: str) -> Refused:
    """A filter or sort by a column that the table does not have."""
    return Refused(400, f"Column not found: 1054 Unknown column '{name}' in 'where clause'")


def page_too_large(most: int) -> Refused:
    """More records asked for than input limiting allows."""
    return Refused(400, "Maximum SearchCriteria pageSize is %max", {"max": most})


BREAKS = {
    "500": Refused(500, "Internal Error. Details are available in Magento log file. Report ID: webapi-6740ab"),
    "404": Refused(404, "The product that was requested doesn't exist. Verify the product and try again."),
    "400": Refused(400, "The coupon code isn't valid. Verify the code and try again."),
    "message": Refused(200, "Invalid state change requested", [1]),
}
