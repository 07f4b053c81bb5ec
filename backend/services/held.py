"""What is said of a hold on deliveries, wherever it is told."""

from __future__ import annotations

from typing import Any

from backend.services.reports import iso

HOW_TO_RELEASE = (
    "No delivery is sent until you release them: on the console, with POST /deliveries/release, or with "
    "scripts/release_deliveries.py. Polls go on meanwhile, so purchases are seen before anything is sent."
)


# The reason is free text about the installation, and may name another company.
TOLD_TO_A_COMPANY = {
    "reason": "held for the whole installation",
    "what_to_do": "Nothing to do: whoever runs the installation releases them. Polls go on meanwhile.",
}


def held_words(state: Any, *, is_whole: bool = True) -> dict[str, Any] | None:
    """Return the hold that the installation's row tells of, or None; without its reason unless `is_whole`."""
    if state is None or state.hold_reason is None:
        return None
    told = {"reason": state.hold_reason, "held_at": iso(state.held_at), "what_to_do": HOW_TO_RELEASE}
    return told if is_whole else told | TOLD_TO_A_COMPANY
