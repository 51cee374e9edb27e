"""ISO 8601 durations with a fixed length. No I/O."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(
    r"P(?!$)(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,6}(?:\.\d{1,6})?)S)?)?"
)


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of weeks, days, hours, minutes and seconds.

    Years and months are refused: their length depends on the calendar.

    >>> parse_duration("P1DT30M")
    datetime.timedelta(days=1, seconds=1800)

    Raises:
        ValueError: the text is no such duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no ISO 8601 duration such as PT10M, PT24H or P1D (years and months vary: use days)"
        )
    return timedelta(**{unit: float(amount) for unit, amount in match.groupdict(default="0").items()})
