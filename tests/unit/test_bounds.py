"""Which part of a source a run reads, and what may move the cursor."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sync_provider.core.canonical import write_text
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncDataError
from sync_provider.core.mapping import Mapping
from sync_provider.engine.keys import key_texts
from sync_provider.engine.phases.bounds import bounds_for


def mapping(kind: str | None = "timestamp", lookback: str = "PT0S") -> Mapping:
    return Mapping.model_validate(
        {
            "version": 1,
            "id": "sample",
            "mode": "import",
            "source": {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "t"},
            "key": ["code"],
            "fields": [
                {"source": "Code", "destination": "code"},
                {"source": "At", "destination": "at", "type": kind or "timestamp"},
            ],
            "incremental": {"cursor": "at", "lookback": lookback} if kind else None,
        }
    )


NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)


def test_the_first_run_reads_everything_and_moves_the_cursor() -> None:
    bounds = bounds_for(mapping(), RunParams(), None, None)
    assert (bounds.since, bounds.until, bounds.live) == (None, None, True)


def test_a_later_run_reads_from_the_cursor_inclusively_and_further_with_a_lookback() -> None:
    stored = write_text(NOON)
    assert bounds_for(mapping(), RunParams(), stored, None).since == NOON
    assert bounds_for(mapping(lookback="PT10M"), RunParams(), stored, None).since == datetime(
        2025, 1, 31, 11, 50, tzinfo=UTC
    )
    assert bounds_for(mapping("date", "P2D"), RunParams(), "2025-01-31", None).since == date(2025, 1, 29)


def test_a_number_is_followed_from_where_it_stood() -> None:
    assert bounds_for(mapping("decimal(6,2)"), RunParams(), "12.50", None).since == Decimal("12.50")


@pytest.mark.parametrize(
    ("params", "live"),
    [
        (RunParams(full_refresh=True), True),
        (RunParams(limit=5), False),
        (RunParams(keys=("a",)), False),
        (RunParams(since="2025-01-01T00:00:00Z"), False),
        (RunParams(until="2025-01-01T00:00:00+01:00"), False),
    ],
)
def test_only_a_run_that_reads_all_there_is_moves_the_cursor(params: RunParams, live: bool) -> None:
    assert bounds_for(mapping(), params, None, None).live is live


def test_a_backfill_reads_its_interval_and_leaves_the_cursor_alone() -> None:
    interval = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))
    bounds = bounds_for(mapping(), RunParams(), write_text(NOON), interval)
    assert (bounds.since, bounds.until, bounds.live) == (*interval, False)


def test_a_backfill_needs_a_cursor_of_time() -> None:
    interval = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))
    with pytest.raises(SyncDataError, match="needs a cursor"):
        bounds_for(mapping(None), RunParams(), None, interval)
    with pytest.raises(SyncDataError, match="intervals of time"):
        bounds_for(mapping("integer"), RunParams(), None, interval)


def test_a_bound_that_does_not_fit_says_how_to_write_it() -> None:
    with pytest.raises(SyncDataError, match=r"'31/01/2025' is no timestamp\. Give a timestamp with its zone"):
        bounds_for(mapping(), RunParams(since="31/01/2025"), None, None)


def test_selection_is_inclusive_below_exclusive_above_and_leaves_out_nulls() -> None:
    values: list[Any] = [datetime(2025, 1, 1, tzinfo=UTC), NOON, None]
    batch = pa.RecordBatch.from_pydict({"code": ["a", "b", "c"], "at": pa.array(values, pa.timestamp("us", "UTC"))})
    bounds = bounds_for(mapping(), RunParams(since="2025-01-01T00:00:00Z", until=write_text(NOON)), None, None)
    assert bounds.select(batch).column("code").to_pylist() == ["a"]
    assert bounds_for(mapping(), RunParams(), None, None).select(batch).num_rows == 3


def test_key_texts_are_canonical_and_null_where_a_part_is() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"a": ["x", None], "b": [Decimal("1.50"), Decimal(2)], "c": [True, False], "d": [date(2024, 2, 29)] * 2}
    )
    assert key_texts(batch, ("a", "b", "c", "d"), "|") == ["x|1.50|true|2024-02-29", None]
