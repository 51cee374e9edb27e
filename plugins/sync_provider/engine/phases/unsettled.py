"""Files that are still being written (``settle``): what was read without them is a part."""

from __future__ import annotations

from sync_provider.connectors.base import Reading
from sync_provider.core.errors import SyncConnectionError, Where


def refuse_unsettled(reading: Reading, why: str) -> None:
    """Stop a run that needs every file: records of one that is not read yet would count as gone.

    Args:
        reading: read to its end.
        why: what needs every file.

    Raises:
        SyncConnectionError: a file was deferred (``file_unsettled``); may be tried again.
    """
    deferred = [file.name for file in reading.files if file.deferred]
    if deferred:
        raise SyncConnectionError(
            f"this file is still being written, and {why}",
            where=Where(file=deferred[0]),
            hint="Start the run again when the file has not changed for as long as settle says.",
            code="file_unsettled",
        )
