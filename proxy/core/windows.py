"""When a quota begins anew: on the hour, at midnight, on Monday, on the first.

By the calendar of a time zone, in which a day may have 23 or 25 hours. Where midnight
does not exist or exists twice, it is the instant that Python gives it (PEP 495).
"""

import datetime as dt
from typing import Final

_SECOND: Final = 1_000_000
HOUR: Final = 3600 * _SECOND
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
MONTH: Final = 30 * DAY
"""Names of windows, as long as they usually are, in microseconds."""

WINDOWS: Final = {"hour": HOUR, "day": DAY, "week": WEEK, "month": MONTH}


def window_at(period_us: int, zone: dt.tzinfo, now_us: int) -> tuple[int, int]:
    """Return when the window of this instant began and when it ends.

    Args:
        period_us: HOUR, DAY, WEEK or MONTH.
        zone: whose calendar.
        now_us: epoch microseconds.

    Returns:
        Both in epoch microseconds; the window is without its end.

    Example:
        >>> window_at(DAY, dt.UTC, 90_000 * 1_000_000)
        (86400000000, 172800000000)
    """
    seconds = now_us // _SECOND
    if period_us == HOUR:
        # Offsets of half an hour shift the hours; changes of the clock do not.
        offset = dt.datetime.fromtimestamp(seconds, zone).utcoffset() or dt.timedelta()
        shift = int(offset.total_seconds()) % 3600
        began = (seconds + shift) // 3600 * 3600 - shift
        return began * _SECOND, (began + 3600) * _SECOND
    day = dt.datetime.fromtimestamp(seconds, zone).date()
    if period_us == WEEK:
        day -= dt.timedelta(days=day.weekday())
        after = day + dt.timedelta(days=7)
    elif period_us == MONTH:
        day = day.replace(day=1)
        after = (day + dt.timedelta(days=31)).replace(day=1)
    else:
        after = day + dt.timedelta(days=1)
    return _midnight(day, zone), _midnight(after, zone)


def _midnight(day: dt.date, zone: dt.tzinfo) -> int:
    start = dt.datetime.combine(day, dt.time(), zone)
    return int(start.timestamp()) * _SECOND
