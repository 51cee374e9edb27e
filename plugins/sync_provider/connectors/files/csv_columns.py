"""The endpoint's conventions on a column of CSV text, undone. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_provider.connectors.files.formulas import unescape
from sync_provider.connectors.files.text_values import canonical
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


def conventional(array: pa.Array, type_: LogicalType, endpoint: CsvEndpoint, *, verbatim: bool = False) -> pa.Array:
    """Text of a file as raw text of a batch (see `connectors.base`).

    An empty text is a null, except in text fields, where a quoted empty value is an empty text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls = list(endpoint.null_values)
    if type_.kind != "string" and not verbatim:
        nulls.append("")
    if nulls and pc.any(is_null_text := pc.is_in(array, value_set=pa.array(nulls, pa.string()))).as_py():
        array = pc.if_else(is_null_text, pa.scalar(None, pa.string()), array)
    if endpoint.formulas == "escape":
        array = unescape(array)
    return array if verbatim else canonical(array, type_, endpoint.decimal, endpoint.date_order)
