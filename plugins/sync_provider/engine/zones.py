"""Local times to instants, a whole Arrow column at a time.

The rules are Python's `zoneinfo` (see `core.canonical.to_instant`): Arrow's own conversion knows no daylight saving time
after 2037 and needs the operating system's time zone files.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from sync_provider.core.canonical import to_instant

if TYPE_CHECKING:
    import pyarrow as pa

_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = -62_135_596_800_000_000  # 0001-01-01T00:00:00
LAST_US = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999
_MAX_DAYS_KEPT = 100_000


class LocalClock:
    """Clocks of one time zone. Days without a change of clocks are converted by one subtraction per value."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offsets_us: dict[int, int | None] = {}

    def to_utc(self, local: Any) -> pa.Array:
        """Instants at which clocks show the given times.

        Args:
            local: timestamps in µs without zone.

        Returns:
            Timestamps in µs, UTC; null where clocks skip the time, show it twice, or the instant is outside the years 1
            to 9999.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        micros = local.cast(pa.int64())
        days = pc.floor_temporal(local, unit="day").cast(pa.int64()).dictionary_encode()
        by_day = pa.array(
            [None if day is None else self._offset_us(day) for day in days.dictionary.to_pylist()], pa.int64()
        )
        instants = pc.subtract(micros, by_day.take(days.indices))
        if instants.null_count > micros.null_count:
            instants = self._one_by_one(micros, instants)
        return within_calendar(instants).cast(pa.timestamp("us", tz="UTC"))

    def _offset_us(self, day_us: int) -> int | None:
        """Offset from UTC throughout one local day; None where it changes within the day."""
        if day_us not in self._offsets_us:
            if len(self._offsets_us) >= _MAX_DAYS_KEPT:
                self._offsets_us.clear()
            self._offsets_us[day_us] = self._find_offset_us(day_us)
        return self._offsets_us[day_us]

    def _find_offset_us(self, day_us: int) -> int | None:
        offsets = set()
        try:
            start = _EPOCH + timedelta(microseconds=day_us)
            for hours in (0, 12, 24):
                moment = (start + timedelta(hours=hours)).replace(tzinfo=self._zone)
                offsets |= {moment.replace(fold=fold).utcoffset() for fold in (0, 1)}
        except OverflowError:
            return None
        only = offsets.pop()
        return None if offsets else (only or timedelta(0)) // timedelta(microseconds=1)

    def _one_by_one(self, micros: Any, instants: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        open_ = pc.and_(pc.is_valid(micros), pc.is_null(instants))
        return pc.replace_with_mask(
            instants, open_, pa.array(map(self._one, micros.filter(open_).to_pylist()), pa.int64())
        )

    def _one(self, local_us: int) -> int | None:
        try:
            instant = to_instant(_EPOCH + timedelta(microseconds=local_us), self._zone)
        except (ValueError, OverflowError):
            return None
        return (instant - _EPOCH_UTC) // timedelta(microseconds=1)


def within_calendar(micros: Any) -> Any:
    """The same µs since 1970, null where outside the years 1 to 9999, which dates in Python and SQL cannot hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.min_max(micros).as_py()
    if ends["min"] is None or (ends["min"] >= FIRST_US and ends["max"] <= LAST_US):
        return micros
    inside = pc.and_(pc.greater_equal(micros, FIRST_US), pc.less_equal(micros, LAST_US))
    return pc.if_else(inside, micros, pa.scalar(None, pa.int64()))
