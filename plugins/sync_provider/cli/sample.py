"""The first records of a source as a run would write them, without a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync_provider.connectors.base import COORDINATES, ReadRequest
from sync_provider.core.canonical import write_text

if TYPE_CHECKING:
    from sync_provider.connectors.base import Connector
    from sync_provider.core.mapping import Mapping


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


def read_sample(source: Connector, mapping: Mapping, rows: int) -> Sample:
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
