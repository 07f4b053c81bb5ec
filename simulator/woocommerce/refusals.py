"""The error bodies of WordPress and WooCommerce, worded and shaped as real stores word and shape them."""

from __future__ import annotations

from typing import Any

AUTH_CODE = "woocommerce_rest_authentication_error"


class Refused(Exception):
    """A request that the REST API refuses with a JSON error body."""

    def __init__(self, status: int, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "data": {"status": status, **data}}


def authentication(message: str) -> Refused:
    """The API key or the signature is refused; the message alone tells why."""
    return Refused(401, AUTH_CODE, message)


def cannot_view(status: int) -> Refused:
    """Nobody is signed in (401), or somebody without the right to list orders (403)."""
    return Refused(status, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")


def no_route() -> Refused:
    """No such path: WooCommerce is off, the path is wrong, or an id is no number."""
    return Refused(404, "rest_no_route", "No route was found matching the URL and request method.")


def invalid_id() -> Refused:
    """There is no such order (any more)."""
    return Refused(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")


def invalid_params(problems: dict[str, tuple[str, str, Any]]) -> Refused:
    """Parameters that fail validation: name -> (code, message, data of the detail)."""
    return Refused(
        400,
        "rest_invalid_param",
        f"Invalid parameter(s): {', '.join(problems)}",
        params={name: message for name, (_, message, _) in problems.items()},
        details={
            name: {"code": code, "message": message, "data": data} for name, (code, message, data) in problems.items()
        },
    )


def one_of(words: list[str]) -> str:
    """Return the words as WordPress lists them: ``a, b, and c``."""
    return f"{', '.join(words[:-1])}, and {words[-1]}"
