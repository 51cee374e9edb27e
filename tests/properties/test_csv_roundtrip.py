"""What the CSV connector writes, it reads back equal: every type, dialect and encoding; or it refuses the record."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from contract.harness import FixedClock, changes
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.connectors.base import ColumnRequest, ReadRequest, TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import typed
from sync_provider.connectors.files.csv_connector import CsvConnector
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.canonical import read_text
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import MappingError
from sync_provider.core.schema import parse_type

COLUMNS = tuple(
    TargetColumn(name=name, type=parse_type(kind))
    for name, kind in {
        "key": "string",
        "text": "string",
        "whole": "integer",
        "money": "decimal(20,4)",
        "tiny": "decimal(38,20)",
        "real": "double",
        "truth": "boolean",
        "day": "date",
        "moment": "timestamp",
        "document": "json",
    }.items()
)

TEXT = st.text(st.sampled_from("ab01'=+-@\t\r\n\"';,| é€ß\u00a0日"), max_size=6) | st.text(max_size=5)
RECORDS = st.fixed_dictionaries(
    {
        "text": st.none() | TEXT,
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "money": st.none() | st.decimals(-(10**15), 10**15, places=4, allow_nan=False),
        "tiny": st.none() | st.decimals(-1, 1, places=20, allow_nan=False),
        "real": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "truth": st.none() | st.booleans(),
        "day": st.none() | st.dates(),
        "moment": st.none() | st.datetimes(timezones=st.just(UTC)),
        "document": st.none() | st.sampled_from(['{"a": "x;y"}', "-5", '"=1"', "[]", "null"]),
    }
)
ENDPOINTS = st.fixed_dictionaries(
    {
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1", "utf-16-be"]),
        "delimiter": st.sampled_from([",", ";", "\t", "|", "§", " ", "'", "-"]),
        "quote": st.sampled_from(['"', '"', "'", None]),
        "decimal": st.sampled_from([".", ","]),
        "date_order": st.sampled_from(["ymd", "dmy", "mdy"]),
        "null_values": st.sampled_from([(), ("NULL",), ("", "a")]),
        "formulas": st.sampled_from(["escape", "keep"]),
        "line_end": st.sampled_from(["\n", "\r\n"]),
        "header_row": st.sampled_from([1, 1, 3]),
    }
)


class Files:
    """A directory and a connector on one file in it."""

    def __init__(self, directory: str, options: dict[str, Any]) -> None:
        endpoint = CsvEndpoint.model_validate({"type": "csv", "path": "data.csv", **options})
        self.connector = CsvConnector(endpoint, FileRoot(directory), FixedClock())

    def write(self, mode: Any, *rows: Any) -> WriteResult:
        request = WriteRequest(mode=mode, columns=COLUMNS, key=("key",))
        return self.connector.write(request, changes(*rows, columns=COLUMNS, rows_per_batch=3))

    def read(self) -> list[dict[str, Any]]:
        request = ReadRequest(columns=tuple(ColumnRequest(name=c.name, type=c.type) for c in COLUMNS))
        rows = []
        for batch in self.connector.read(request):
            assert batch.rejections == []
            rows += batch.records.to_pylist()
        return [
            {c.name: None if r[c.name] is None else read_text(r[c.name], c.type, UTC) for c in COLUMNS} for r in rows
        ]


def keyed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": f"k{n}", **record} for n, record in enumerate(records)]


def as_read(record: dict[str, Any]) -> dict[str, Any]:
    """JSON comes back in its normal spelling."""
    document = record["document"]
    return {**record, "document": None if document is None else read_text(document, COLUMNS[-1].type, UTC)}


def endpoint_exists(options: dict[str, Any]) -> bool:
    try:
        with tempfile.TemporaryDirectory() as directory:
            Files(directory, options)
    except MappingError:
        return False
    return True


@given(st.lists(RECORDS, max_size=5).map(keyed), ENDPOINTS.filter(endpoint_exists))
def test_every_record_reads_back_equal_or_is_refused(records, options) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = Files(directory, options)
        result = files.write("replace", *(("insert", record, None) for record in records))
        refused = {rejection.key for rejection in result.rejections}
        assert files.read() == [as_read(r) for r in records if r["key"] not in refused]
        assert result.inserted == len(records) - len(refused)


@given(st.lists(RECORDS, min_size=1, max_size=5).map(keyed))
def test_the_default_conventions_refuse_nothing_but_nul(records) -> None:
    with tempfile.TemporaryDirectory() as directory:
        result = Files(directory, {}).write("append", *(("insert", record, None) for record in records))
    assert [r.key for r in result.rejections] == [r["key"] for r in records if "\x00" in (r["text"] or "")]


@given(
    st.lists(st.tuples(RECORDS, RECORDS, st.sampled_from(["insert", "update", "delete", "same"])), max_size=6),
    ENDPOINTS.filter(endpoint_exists),
)
def test_keyed_changes_give_the_records_that_they_say(steps, options) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = Files(directory, options)
        old = keyed([before for before, _, _ in steps])
        new = keyed([after for _, after, _ in steps])
        present = [o for o, (_, _, what) in zip(old, steps, strict=True) if what != "insert"]
        refused = {r.key for r in files.write("replace", *(("insert", o, None) for o in present)).rejections}
        stream, expected = [], {o["key"]: o for o in present if o["key"] not in refused}
        for o, n, (_, _, what) in zip(old, new, steps, strict=True):
            if o["key"] in refused:
                continue
            if what == "insert":
                stream.append(("insert", n, None))
                expected[n["key"]] = n
            elif what == "update":
                stream.append(("update", n, o))
                expected[n["key"]] = n
            elif what == "delete":
                stream.append(("delete", None, o))
                del expected[o["key"]]
        result = files.write("upsert", *stream)
        for rejection in result.rejections:
            before = next(o for o in old if o["key"] == rejection.key)
            if before in present:
                expected[before["key"]] = before
            else:
                del expected[before["key"]]
        assert result.deferred_keys == []
        by_key = {record["key"]: record for record in files.read()}
        assert by_key == {key: as_read(record) for key, record in expected.items()}


TYPED = st.one_of(
    st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{0,4})?([eE][0-9]{1,2})?", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,7})?)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?",
        fullmatch=True,
    ),
    st.sampled_from(["true", "false", "1", "0x1F", "", "inf", "nan", '{"a": 1}']),
)


@given(
    st.lists(st.none() | TYPED, max_size=5),
    st.sampled_from(["integer", "decimal(12,2)", "double", "boolean", "date", "timestamp"]),
)
def test_comparing_reads_canonical_text_as_its_definition_does(texts, kind) -> None:
    type_, zone = parse_type(kind), ZoneInfo("Europe/Paris")
    values, unfit = typed(pa.array([t or None for t in texts], pa.string()), type_, zone)
    for text, value, bad in zip(texts, values.to_pylist(), unfit.to_pylist(), strict=True):
        try:
            expected = read_text(text, type_, zone) if text else None
            assert (value, bad) == (expected, False)
        except ValueError:
            assert (value, bad) == (None, True)


def test_a_decimal_is_never_a_float_on_the_way(tmp_path) -> None:
    files = Files(str(tmp_path), {"decimal": ",", "delimiter": ";"})
    record = {"key": "1", **dict.fromkeys(c.name for c in COLUMNS[1:]), "tiny": Decimal("0.12345678901234567891")}
    files.write("replace", ("insert", record, None))
    assert "0,12345678901234567891" in (tmp_path / "data.csv").read_text()
    assert files.read()[0]["tiny"] == Decimal("0.12345678901234567891")


def test_dates_and_instants_at_the_ends_of_the_calendar(tmp_path) -> None:
    files = Files(str(tmp_path), {"date_order": "dmy"})
    empty = dict.fromkeys(c.name for c in COLUMNS)
    records = [
        {**empty, "key": "1", "day": date(1, 1, 1), "moment": datetime(1, 1, 1, tzinfo=UTC)},
        {
            **empty,
            "key": "2",
            "day": date(9999, 12, 31),
            "moment": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        },
        {**empty, "key": "3", "day": date(2024, 2, 29), "moment": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)},
    ]
    files.write("replace", *(("insert", r, None) for r in records))
    assert files.read() == records


@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(tmp_path, special) -> None:
    record = {**dict.fromkeys(c.name for c in COLUMNS), "key": "1", "real": special}
    result = Files(str(tmp_path), {}).write("replace", ("insert", record, None))
    assert [(r.rule, r.field, r.key) for r in result.rejections] == [("out_of_range", "real", "1")]
