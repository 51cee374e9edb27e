"""Runs: one row per DAG run, its phases, and the one transaction that ends it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.connectors.base import SourceFile
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import RUN_STATES
from sync_provider.engine.ledger import phases as phase_rows
from sync_provider.engine.ledger.records import Event, PhaseRow, Run
from sync_provider.engine.ledger.tables import events, mapping_versions, phases, runs

if TYPE_CHECKING:
    from sync_provider.engine.ledger.audit import Audit
    from sync_provider.engine.ledger.cursors import Baselines, Cursors, Files
    from sync_provider.engine.ledger.database import Database
    from sync_provider.engine.ledger.redaction import Redactor
    from sync_provider.engine.ledger.rejections import Rejections
    from sync_provider.engine.ledger.sources import Sources

OPEN_STATES = ("queued", "running")
FINAL_STATES = tuple(state for state in RUN_STATES if state not in OPEN_STATES)
_OURS = re.compile(r"sync__([0-7][0-9A-HJKMNP-TV-Z]{25})")


class Runs:
    """Runs and their phases."""

    def __init__(
        self,
        database: Database,
        redact: Redactor,
        *,
        cursors: Cursors,
        files: Files,
        baselines: Baselines,
        rejections: Rejections,
        sources: Sources,
        audit: Audit,
    ) -> None:
        self._database = database
        self._redact = redact
        self._cursors = cursors
        self._files = files
        self._baselines = baselines
        self._rejections = rejections
        self._sources = sources
        self._audit = audit

    def open(
        self,
        *,
        mapping_id: str,
        mapping_text: str,
        mapping_sha256: str,
        dag_id: str,
        airflow_run_id: str,
        trigger: str,
        params: dict[str, Any],
        interval: tuple[datetime, datetime] | None = None,
    ) -> Run:
        """The run of this DAG run: found, or created as ``queued``.

        The same (dag_id, airflow_run_id) is always the same run, whoever asks, and keeps the parameters and the mapping's
        version it was created with; see `use_mapping`. An Airflow run id ``sync__<ulid>`` gives the run that ULID.

        Args:
            mapping_id: the integration.
            mapping_text: the mapping as it was read.
            mapping_sha256: of the text's bytes, hex.
            dag_id: Airflow's, or ``cli``.
            airflow_run_id: Airflow's; for other callers any text that is theirs alone.
            trigger: what started it.
            params: JSON-ready.
            interval: data interval of a backfill.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            same = sa.and_(runs.c.dag_id == dag_id, runs.c.airflow_run_id == airflow_run_id)
            found = connection.execute(sa.select(runs).where(same)).one_or_none()
            if found is None:
                self._keep_version(connection, mapping_id, mapping_text, mapping_sha256, now)
                connection.execute(
                    self._database.insert(runs)
                    .values(
                        id=_run_id(airflow_run_id, now),
                        mapping_id=mapping_id,
                        mapping_sha256=mapping_sha256,
                        dag_id=dag_id,
                        airflow_run_id=airflow_run_id,
                        trigger=trigger,
                        params=self._redact(params),
                        interval_start=interval[0] if interval else None,
                        interval_end=interval[1] if interval else None,
                        state="queued",
                        created_at=now,
                    )
                    .on_conflict_do_nothing(index_elements=[runs.c.dag_id, runs.c.airflow_run_id])
                )
                found = connection.execute(sa.select(runs).where(same)).one()
        return _run(found)

    def get(self, run_id: str) -> Run:
        """One run.

        Raises:
            SyncDataError: there is none of that id (``run_unknown``).
        """
        with self._database.read() as connection:
            return _run(_one(connection, run_id))

    def list(
        self,
        mapping_id: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """Runs, newest first.

        Args:
            mapping_id: of this integration only.
            state: in this state only.
            since: that had not ended before.
            until: created before.
            limit: at most so many; None is all.
            offset: skip so many.
        """
        query = sa.select(runs).where(*_filters(mapping_id, state, since, until))
        query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit).offset(offset)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(query)]

    def matching(self, prefix: str, limit: int = 2) -> Sequence[Run]:
        """Runs whose id starts so, oldest first; case does not matter, as in every ULID."""
        query = sa.select(runs).where(runs.c.id.startswith(prefix.upper(), autoescape=True)).order_by(runs.c.id)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(query.limit(limit))]

    def count(
        self,
        mapping_id: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """How many runs `list` would give."""
        query = sa.select(sa.func.count()).select_from(runs).where(*_filters(mapping_id, state, since, until))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def lost(self, older_than: timedelta) -> Sequence[Run]:
        """Runs that are not over although nothing has happened to them for that long."""
        latest = (
            sa.select(sa.func.max(sa.func.coalesce(phases.c.finished_at, phases.c.started_at)))
            .where(phases.c.run_id == runs.c.id)
            .scalar_subquery()
        )
        with self._database.read() as connection:
            limit = self._database.now(connection) - older_than
            query = sa.select(runs).where(
                runs.c.state.in_(OPEN_STATES), sa.func.coalesce(latest, runs.c.created_at) < limit
            )
            return [_run(row) for row in connection.execute(query.order_by(runs.c.created_at))]

    def mapping_text(self, run_id: str) -> str:
        """The mapping as this run uses it."""
        query = (
            sa.select(mapping_versions.c.text)
            .join(runs, runs.c.mapping_sha256 == mapping_versions.c.sha256)
            .where(runs.c.id == run_id)
        )
        with self._database.read() as connection:
            _one(connection, run_id)
            return connection.scalar(query) or ""

    def use_mapping(self, run_id: str, mapping_text: str, mapping_sha256: str) -> bool:
        """Have the run use another version of its mapping, as when it is cleared after an edit; False if it is the same."""
        with self._database.write() as connection:
            run = _one(connection, run_id, lock=True)
            if run.mapping_sha256 == mapping_sha256:
                return False
            now = self._database.now(connection)
            self._keep_version(connection, run.mapping_id, mapping_text, mapping_sha256, now)
            connection.execute(runs.update().where(runs.c.id == run_id).values(mapping_sha256=mapping_sha256))
            self._audit.record(
                connection, f"run:{run_id}", "run.mapping_changed", run_id, run.mapping_sha256, mapping_sha256
            )
        return True

    def start_phase(self, run_id: str, phase: str, attempt: int = 1) -> int:
        """Begin a phase: the run is ``running`` again, and what later phases have left is ``stale``.

        Returns:
            The start's number, for `finish_phase`.
        """
        with self._database.write() as connection:
            run = _one(connection, run_id, lock=True)
            now = self._database.now(connection)
            connection.execute(
                runs.update()
                .where(runs.c.id == run_id)
                .values(state="running", started_at=run.started_at or now, finished_at=None, error=None)
            )
            return phase_rows.start(connection, run_id, phase, attempt, now)

    def finish_phase(
        self,
        run_id: str,
        phase: str,
        state: str,
        counters: Mapping[str, Any] | None = None,
        artifact: Mapping[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        *,
        number: int | None = None,
    ) -> None:
        """End a phase.

        Args:
            run_id: the run.
            phase: one of `core.changes.PHASES`.
            state: ``succeeded``, ``failed`` or ``skipped``.
            counters: JSON-ready.
            artifact: what later phases need: paths in the store, digests; JSON-ready.
            error: `SyncError.as_dict()`.
            number: what `start_phase` returned; guards against a try that was given up and still runs.

        Raises:
            SyncDataError: the phase was started anew since (``phase_restarted``).
        """
        if state not in phase_rows.PHASE_STATES:
            raise ValueError(f"{state!r} does not end a phase")
        with self._database.write() as connection:
            values = {
                "state": state,
                "finished_at": self._database.now(connection),
                "counters": dict(counters or {}),
                "artifact": None if artifact is None else dict(artifact),
                "error": self._redact(error),
            }
            phase_rows.finish(connection, run_id, phase, number, values)

    def phase(self, run_id: str, phase: str) -> PhaseRow | None:
        """The newest start of a phase; None if it never started."""
        return next((row for row in self.phases(run_id) if row.phase == phase), None)

    def earlier_phase(self, run_id: str, phase: str) -> PhaseRow | None:
        """The newest start of a phase in any other run of the same mapping in the same version."""
        with self._database.read() as connection:
            return phase_rows.earlier(connection, run_id, phase)

    def phases(self, run_id: str) -> Sequence[PhaseRow]:
        """The newest start of each phase, in order."""
        with self._database.read() as connection:
            return phase_rows.current(connection, run_id)

    def finish(
        self,
        run_id: str,
        state: str,
        *,
        counters: Mapping[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        event: str | None = None,
        cursor: tuple[str, str, str] | None = None,
        files: Iterable[SourceFile] = (),
        baselines: Mapping[str, str] | None = None,
        replayed: Iterable[int] = (),
        source_token: str | None = None,
        actor: str | None = None,
    ) -> bool:
        """End the run, in one transaction: state, counters, cursor, files, baselines, replayed records, token, event, audit.

        Concluding the same again, as a retry does whose first try was killed after the commit, changes nothing.

        Args:
            run_id: the run.
            state: ``succeeded``, ``partial``, ``blocked`` or ``failed``.
            counters: of the whole run; empty keeps those of an earlier end.
            error: `SyncError.as_dict()` of what stopped it.
            event: type of the event to leave for outbound notifications.
            cursor: mapping id, canonical value, declared type; moves forward only.
            files: files read, to be known from now on; deferred ones are left out.
            baselines: name → path in the store; not moved if a run that read later has moved them.
            replayed: numbers of the rejections that this run has brought in.
            source_token: of the source as it was before this run read it, if all of it is brought in; None: the next run
                has to read it.
            actor: who ends it; default the run itself.

        Returns:
            Whether this was news.

        Raises:
            SyncDataError: the run is unknown, or the cursor's type has changed; nothing is kept then.
        """
        if state not in FINAL_STATES:
            raise ValueError(f"{state!r} does not end a run")
        with self._database.write() as connection:
            run = _one(connection, run_id, lock=True)
            current = phase_rows.current(connection, run_id)
            # The report's own restarts are no news: what counts is what it reports on.
            basis = max((row.number for row in current if row.phase != "report"), default=0)
            concluded = f"{basis}:{state}"
            kept = dict(counters) if counters else run.counters
            connection.execute(
                runs.update()
                .where(runs.c.id == run_id)
                .values(
                    state=state,
                    finished_at=self._database.now(connection),
                    counters=kept,
                    error=self._redact(error),
                    concluded=concluded,
                )
            )
            if run.concluded == concluded:
                return False
            moved = cursor is not None and self._cursors.advance(connection, *cursor, run_id)
            new_files = self._files.add(connection, run.mapping_id, files, run_id)
            read_number = phase_rows.read_number(connection, run_id)
            pointers = {
                name: path
                for name, path in (baselines or {}).items()
                if self._baselines.move(connection, name, path, run_id=run_id, read_number=read_number)
            }
            self._rejections.mark_replayed(connection, replayed, run_id)
            self._sources.move(connection, run, source_token, read_number)
            after = {"state": state, "counters": kept, "files": new_files, "baselines": pointers}
            if cursor is not None and moved:
                after["cursor"] = cursor[1]
            if event is not None:
                self._leave_event(connection, event, run, {"state": state, "counters": kept, "error": error})
            self._audit.record(
                connection, actor or f"run:{run_id}", "run.finished", run_id, {"state": run.state}, after
            )
        return True

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Events with a number above ``after``, in order."""
        query = sa.select(events).where(events.c.number > after).order_by(events.c.number).limit(limit)
        with self._database.read() as connection:
            return [Event(**row._asdict()) for row in connection.execute(query)]

    def _leave_event(self, connection: sa.Connection, type: str, run: sa.Row[Any], payload: dict[str, Any]) -> None:  # noqa: A002
        connection.execute(
            events.insert().values(
                at=self._database.now(connection),
                type=type,
                mapping_id=run.mapping_id,
                run_id=run.id,
                payload=self._redact(payload),
            )
        )

    def _keep_version(self, connection: sa.Connection, mapping_id: str, text: str, sha256: str, now: datetime) -> None:
        connection.execute(
            self._database.insert(mapping_versions)
            .values(sha256=sha256, mapping_id=mapping_id, text=text, first_seen_at=now)
            .on_conflict_do_nothing()
        )


def _one(connection: sa.Connection, run_id: str, *, lock: bool = False) -> sa.Row[Any]:
    query = sa.select(runs).where(runs.c.id == run_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise SyncDataError(f"There is no run {run_id}", hint="See `airflow-sync status`.", code="run_unknown")
    return row


def _filters(
    mapping_id: str | None, state: str | None, since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if mapping_id is not None:
        found.append(runs.c.mapping_id == mapping_id)
    if state is not None:
        found.append(runs.c.state == state)
    if since is not None:
        found.append(sa.or_(runs.c.finished_at.is_(None), runs.c.finished_at >= since))
    if until is not None:
        found.append(runs.c.created_at < until)
    return found


def _run_id(airflow_run_id: str, now: datetime) -> str:
    from ulid import ULID

    ours = _OURS.fullmatch(airflow_run_id)
    return ours[1] if ours else str(ULID.from_datetime(now))


def _run(row: sa.Row[Any]) -> Run:
    return Run(
        id=row.id,
        mapping_id=row.mapping_id,
        mapping_sha256=row.mapping_sha256,
        dag_id=row.dag_id,
        airflow_run_id=row.airflow_run_id,
        trigger=row.trigger,
        params=row.params,
        interval=(row.interval_start, row.interval_end) if row.interval_start and row.interval_end else None,
        state=row.state,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        counters=row.counters,
        error=row.error,
    )
