"""Dates as Sheets counts them: days since 1899-12-30, the fraction being the time of day."""

from __future__ import annotations

from datetime import datetime, timedelta

_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a serial has no zone of its own
MICROSECONDS = 86_400_000_000


def to_serial(moment: datetime) -> float:
    """The serial of a local time.

    >>> to_serial(datetime(2020, 1, 1))
    43831.0
    """
    gap = moment.replace(tzinfo=None) - _EPOCH
    return gap.days + (gap.seconds * 1_000_000 + gap.microseconds) / MICROSECONDS


def from_serial(serial: float) -> datetime | None:
    """The local time of a serial, to the millisecond; None beyond the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(milliseconds=round(serial * 86_400_000))
    except OverflowError:
        return None
