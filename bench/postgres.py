"""A throw-away PostgreSQL for the benchmarks: the one that the tests start, without durability for every candidate alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server() -> Iterator[dict[str, str] | None]:
    """Environment variables for candidates; None if PostgreSQL is not installed."""
    from tests.postgres import running_server

    with running_server() as url:
        yield None if url is None else {"BENCH_POSTGRES": f"{url}/postgres"}
