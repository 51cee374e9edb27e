"""Refused records on their way to the ledger: kept in the store, not in memory, until the phase knows them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.sealed_file import SealedWriter
    from sync_provider.engine.store import Store


class RejectionSpool:
    """Collects rejections of one phase. Use as a context manager, add, then commit.

    Args:
        store: where they wait, encrypted.
        path: object to use; removed on the way out.
    """

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._opened: AbstractContextManager[SealedWriter] | None = None
        self._sink: SealedWriter | None = None
        self.count = 0

    def add(self, rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            if self._sink is None:
                opened = self._store.open_write(self._path)
                self._sink, self._opened = opened.__enter__(), opened
            self._sink.write(json.dumps(rejection.as_dict(), ensure_ascii=False).encode() + b"\n")
            self.count += 1

    def commit(self, ledger: Ledger, run_id: str, phase: str) -> None:
        """Replace what the ledger holds of this run and phase; a retried phase never doubles."""
        self._close(None)
        ledger.rejections.replace(run_id, phase, self._read() if self.count else iter(()))

    def _read(self) -> Iterator[Rejection]:
        with self._store.open_read(self._path) as lines:
            for line in lines:
                item = json.loads(line)
                yield Rejection(**{**item, "where": Where(**item["where"])})

    def _close(self, error: BaseException | None) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(error)
        if self._sink is not None and self._store.exists(self._path):
            self._store.delete(self._path)
