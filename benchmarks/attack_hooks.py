"""Loaded by Schemathesis: what it cannot know of this API. The page repeats each reason."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response

OWN_IDS, OTHER_ID = os.environ.get("ATTACK_OWN_IDS", "").split(), os.environ.get("ATTACK_OTHER_ID", "")
REFUSED, NOT_FOUND = "ST202", "ST302"  # what was allowed by the schema is refused; what was just made is not there


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal that is right though no schema can state it, told by its field and words (patterns)."""

    because: str
    field: str = ""
    detail: str = ""


RULES = (
    Rule("`after` is a token: only one that a list gave out leads anywhere", r"^(query\.)?after$"),
    Rule("each platform takes its own settings and credentials", r"^(body\.)?(settings|credentials)\b"),
    Rule("an address is looked at as a whole: scheme, host, port, no user in it", r"^(body\.)?url$"),
    Rule("an e-mail address is looked at as a whole", r"^(body\.)?email$"),
    Rule("a signing secret is looked at as a whole", r"^(body\.)?secret$"),
    Rule("text that nobody can see or store is refused", detail="cannot be shown|NUL character|surrogate pair"),
    Rule("spaces around a text do not count", detail="the text is empty or too short"),
    Rule("times end with the year 9990 and begin with 1970", detail="the year must be"),
)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Aim what is meant for the attack's own key, session or person at another: all that follows would be 401."""
    for name, value in dict(case.path_parameters or {}).items():
        if value in OWN_IDS:
            case.path_parameters[name] = OTHER_ID


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case[Any], response: Response
) -> bool:
    """Keep every failure but those that a rule accounts for."""
    if failure.code == REFUSED and response.status_code == 422:
        told = json.loads(response.content)
        return not any(_fits(rule, told) for rule in RULES)
    # The id of an agent in a body, drawn for another company than the one that was just made.
    return not (failure.code == NOT_FOUND and "there is no agent" in json.loads(response.content)["detail"])


def _fits(rule: Rule, told: dict[str, Any]) -> bool:
    return bool(re.search(rule.field, told.get("field") or "") and re.search(rule.detail, told["detail"]))
