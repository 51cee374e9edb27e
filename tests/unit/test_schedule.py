"""Schedules, time zones and start dates: what is accepted, and what a refusal says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sync_provider.core.schedule import Schedule, check_start_date, check_timezone, parse_schedule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Schedule("none")),
        ("realtime", Schedule("realtime")),
        ("@daily", Schedule("preset", "@daily")),
        ("@once", Schedule("preset", "@once")),
        ("PT15M", Schedule("duration", every=timedelta(minutes=15))),
        ("P1DT2H", Schedule("duration", every=timedelta(days=1, hours=2))),
        ("*/15 * * * *", Schedule("cron", "*/15 * * * *")),
        ("0 6 * MAR,APR MON-FRI", Schedule("cron", "0 6 * MAR,APR MON-FRI")),
        ("0 0 L * *", Schedule("cron", "0 0 L * *")),
        ("0 0 29 2 *", Schedule("cron", "0 0 29 2 *")),
    ],
)
def test_every_kind_of_schedule_is_told_apart(text: str | None, expected: Schedule) -> None:
    assert parse_schedule(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an ISO 8601 duration such as PT15M"),
        ("every day", "a preset such as"),
        ("@dayly", "did you mean @daily?"),
        ("@nonsense", "presets are @once"),
        ("P1M", "use days"),
        ("PT0S", "shorter than one second"),
        ("0 25 * * *", "no cron expression"),
        ("60 * * * *", "no cron expression"),
        ("*/0 * * * *", "no cron expression"),
        ("0 0 31 2 *", "never comes"),
        ("* * * * * *", "is not a cron expression"),
        ("H * * * *", "write it out"),
        ("R R * * *", "write it out"),
        ("R(1-5) 0 * * *", "write it out"),
        ("１ * * * *", "no cron expression"),
    ],
)
def test_a_refused_schedule_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        parse_schedule(text)


@pytest.mark.parametrize("name", ["Europe/Paris", "UTC", "America/Argentina/Buenos_Aires"])
def test_time_zones_go_by_their_names(name: str) -> None:
    assert check_timezone(name) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Europe/Pariss", "did you mean Europe/Paris"),
        ("paris", "did you mean Europe/Paris"),
        ("../../etc/passwd", "no time zone"),
        ("/etc/localtime", "no time zone"),
        ("localtime", "no time zone"),
        ("", "no time zone"),
        ("a\0b", "no time zone"),
        ("é" * 500, "no time zone"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_timezone(name)


def test_a_start_date_is_a_whole_date_and_nothing_else() -> None:
    assert check_start_date("2024-02-29") == "2024-02-29"
    for text in ("2025-02-29", "20250101", "2025-W01-1", "2025-01-01T00:00", "x", ""):
        with pytest.raises(ValueError, match="no date such as"):
            check_start_date(text)
