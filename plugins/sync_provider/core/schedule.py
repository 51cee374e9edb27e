"""What a mapping's ``schedule``, ``timezone`` and ``start_date`` may say. No I/O beyond the time zone database.

Cron is judged by croniter, which Airflow's own timetables use.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

from sync_provider.core.durations import parse_duration

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
REALTIME = "realtime"
ACCEPTED = (
    'a cron expression such as "*/15 * * * *", a preset such as "@daily", an ISO 8601 duration such as PT15M, '
    "realtime, null, or {assets: [uri, …], cron: …}"
)
SHORTEST = timedelta(seconds=1)

_DRAWN = re.compile(r"(?i)(?<![a-z])[hr](?![a-z])")  # croniter's hashed and random fields
_OF_THIS_MACHINE = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule, told apart.

    Args:
        kind: ``none`` (started by hand only), ``cron``, ``preset``, ``duration``, ``realtime``, or ``assets``.
        text: the cron expression or the preset; with ``assets`` the cron expression beside them, if any.
        every: for ``duration``, > 0.
        assets: for ``assets``, at least one URI.
    """

    kind: Literal["none", "cron", "preset", "duration", "realtime", "assets"]
    text: str | None = None
    every: timedelta | None = None
    assets: tuple[str, ...] = ()


def parse_schedule(text: str | None) -> Schedule:
    """Tell a schedule's text apart.

    >>> parse_schedule("PT15M")
    Schedule(kind='duration', text=None, every=datetime.timedelta(seconds=900), assets=())

    Raises:
        ValueError: it is none of them; the message says what is accepted.
    """
    if text is None:
        return Schedule("none")
    if text == REALTIME:
        return Schedule("realtime")
    if text.startswith("@"):
        return Schedule("preset", check_preset(text))
    if text.startswith("P"):
        every = parse_duration(text)
        if every < SHORTEST:
            raise ValueError(f"{text!r} is shorter than one second")
        return Schedule("duration", every=every)
    return Schedule("cron", check_cron(text))


def check_preset(text: str) -> str:
    """Return ``text`` if Airflow knows this preset.

    Raises:
        ValueError: it does not.
    """
    if text not in PRESETS:
        nearest = get_close_matches(text.lower(), PRESETS, n=1)
        meant = f"did you mean {nearest[0]}?" if nearest else f"presets are {', '.join(PRESETS)}"
        raise ValueError(f"{text[:60]!r} is no preset; {meant}")
    return text


@lru_cache(maxsize=1024)
def check_cron(text: str) -> str:
    """Return ``text`` if it is a five-field cron expression that comes true at some time.

    Raises:
        ValueError: it is not.
    """
    # Imported late: it costs more than reading a mapping, and many have no cron expression.
    from croniter import CroniterBadDateError, CroniterError, croniter

    if len(text.split()) != 5:
        raise ValueError(f"{text[:60]!r} is not {ACCEPTED}")
    if _DRAWN.search(text):
        raise ValueError(f"{text[:60]!r} leaves the time to be drawn (H, R); write it out")
    try:
        croniter(text, datetime(2025, 1, 1, tzinfo=UTC)).get_next(datetime)
    except CroniterBadDateError as error:
        raise ValueError(f"{text[:60]!r} is a date that never comes") from error
    except (CroniterError, ValueError, IndexError) as error:
        raise ValueError(f"{text[:60]!r} is no cron expression: {error}") from error
    return text


@lru_cache(maxsize=256)
def check_timezone(name: str) -> str:
    """Return ``name`` if the time zone database has it.

    Raises:
        ValueError: it has not; the message names the nearest one.
    """
    try:
        if name not in _OF_THIS_MACHINE:
            zoneinfo.ZoneInfo(name)
            return name
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = sorted(zoneinfo.available_timezones() - _OF_THIS_MACHINE)
    by_city = [zone for zone in known if zone.rpartition("/")[2].lower() == name.lower()]
    nearest = by_city or get_close_matches(name[:100], known, n=1)
    meant = f"did you mean {nearest[0]}?" if nearest else "write a name such as Europe/Paris or UTC"
    raise ValueError(f"{name[:60]!r} is no time zone; {meant}")


def check_start_date(text: str) -> str:
    """Return ``text`` if it is a date such as 2025-01-31.

    Raises:
        ValueError: it is not.
    """
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError(f"{text[:60]!r} is no date such as 2025-01-31")
