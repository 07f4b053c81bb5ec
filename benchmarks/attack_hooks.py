"""Loaded by Schemathesis: an attack must not revoke the key that it is made with, or all that follows would be 401."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

OWN_ID, OTHER_ID = os.environ.get("ATTACK_KEY_ID", ""), os.environ.get("ATTACK_OTHER_KEY_ID", "")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Aim what is meant for the attack's own key at another one."""
    if OWN_ID and (case.path_parameters or {}).get("key_id") == OWN_ID:
        case.path_parameters["key_id"] = OTHER_ID
