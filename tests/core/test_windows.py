"""When quotas begin anew."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.windows import DAY, HOUR, MONTH, WEEK, WINDOWS, window_at

BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")  # UTC+05:45
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Asia/Beirut")


def at(text: str, zone: dt.tzinfo) -> int:
    """Return an instant of a zone's clock, in epoch microseconds."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 10**6


@pytest.mark.parametrize(
    ("period", "zone", "now", "began", "ends"),
    [
        (DAY, dt.UTC, "2026-05-23T12:00", "2026-05-23", "2026-05-24"),
        (DAY, dt.UTC, "2026-05-23T00:00", "2026-05-23", "2026-05-24"),
        (DAY, dt.UTC, "2026-05-23T23:59:59", "2026-05-23", "2026-05-24"),
        (DAY, BERLIN, "2026-03-29T12:00", "2026-03-29", "2026-03-30"),
        (DAY, BERLIN, "2026-10-25T12:00", "2026-10-25", "2026-10-26"),
        (HOUR, KATHMANDU, "2026-05-23T12:10", "2026-05-23T12:00", "2026-05-23T13:00"),
        (HOUR, dt.UTC, "2026-05-23T12:59:59", "2026-05-23T12:00", "2026-05-23T13:00"),
        (WEEK, BERLIN, "2026-05-24T23:00", "2026-05-18", "2026-05-25"),
        (WEEK, BERLIN, "2026-05-25T00:00", "2026-05-25", "2026-06-01"),
        (MONTH, BERLIN, "2026-12-31T23:59", "2026-12-01", "2027-01-01"),
        (MONTH, dt.UTC, "2028-02-29T01:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_a_window(
    period: int, zone: dt.tzinfo, now: str, began: str, ends: str
) -> None:
    """It begins and ends by the clock on the wall."""
    assert window_at(period, zone, at(now, zone)) == (at(began, zone), at(ends, zone))


def test_a_day_may_be_longer_or_shorter() -> None:
    """When the clocks change, so that the quota does not begin anew at one o'clock."""
    days = [
        window_at(DAY, BERLIN, at(f"{day}T12:00", BERLIN))
        for day in ("2026-03-29", "2026-10-25")
    ]

    assert [(ends - began) // HOUR for began, ends in days] == [23, 25]


@given(
    period=st.sampled_from(sorted(WINDOWS.values())),
    zone=st.sampled_from(ZONES),
    now_us=st.integers(0, 4_000_000_000 * 10**6),
)
def test_windows_follow_each_other(period: int, zone: str, now_us: int) -> None:
    """Every instant is in one window, and where it ends the next one begins."""
    began, ends = window_at(period, ZoneInfo(zone), now_us)

    assert began <= now_us < ends
    assert window_at(period, ZoneInfo(zone), ends)[0] == ends
    assert window_at(period, ZoneInfo(zone), ends - 1) == (began, ends)
