"""The first records of a source as a run would write them, without a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

from sync_provider.connectors.base import COORDINATES, Reading, ReadRequest
from sync_provider.connectors.files.inspect_yaml import OPEN
from sync_provider.core.canonical import write_text

if TYPE_CHECKING:
    from sync_provider.connectors.files.inspect_cells import SheetInspection
    from sync_provider.core.endpoints import Endpoint
    from sync_provider.core.mapping import Mapping


_PAIRED = 12  # first columns of which two together are tried


_NOWHERE = """\
version: 1
id: inspected
mode: import
destination: {type: csv, path: nowhere.csv}
write: append
"""


class Readable(Protocol):
    """What a sample needs of a connector."""

    def read(self, request: ReadRequest) -> Reading: ...


READ_RECORDS = 1_000


@dataclass(slots=True)
class Sample:
    """The first records of a source as they would be written.

    Args:
        columns: destination names.
        rows: canonical text, None for null.
        read: records looked at.
        refused: why some of these would be rejected, the first reasons only.
        filtered: how many of these the filter left out.
        without_id: how many of these have no id yet.
    """

    columns: list[str]
    rows: list[list[str | None]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    read: int = 0
    filtered: int = 0
    without_id: int = 0


def read_sample(source: Readable, mapping: Mapping, rows: int) -> Sample:
    """Read and convert the first records of the mapping's source; nothing is written anywhere.

    Raises:
        SyncError: it cannot be read, or an expression is refused.
    """
    from sync_provider.engine.transform import Conversion

    sample, ids = Sample([f.destination for f in mapping.fields]), mapping.id_column("source")
    with Conversion.for_source(mapping) as conversion:
        # More than asked for, because a filter may leave many out.
        request = ReadRequest(columns=conversion.columns, limit=max(rows, READ_RECORDS), batch_rows=READ_RECORDS)
        for raw in source.read(request):
            converted = conversion.convert(raw)
            sample.without_id += raw.records.column(ids).null_count if ids is not None else 0
            sample.read += raw.records.num_rows + len(raw.rejections)
            sample.filtered += converted.filtered
            refusals = [*raw.rejections, *converted.rejections]
            sample.refused += [f"{each.where}: {each.message}" for each in refusals[: rows - len(sample.refused)]]
            records = converted.records.slice(0, rows - len(sample.rows)).drop_columns(list(COORDINATES))
            for record in records.to_pylist():
                sample.rows.append([None if item is None else write_text(item) for item in record.values()])
    return sample


def sample_inspected(
    found: SheetInspection, open_source: Callable[[Endpoint], AbstractContextManager[Readable]]
) -> Sample:
    """The first records as the mapping to paste reads them; what it leaves to be decided has its default.

    Args:
        found: names at least one column.
        open_source: opens the endpoint that was inspected.

    Raises:
        SyncError: it cannot be read.
    """
    from sync_provider.core.mapping_text import parse_mapping

    decided = re.sub(rf"^  [a-z_]+: {OPEN}  #.*\n", "", found.as_yaml(), flags=re.MULTILINE)
    mapping = parse_mapping(_NOWHERE + decided, file="inspected")
    with open_source(mapping.source) as source:
        return read_sample(source, mapping, READ_RECORDS)


def likely_key(sample: Sample, types: Dictionary[str, str]) -> list[str]:
    """The first column in which every record has a value and each another, else the first two such columns together; or none.

    Amounts and times differ by chance: they are taken for a key only where nothing else differs.

    Args:
        sample: the records.
        types: of the columns, as a mapping declares them.
    """
    columns = {name: [row[at] for row in sample.rows] for at, name in enumerate(sample.columns)}
    filled = [name for name, values in columns.items() if values and None not in values]
    chance = {name for name in filled if types[name].startswith(("decimal", "double", "timestamp", "boolean", "json"))}
    ordered = [name for name in filled if name not in chance]
    for names in (
        *((name,) for name in ordered),
        *((name,) for name in filled if name in chance),
        *combinations(ordered[:_PAIRED], 2),
    ):
        if len(set(zip(*(columns[name] for name in names), strict=True))) == len(sample.rows):
            return list(names)
    return []
