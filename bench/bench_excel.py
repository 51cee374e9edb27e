"""Workbooks: one sheet of 12 columns read into declared types, and written from them.

Peers give what a workbook holds (numbers, texts), ours the declared types, refusals apart: their outputs are compared by value.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import FIELDS, NAMES, digest, texts, typed
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 2
SCALE = 0.2
SHEET = "data"


def as_cells(number: int) -> dict[str, Any]:
    """One record as a workbook can hold it: decimals are doubles there, and times have no zone."""
    record = typed(texts(number))
    for name, kind in FIELDS.items():
        if kind.startswith("decimal"):
            record[name] = float(record[name])
        elif kind == "timestamp":
            record[name] = record[name].replace(tzinfo=None)
    return record


def prepare_workbook(data: Path, rows: int) -> None:
    import rustpy_xlsxwriter

    rustpy_xlsxwriter.write_worksheet([as_cells(n) for n in range(rows)], str(data / "in.xlsx"), SHEET)


def prepare_records(data: Path, rows: int) -> None:
    from pyarrow import parquet

    parquet.write_table(ours.table(range(rows)), data / "in.parquet")


def connector(folder: Path, path: str) -> Any:
    from sync_provider.connectors.files.excel_connector import ExcelConnector
    from sync_provider.connectors.files.root import FileRoot
    from sync_provider.core.endpoints import ExcelEndpoint
    from sync_provider.engine.clock import SystemClock

    return ExcelConnector(ExcelEndpoint(type="excel", path=path), FileRoot(str(folder)), SystemClock())


def read_ours(job: Job) -> None:
    import pyarrow as pa
    from sync_provider.connectors.base import ReadRequest
    from sync_provider.engine.transform import Conversion

    ours.warm()
    mapping = ours.mapping(source={"type": "excel", "path": "in.xlsx"})
    with job.work(), connector(job.data, "in.xlsx") as source, Conversion.for_source(mapping) as conversion:
        found = []
        for raw in source.read(ReadRequest(columns=conversion.columns)):
            converted = conversion.convert(raw)
            if raw.rejections or converted.rejections:
                raise RuntimeError("records were refused")
            found.append(converted.records)
    rows = pa.Table.from_batches(found).select(list(NAMES)).to_pylist()
    keep(job, [list(row.values()) for row in rows])


def read_calamine(job: Job) -> None:
    import python_calamine

    with job.work():
        rows = python_calamine.load_workbook(str(job.data / "in.xlsx")).get_sheet_by_index(0).to_python()
    keep(job, rows[1:])


def read_openpyxl(job: Job) -> None:
    import openpyxl

    with job.work():
        book = openpyxl.load_workbook(job.data / "in.xlsx", read_only=True)
        rows = list(book.active.iter_rows(values_only=True))
    keep(job, rows[1:])


def read_pandas(job: Job) -> None:
    import pandas as pd
    import python_calamine  # noqa: F401

    with job.work():
        frame = pd.read_excel(job.data / "in.xlsx", engine="calamine", dtype={"code": str})
    keep(job, [[None if pd.isna(value) else value for value in row] for row in frame.itertuples(index=False)])


def keep(job: Job, rows: Any) -> None:
    with (job.out / "rows.pickle").open("wb") as file:
        pickle.dump(rows, file)


def read_digest(name: str, data: Path, out: Path) -> str:
    del name, data
    rows = pickle.loads((out / "rows.pickle").read_bytes())
    # No cell of ours holds an empty text: '' is how calamine says that a cell is empty.
    return digest([None if value == "" else value for value in row] for row in rows)


def write_ours(job: Job) -> None:
    from sync_provider.connectors.base import TargetColumn, WriteRequest
    from sync_provider.core.schema import parse_type
    from sync_provider.engine.planning import as_inserts

    ours.warm()
    table = records(job)
    columns = tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in FIELDS.items())
    with job.work(), connector(job.out, "out.xlsx") as target:
        target.write(
            WriteRequest(mode="replace", columns=columns),
            as_inserts(table.to_batches(ours.BATCH), list(NAMES), table.schema),
        )


def write_openpyxl(job: Job) -> None:
    import openpyxl

    rows = [list(as_cells(number).values()) for number in range(job.rows)]
    with job.work():
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet(SHEET)
        sheet.append(NAMES)
        for row in rows:
            sheet.append(row)
        book.save(job.out / "out.xlsx")


def write_rust(job: Job) -> None:
    import rustpy_xlsxwriter

    rows = [as_cells(number) for number in range(job.rows)]
    with job.work():
        rustpy_xlsxwriter.write_worksheet(rows, str(job.out / "out.xlsx"), SHEET)


def records(job: Job) -> Any:
    from pyarrow import parquet

    return parquet.read_table(job.data / "in.parquet")


def write_digest(name: str, data: Path, out: Path) -> str:
    del name, data
    import python_calamine

    rows = python_calamine.load_workbook(str(out / "out.xlsx")).get_sheet_by_index(0).to_python()[1:]
    return digest([None if value == "" else value for value in row] for row in rows)


BENCHMARKS = (
    Benchmark(
        name="excel-read",
        title="Excel, read one sheet",
        prepare=prepare_workbook,
        scale=SCALE,
        fingerprint=read_digest,
        candidates=(
            Candidate("sync_provider", read_ours, ours=True),
            Candidate("python-calamine, rows", read_calamine),
            Candidate("pandas + calamine", read_pandas),
            Candidate("openpyxl read_only", read_openpyxl),
        ),
        goals=(Goal("≤ 1.2 × the fastest, declared types exact", 1.2),),
    ),
    Benchmark(
        name="excel-write",
        title="Excel, write one sheet",
        prepare=prepare_records,
        scale=SCALE,
        fingerprint=write_digest,
        candidates=(
            Candidate("sync_provider", write_ours, ours=True),
            Candidate("rustpy-xlsxwriter, dicts", write_rust),
            Candidate("openpyxl write_only", write_openpyxl),
        ),
        goals=(Goal("≤ 2 × the fastest, doubles exact, dates real", 2.0),),
    ),
)
