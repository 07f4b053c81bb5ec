"""The availability page goes on telling of the faults that a run was not asked for."""

from __future__ import annotations

from typing import Any

from benchmarks.chaos_recovery import availability

EARLIER: list[dict[str, Any]] = [
    {"fault": "Redis killed", "seconds": [1.0, 5.0], "seed": 7},
    {"fault": "worker killed", "seconds": [90.0]},
]


def test_an_earlier_fault_stands_until_it_strikes_again() -> None:
    outcome = availability({"worker killed": [10.0, 12.0, 11.0]}, 8, EARLIER)
    assert [row[:4] + row[5:] for row in outcome.rows] == [
        ["worker killed", "3", "11.0", "12.0", "8"],
        ["Redis killed", "2", "3.0", "5.0", "7"],
        ["all of them", "", "", "17.0", ""],
    ]


def test_a_day_with_every_fault_must_stay_above_what_is_wanted() -> None:
    assert availability({"a": [259.0]}, 1, []).violations == []
    assert availability({"a": [259.0], "b": [1.0]}, 1, []).violations == ["99.699% is less than 99.7%"]
