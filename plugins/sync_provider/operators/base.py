"""What every operator shares: which mapping, which run, how it logs and how it stops.

An operator decides nothing: it opens the run, calls one engine function and returns its counters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from sync_provider import hooks, notify
from sync_provider.core.changes import ONE_WAY, TWO_WAY, RunParams
from sync_provider.core.errors import MappingError, SyncConnectionError, SyncError
from sync_provider.engine.loader import MappingSource, load_file, load_mapping
from sync_provider.retry import SyncRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sync_provider.engine.run import RunContext


log = logging.getLogger(__name__)


class StoppedError(SyncConnectionError):
    """The task was told to stop; what it was writing is rolled back and its leases are given back. A retry may help."""


def run_params(params: Mapping[str, Any]) -> RunParams:
    """Read Airflow's params; those that a hand-written DAG does not declare have their defaults."""
    limit = params.get("limit")
    return RunParams(
        dry_run=bool(params.get("dry_run")),
        full_refresh=bool(params.get("full_refresh")),
        since=params.get("since") or None,
        until=params.get("until") or None,
        limit=int(limit) if limit else None,
        keys=tuple(str(key) for key in params.get("keys") or ()),
        allow_deletes_once=bool(params.get("allow_deletes_once")),
        new_baseline=bool(params.get("new_baseline")),
    )


def backfill_interval(dag_run: Any) -> tuple[datetime, datetime] | None:
    """The slice that a backfill run has to load; None for every other run, which follows the stored cursor."""
    if dag_run.run_type != "backfill" or dag_run.data_interval_start is None or dag_run.data_interval_end is None:
        return None
    return dag_run.data_interval_start, dag_run.data_interval_end


class MappingTask:
    """Mixin: the mapping and the run behind a task."""

    mapping_id: str | None
    mapping_file: str | None
    sync_run: str | None = None
    """ULID of the run, once known; links are built from it."""

    def mapping_source(self) -> MappingSource:
        """Load the mapping, from its file or by its id.

        Raises:
            MappingError: neither or both were given, or the mapping is wrong.
        """
        if (self.mapping_id is None) == (self.mapping_file is None):
            raise MappingError("give either mapping_id or mapping_file to the operator")
        if self.mapping_file is not None:
            return load_file(Path(self.mapping_file))
        return load_mapping(str(self.mapping_id), hooks.mappings_dir())

    @contextmanager
    def running(self, context: Context) -> Iterator[RunContext]:
        """The run that this DAG run stands for, found or opened, with its ledger open meanwhile."""
        from sync_provider.engine.run import open_run

        dag_run, instance = context["dag_run"], context["ti"]
        with hooks.environment() as environment:
            run = open_run(
                environment,
                self.mapping_source(),
                dag_id=instance.dag_id,
                airflow_run_id=dag_run.run_id,
                trigger=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
                params=run_params(context["params"]),
                interval=backfill_interval(dag_run),
                attempt=instance.try_number,
            )
            self.sync_run = run.id
            yield run


class LogGroup:
    """Log what happens inside as one collapsible group of Airflow's log page.

    Errors of ours leave without the trail that led to them: their sentence says what, where and how to fix it. The trail
    is logged at level DEBUG.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        log.info("::group::%s", self._name)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None) -> None:
        if isinstance(error, SyncError):
            log.debug("Raised at", exc_info=error)
            log.info("::endgroup::")
            raise error.with_traceback(None) from None
        log.info("::endgroup::")


def complete(task: BaseOperator) -> None:
    """Give a task what ours have and Airflow's have not: retry by category, an alert, and a failure that says why, last."""
    if task.retry_policy is None:
        task.retry_policy = SyncRetryPolicy(task.retry_delay.total_seconds())
    task.on_retry_callback = [*task.on_retry_callback, notify.say_why]
    task.on_failure_callback = [*task.on_failure_callback, notify.on_failure]


class SyncOperator(MappingTask, BaseOperator):
    """One phase of a run; its counters are the task's XCom (< 4 KB, never records).

    :param mapping_id: the mapping's `id`, looked up in `[sync_provider] mappings_dir` (templated)
    :param mapping_file: or the path of its YAML file (templated)
    """

    phase: ClassVar[str] = ""
    writes: ClassVar[bool] = False
    """Whether the phase is left out of a dry run."""
    template_fields = ("mapping_id", "mapping_file")
    ui_color = "#e8f1fb"

    def __init__(self, *, mapping_id: str | None = None, mapping_file: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        complete(self)
        self.mapping_id = mapping_id
        self.mapping_file = mapping_file
        self._working = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the phase; Airflow calls this."""
        from sync_provider.engine import pipeline

        if self.writes and context["params"].get("dry_run"):
            raise AirflowSkipException(f"dry run: no {self.phase}")
        started = time.monotonic()
        with LogGroup(self.phase), self._work(), self.running(context) as run:
            self._check_mode(run)
            counters: dict[str, Any] = getattr(pipeline, self.phase)(run)
        log.info("%s in %.1f s: %s", self.phase, time.monotonic() - started, readable(counters))
        self.publish(context, counters)
        return counters

    def _check_mode(self, run: RunContext) -> None:
        """Raise MappingError if runs of this mapping have no such phase."""
        order = TWO_WAY if run.mapping.two_way else ONE_WAY
        if self.phase not in order:
            raise MappingError(
                f"{type(self).__name__} does not fit mode: {run.mapping.mode}, whose phases are {', '.join(order)}",
                hint="Use the operators of these phases.",
                code="mode_operator",
            )

    def publish(self, context: Context, counters: dict[str, Any]) -> None:
        """Tell Airflow more than the counters; nothing by default."""

    def on_kill(self) -> None:
        """Airflow calls this from its SIGTERM handler and goes on; raising is what stops the work and unwinds it."""
        if self._working:
            self._working = False
            raise StoppedError("the task was told to stop", hint="It is tried again if Airflow allows.", code="stopped")

    @contextmanager
    def _work(self) -> Iterator[None]:
        self._working = True
        try:
            yield
        finally:
            self._working = False


def readable(counters: Mapping[str, Any]) -> str:
    """Counters as people write them.

    >>> readable({"read": 1200, "rejected": 3, "digest": "ab", "trips": []})
    'read 1,200, rejected 3'
    """
    numbers = {k: v for k, v in counters.items() if isinstance(v, int) and not isinstance(v, bool)}
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items()) or "done"
