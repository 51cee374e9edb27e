"""Rejected records as a file: JSON lines or CSV, written as they come."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sync_provider.connectors.files.formulas import escape_text
from sync_provider.core.errors import SyncConnectionError, Where

if TYPE_CHECKING:
    from sync_provider.engine.ledger.rejections import StoredRejection

_OURS = ("rejection", "status", "rule", "rejected_field", "message", "place")


def write_rejections(found: Callable[[], Iterable[StoredRejection]], form: str, output: Path | None) -> int:
    """Write rejections and return how many.

    Args:
        found: gives them anew each time: CSV needs to know all columns before the first record.
        form: ``csv``: our columns, marked with ``#`` where a record has one of the same name, then the record's own as
            they are to be corrected, null and empty alike; ``json``: one object a line, with everything.
        output: file to replace, readable by its owner only; None: standard output.

    Raises:
        SyncConnectionError: the file cannot be written; the old one stays.
    """
    with _opened(output) as file:
        return _as_csv(found, file) if form == "csv" else _as_json(found(), file)


def _as_csv(found: Callable[[], Iterable[StoredRejection]], file: TextIO) -> int:
    columns = list(dict.fromkeys(name for each in found() for name in each.record))
    writer = csv.writer(file, lineterminator="\n")
    ours = [f"#{name}" if name in columns else name for name in _OURS]
    writer.writerow([escape_text(name) for name in (*ours, *columns)])
    records = 0
    for each in found():
        record = [each.record.get(name) or "" for name in columns]
        facts = [str(each.id), each.status, each.rule, each.field or "", each.message, str(each.where)]
        # A spreadsheet runs what starts like a formula, and these values were refused by somebody for a reason.
        writer.writerow([escape_text(text) for text in (*facts, *record)])
        records += 1
    return records


def _as_json(found: Iterable[StoredRejection], file: TextIO) -> int:
    records = 0
    for each in found:
        file.write(json.dumps(each.as_dict(), ensure_ascii=False) + "\n")
        records += 1
    return records


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The file, which appears only when it is whole."""
    if output is None:
        yield sys.stdout
        return
    fresh = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        fresh.replace(output)
    except OSError as error:
        raise SyncConnectionError(
            f"cannot be written: {error.strerror}", where=Where(file=str(output)), code="export_failed", retryable=False
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
