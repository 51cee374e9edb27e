"""Local times agree with `zoneinfo`, before and after 2037."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from sync_provider.connectors.local_times import local_times

ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2600, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.lists(st.none() | MOMENTS, max_size=10), ZONES)
@example([datetime(2038, 4, 1, tzinfo=UTC), None], "Europe/Paris")
@example([datetime(2040, 10, 28, 0, 30, tzinfo=UTC), datetime(2040, 10, 28, 1, 30, tzinfo=UTC)], "Europe/Paris")
def test_what_clocks_show_is_what_zoneinfo_says(moments: list[datetime | None], zone: str) -> None:
    shown, twice = local_times(pa.array(moments, pa.timestamp("us", "UTC")), zone)
    for moment, local, repeated in zip(moments, shown.to_pylist(), twice.to_pylist(), strict=True):
        if moment is None:
            assert (local, repeated) == (None, None)
            continue
        expected = moment.astimezone(ZoneInfo(zone))
        assert local == expected.replace(tzinfo=None)
        assert repeated == (len({expected.replace(fold=fold).utcoffset() for fold in (0, 1)}) > 1)
