"""What becomes of a write whose answer was lost: the sheet tells."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sync_provider.connectors.sheets.faults import OutcomeUnknownError

log = logging.getLogger(__name__)

ATTEMPTS = 4


def settle(write: Callable[[], object], stands: Callable[[], bool]) -> None:
    """Write once: where the answer is lost, look whether it stands there, and write again only if it does not.

    Args:
        write: one request that is applied as a whole or not at all.
        stands: reads whether it was applied.

    Raises:
        OutcomeUnknownError: the answer is lost again and again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            write()
        except OutcomeUnknownError:
            log.warning("The answer to a write was lost; the sheet is read to see whether it was applied")
            if stands():
                return
            if attempt == ATTEMPTS:
                raise
        else:
            return
