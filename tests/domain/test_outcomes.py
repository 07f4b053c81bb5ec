"""What an answer, or the lack of one, means for a delivery."""

from __future__ import annotations

import pytest

from backend.domain.outcomes import Outcome, judge_fault, judge_status
from backend.errors import (
    AddressBlocked,
    BadBody,
    BodyTooLarge,
    ConnectionFailed,
    DeadlinePassed,
    OurFault,
    OutboundError,
    ResolverDown,
)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 202, 204, 299), Outcome("delivered", is_success=True)),
        ((300, 301, 302, 304, 307, 308), Outcome("redirected")),
        ((400, 401, 403, 404, 409, 422, 499), Outcome("refused")),
        ((410,), Outcome("gone", is_gone=True)),
        ((429, 502, 504), Outcome("throttled", is_throttled=True)),
        ((500, 501, 503, 599), Outcome("server_error")),
        ((100, 199, 600), Outcome("server_error")),
    ],
)
def test_a_status_is_sorted(statuses: tuple[int, ...], outcome: Outcome) -> None:
    assert {judge_status(status) for status in statuses} == {outcome}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (DeadlinePassed("x"), Outcome("timeout")),
        (ConnectionFailed("x"), Outcome("connection_failed")),
        (BodyTooLarge("x"), Outcome("answer_too_large")),
        (BadBody("x"), Outcome("bad_body")),
        (OutboundError("x"), Outcome("connection_failed")),
        (AddressBlocked("x"), Outcome("address_blocked", ours=True)),
        (ResolverDown("x"), Outcome("our_fault", ours=True)),
        (OurFault("x"), Outcome("our_fault", ours=True)),
    ],
)
def test_a_fault_is_sorted(fault: OutboundError, outcome: Outcome) -> None:
    assert judge_fault(fault) == outcome
