"""Instants as what clocks show, a whole Arrow column at a time. No I/O.

Arrow's conversion follows the transitions that the time zone database lists, which end in 2037: later summers have no daylight
saving time for it. `zoneinfo` follows the rule behind them, and so does everything that reads these times back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_LIST_ENDS_US = (datetime(2037, 1, 1, tzinfo=UTC) - _EPOCH) // _US
# Python's calendar ends with the year 9999; what is shown beyond is for the caller to refuse.
_CALENDAR_ENDS_US = (datetime(9999, 12, 30, tzinfo=UTC) - _EPOCH) // _US


def local_times(instants: pa.Array, zone: str) -> tuple[pa.Array, pa.Array]:
    """What clocks in a zone show at these instants.

    Args:
        instants: timestamps with a zone, any unit up to µs; may hold nulls.
        zone: IANA name.

    Returns:
        Timestamps in µs without zone; and a mask of those that the clocks show twice, which do not lead back to one instant.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    local = pc.local_timestamp(instants.cast(pa.timestamp("us", zone)))
    first, second = (
        pc.assume_timezone(local, zone, ambiguous=side, nonexistent=side).cast(pa.int64())
        for side in ("earliest", "latest")
    )
    twice = pc.not_equal(first, second)
    micros = instants.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    late = pc.and_(pc.greater_equal(micros, _LIST_ENDS_US), pc.less(micros, _CALENDAR_ENDS_US))
    late = pc.fill_null(late, fill_value=False)
    if not pc.any(late).as_py():
        return local, twice
    ruled = [_by_rule(value, ZoneInfo(zone)) for value in micros.filter(late).to_pylist()]
    shown = pc.replace_with_mask(local.cast(pa.int64()), late, pa.array([each[0] for each in ruled], pa.int64()))
    return shown.cast(pa.timestamp("us")), pc.replace_with_mask(twice, late, pa.array([each[1] for each in ruled]))


def _by_rule(micros: int, zone: Any) -> tuple[int, bool]:
    """Local µs since 1970, and whether clocks show that time twice."""
    local = (_EPOCH + micros * _US).astimezone(zone)
    offsets = {local.replace(fold=fold).utcoffset() for fold in (0, 1)}
    return (local.replace(tzinfo=UTC) - _EPOCH) // _US, len(offsets) > 1
