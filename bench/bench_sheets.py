"""Google Sheets, against the sandbox in a process of its own: one tab of 12 columns read, written, and edited here and there.

*Work* is the client's own CPU time: the sandbox is no Google, and how long it takes means nothing. Requests, and the largest body and reply
in bytes, are the sandbox's counts.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import FIELDS, NAMES, digest, texts, typed
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 7
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - on a spreadsheet's clocks
_PART = 10_000  # rows written at once to prepare a tab


@contextmanager
def server() -> Iterator[dict[str, str] | None]:
    """The sandbox, without quotas."""
    import requests

    with tempfile.TemporaryDirectory(prefix="sync-bench-") as folder:
        code = "from sync_provider.cli.sandbox import sandbox; sandbox()"
        command = [sys.executable, "-c", code, "--port", "0", "--state", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                names = [f"{kind}_per_{whom}" for kind in ("reads", "writes") for whom in ("user", "project")]
                url = f"{ready['base_url']}/__sandbox__/quotas"
                requests.put(url, json=dict.fromkeys(names, 1_000_000), timeout=10).raise_for_status()
                yield {"BENCH_SHEETS": json.dumps(ready)}
            finally:
                process.terminate()


class Peer:
    """The sandbox as seen by gspread, and its log."""

    def __init__(self) -> None:
        import gspread
        import requests

        self.ready: dict[str, str] = json.loads(os.environ["BENCH_SHEETS"])
        self._requests = requests.Session()
        modules = (gspread.urls, gspread.client, gspread.http_client, gspread.spreadsheet, gspread.worksheet)
        for module in modules:
            for name, address in list(vars(module).items()):
                if isinstance(address, str) and re.match("https?://", address):
                    setattr(module, name, re.sub("^https?://[^/]+", self.ready["base_url"], address))
        self.gspread = gspread.service_account(self.ready["service_account_file"])

    def control(self, verb: str, path: str, data: Any = None) -> Any:
        answer = self._requests.request(verb, f"{self.ready['base_url']}/__sandbox__/{path}", json=data, timeout=300)
        answer.raise_for_status()
        return answer.json()

    def create(self, rows: int, columns: int) -> str:
        made = self.gspread.create("bench")
        made.sheet1.resize(rows, columns)
        return str(made.id)

    def fill(self, book: str, rows: Sequence[Sequence[Any]]) -> None:
        sheet = self.gspread.open_by_key(book).sheet1
        for start in range(0, len(rows), _PART):
            sheet.update(list(rows[start : start + _PART]), f"A{start + 1}", raw=True)

    def drop(self, book: str) -> None:
        self.gspread.http_client.request("delete", f"{self.ready['base_url']}/drive/v3/files/{book}")


@contextmanager
def counted(job: Job, peer: Peer) -> Iterator[None]:
    """Measures a block: the client's CPU seconds, requests, and the largest body and reply in MB."""
    peer.control("DELETE", "requests")
    started_s = time.process_time()
    with job.work():
        yield
    job.measured["work_s"] = time.process_time() - started_s
    done = [each for each in peer.control("GET", "requests")["requests"] if each["method"] != "oauth.token"]
    job.measured["reads"] = sum(each["verb"] == "GET" or "ByDataFilter" in each["path"] for each in done)
    job.measured["writes"] = len(done) - job.measured["reads"]
    job.measured["body_mb"] = max((each["request_bytes"] for each in done), default=0) / 1e6
    job.measured["reply_mb"] = max((each["response_bytes"] for each in done), default=0) / 1e6


def as_cells(number: int) -> list[Any]:
    """One record as a tab holds it."""
    cells: list[Any] = []
    for value in typed(texts(number)).values():
        match value:
            case None:
                cells.append("")
            case datetime():
                cells.append((value.astimezone(UTC).replace(tzinfo=None) - _EPOCH) / timedelta(days=1))
            case date():
                cells.append((value - _EPOCH.date()).days)
            case str() | bool() | int():
                cells.append(value)
            case _:
                cells.append(float(value))
    return cells


def prepare_tab(data: Path, rows: int) -> None:
    peer = Peer()
    book = peer.create(rows + 1, len(NAMES))
    peer.fill(book, [list(NAMES), *map(as_cells, range(rows))])
    (data / "book").write_text(book)
    prepare_records(data, rows)


def prepare_records(data: Path, rows: int) -> None:
    from pyarrow import parquet

    parquet.write_table(ours.table(range(rows)), data / "in.parquet")


def records(job: Job) -> Any:
    from pyarrow import parquet

    return parquet.read_table(job.data / "in.parquet")


def connector(peer: Peer, book: str) -> Any:
    from sync_provider.connectors.base import ConnectionInfo
    from sync_provider.connectors.sheets.connector import SheetsConnector
    from sync_provider.core.endpoints import GoogleSheetsEndpoint
    from sync_provider.engine.clock import SystemClock

    extra = {"key_path": peer.ready["service_account_file"], "base_url": peer.ready["base_url"]}
    endpoint = GoogleSheetsEndpoint(type="google_sheets", connection="g", spreadsheet=book)
    return SheetsConnector(endpoint, ConnectionInfo(id="g", type="google_cloud_platform", extra=extra), SystemClock())


def target_columns() -> Any:
    from sync_provider.connectors.base import TargetColumn
    from sync_provider.core.schema import parse_type

    return tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in FIELDS.items())


# Reading


def read_ours(job: Job) -> None:
    import pyarrow as pa
    from sync_provider.connectors.base import ReadRequest
    from sync_provider.engine.transform import Conversion

    ours.warm()
    peer, book = Peer(), (job.data / "book").read_text()
    source_ = {"type": "google_sheets", "connection": "g", "spreadsheet": book}
    mapping = ours.mapping(source=source_)
    with counted(job, peer), connector(peer, book) as source, Conversion.for_source(mapping) as conversion:
        found = []
        for raw in source.read(ReadRequest(columns=conversion.columns)):
            converted = conversion.convert(raw)
            if raw.rejections or converted.rejections:
                raise RuntimeError("records were refused")
            found.append(converted.records)
    keep(job, [list(row.values()) for row in pa.Table.from_batches(found).select(list(NAMES)).to_pylist()])


def read_gspread(job: Job) -> None:
    peer, book = Peer(), (job.data / "book").read_text()
    with counted(job, peer):
        rows = peer.gspread.open_by_key(book).sheet1.get_all_values(value_render_option="UNFORMATTED_VALUE")
    keep(job, [[_typed(value, kind) for value, kind in zip(row, FIELDS.values(), strict=True)] for row in rows[1:]])


def read_frame(job: Job) -> None:
    import pandas as pd
    from gspread_dataframe import get_as_dataframe

    peer, book = Peer(), (job.data / "book").read_text()
    with counted(job, peer):
        frame = get_as_dataframe(peer.gspread.open_by_key(book).sheet1)
    rows = frame.astype(object).itertuples(index=False)
    keep(job, [[None if pd.isna(value) else value for value in row] for row in rows])


def _typed(value: Any, kind: str) -> Any:
    if value == "":
        return None
    if kind == "date":
        return (_EPOCH + timedelta(days=value)).date()
    if kind == "timestamp":
        return _EPOCH + timedelta(seconds=round(value * 86_400))
    return value


def keep(job: Job, rows: Any) -> None:
    with (job.out / "rows.pickle").open("wb") as file:
        pickle.dump(rows, file)


def read_digest(name: str, data: Path, out: Path) -> str:
    del name, data
    return digest(iter(pickle.loads((out / "rows.pickle").read_bytes())))


# Writing


def write_ours(job: Job) -> None:
    from sync_provider.connectors.base import WriteRequest
    from sync_provider.engine.planning import as_inserts

    ours.warm()
    peer = Peer()
    book, table = peer.create(1000, len(NAMES)), records(job)
    peer.fill(book, [list(NAMES)])
    with counted(job, peer), connector(peer, book) as target:
        inserts = as_inserts(table.to_batches(ours.BATCH), list(NAMES), table.schema)
        target.write(WriteRequest(mode="replace", columns=target_columns()), inserts)
    kept(job, book)


def write_gspread(job: Job) -> None:
    peer = Peer()
    book, rows = peer.create(1000, len(NAMES)), [list(NAMES), *map(as_cells, range(job.rows))]
    with counted(job, peer):
        sheet = peer.gspread.open_by_key(book).sheet1
        sheet.resize(len(rows), len(NAMES))
        sheet.update(rows, "A1", raw=True)
    kept(job, book)


def write_frame(job: Job) -> None:
    from gspread_dataframe import set_with_dataframe

    peer = Peer()
    book, frame = peer.create(1000, len(NAMES)), records(job).to_pandas()
    with counted(job, peer):
        set_with_dataframe(peer.gspread.open_by_key(book).sheet1, frame, resize=True)
    kept(job, book)


def kept(job: Job, book: str) -> None:
    """Leave what the tab holds now."""
    peer = Peer()
    rows = peer.gspread.open_by_key(book).sheet1.get_all_values(value_render_option="UNFORMATTED_VALUE")
    with (job.out / "cells.pickle").open("wb") as file:
        pickle.dump(rows[1:], file)
    peer.drop(book)


def written_digest(name: str, data: Path, out: Path) -> str:
    del name, data
    found = []
    for row in pickle.loads((out / "cells.pickle").read_bytes()):
        try:
            found.append([_typed(value, kind) for value, kind in zip(row, FIELDS.values(), strict=True)])
        except TypeError:
            return "dates are texts"
    return digest(iter(found))


# Editing


def edit_ours(job: Job) -> None:
    import pyarrow as pa
    from sync_provider.connectors.base import OLD, OP, WriteRequest

    ours.warm()
    peer, book = Peer(), (job.data / "book").read_text()
    old = records(job).take(list(range(0, job.rows, 100)))
    new = old.set_column(NAMES.index("city"), "city", pa.array([f"Lyon {time.time_ns()}"] * old.num_rows))
    stream = pa.table(
        [pa.array(["update"] * old.num_rows), *new.columns, *old.columns],
        names=[OP, *NAMES, *(OLD + name for name in NAMES)],
    )
    (batch,) = stream.combine_chunks().to_batches()
    request = WriteRequest(mode="upsert", columns=target_columns(), key=("code",))
    with counted(job, peer), connector(peer, book) as target:
        if target.write(request, iter([batch])).updated != old.num_rows:
            raise RuntimeError("not all was edited")
    peer.fill(book, [list(NAMES), *map(as_cells, range(job.rows))])


def frames_missing() -> str | None:
    return None if find_spec("gspread_dataframe") else "gspread-dataframe is not installed"


BENCHMARKS = (
    Benchmark(
        name="sheets-read",
        title="Google Sheets, read one tab (client CPU)",
        prepare=prepare_tab,
        server=server,
        scale=0.2,
        fingerprint=read_digest,
        candidates=(
            Candidate("sync_provider", read_ours, ours=True),
            Candidate("gspread", read_gspread),
            Candidate("gspread-dataframe", read_frame, missing=frames_missing),
        ),
        goals=(
            Goal("≤ 0.2 × gspread-dataframe", 0.2, against="gspread-dataframe"),
            Goal("RSS ≤ 0.25 × gspread", 0.25, measure="peak_mb", against="gspread"),
            Goal("≤ 9 requests of values (and 4 around them)", 13, measure="reads", absolute=True),
            Goal("replies ≤ 2 MB", 2.0, measure="reply_mb", absolute=True),
        ),
    ),
    Benchmark(
        name="sheets-write",
        title="Google Sheets, write one tab (client CPU)",
        prepare=prepare_records,
        server=server,
        scale=0.2,
        fingerprint=written_digest,
        candidates=(
            Candidate("sync_provider", write_ours, ours=True),
            Candidate("gspread", write_gspread),
            Candidate("gspread-dataframe", write_frame, missing=frames_missing),
        ),
        goals=(
            Goal("≤ 0.2 × gspread-dataframe", 0.2, against="gspread-dataframe"),
            Goal("≤ 10 requests", 10, measure="writes", absolute=True),
            Goal("bodies ≤ 2 MB", 2.0, measure="body_mb", absolute=True),
        ),
    ),
    Benchmark(
        name="sheets-edit",
        title="Google Sheets, 1 % of the rows edited (client CPU)",
        prepare=prepare_tab,
        server=server,
        scale=0.2,
        candidates=(Candidate("sync_provider", edit_ours, ours=True),),
        goals=(
            Goal("≤ 2 readings' worth", 18, measure="reads", absolute=True),
            Goal("1 write", 1, measure="writes", absolute=True),
        ),
    ),
)
