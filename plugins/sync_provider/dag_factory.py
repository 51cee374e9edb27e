"""One mapping in, one DAG out; the same text always gives the same DAG.

Runs whenever Airflow parses DAG files: it opens no socket, no ledger and no store, and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pendulum
from airflow.sdk import (
    DAG,
    Asset,
    AssetAny,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    Param,
    chain,
    get_parsing_context,
)

from sync_provider import hooks, operators
from sync_provider.core.conflicts import SIDES
from sync_provider.core.durations import parse_duration
from sync_provider.core.endpoints import CsvEndpoint, Endpoint, ExcelEndpoint, GoogleSheetsEndpoint, SqlEndpoint
from sync_provider.core.errors import MappingError, MappingErrors, SyncError, Where
from sync_provider.core.mapping import Mapping
from sync_provider.core.mapping_checks import unavailable
from sync_provider.core.schedule import Schedule
from sync_provider.engine.loader import MappingSource, load_mapping, scan_mappings
from sync_provider.notify import refused_notifiers

PREFIX = "sync__"
FIRST_DAY = "2025-01-01"
"""Start of the first interval where the mapping names none; fixed, because a start that moves would never arrive."""


class BrokenMappings(Exception):  # noqa: N818  # its name is the headline of Airflow's import-error banner
    """Some mappings are wrong. Raised by a DAG file of its own, so that Airflow shows it and no DAG is lost."""


def register_integrations(namespace: MutableMapping[str, Any], path: str | Path | None = None) -> None:
    """Put one DAG per mapping into a DAG file's globals. A broken mapping is left out and hides no other.

    Args:
        namespace: ``globals()`` of the DAG file.
        path: folder of the mappings; default `[sync_provider] mappings_dir`.
    """
    directory = Path(path) if path is not None else hooks.mappings_dir()
    wanted = get_parsing_context().dag_id
    if wanted is None:
        dags = build_all(directory)[0]
    elif wanted.startswith(PREFIX):
        # A task's process needs one DAG only: with it, its start does not depend on the number of mappings.
        dags = [build_dag(load_mapping(wanted.removeprefix(PREFIX), directory))]
    else:
        dags = []
    for dag in dags:
        # Airflow sends tasks to the file that it finds here, and took the one in which DAG() was called.
        dag.fileloc = namespace["__file__"]
        namespace[dag.dag_id] = dag


def report_broken_mappings(path: str | Path | None = None) -> None:
    """Raise one error that lists every broken mapping by place; nothing if all are well.

    Raises:
        BrokenMappings: some are broken.
    """
    if get_parsing_context().dag_id is not None:
        return
    directory = Path(path) if path is not None else hooks.mappings_dir()
    if errors := build_all(directory)[1]:
        lines = "\n".join(f"  {error}" for error in errors)
        raise BrokenMappings(f"{len(errors)} in {directory}; all other integrations are loaded\n{lines}") from None


def build_all(directory: Path) -> tuple[list[DAG], list[SyncError]]:
    """Build every mapping of a folder: the DAGs in order of their ids, and the errors of those that are broken."""
    scan = scan_mappings(directory)
    dags: list[DAG] = []
    errors: list[SyncError] = list(scan.errors)
    for source in scan.sources:
        try:
            dags.append(build_dag(source))
        except SyncError as error:
            errors.append(error)
        except Exception as error:  # noqa: BLE001  # whatever Airflow refuses in one mapping must not hide the others
            errors.append(MappingError(f"Airflow refuses it: {error}", where=Where(file=str(source.path))))
    return dags, errors


def build_dag(source: MappingSource) -> DAG:
    """Build the DAG of one mapping.

    Raises:
        MappingErrors: the mapping declares something that this version does not offer.
    """
    check_available(source)
    mapping = source.mapping
    options = mapping.airflow
    dag = DAG(
        dag_id=mapping.dag_id,
        description=mapping.description
        or f"{mapping.source.type} {'↔' if mapping.two_way else '→'} {mapping.destination.type}",
        schedule=timetable(mapping),
        start_date=pendulum.from_format(mapping.start_date or FIRST_DAY, "YYYY-MM-DD", tz=mapping.timezone),
        catchup=False,
        max_active_runs=options.max_active_runs,
        default_args={
            "owner": options.owner,
            "retries": options.retries,
            "retry_delay": parse_duration(options.retry_delay),
            "priority_weight": options.priority_weight,
            **{name: value for name in ("pool", "queue") if (value := getattr(options, name)) is not None},
        },
        params=run_form(mapping),
        tags=sorted({"sync", mapping.mode, mapping.source.type, mapping.destination.type, *options.tags}),
        doc_md=documentation(source),
    )
    _chain(dag, source)
    return dag


_EXTRACTS = {"sql": operators.SqlExtractOperator, "google_sheets": operators.SheetsExtractOperator}
_LOADS = {"sql": operators.SqlLoadOperator, "google_sheets": operators.SheetsLoadOperator}


def _chain(dag: DAG, source: MappingSource) -> None:
    mapping = source.mapping
    timeout = mapping.airflow.execution_timeout
    # An id is looked up in `mappings_dir`: what came from another folder is not there, or is another mapping.
    known = source.path.is_relative_to(hooks.mappings_dir())
    named = {"mapping_id": mapping.id} if known else {"mapping_file": str(source.path.absolute())}
    common: dict[str, Any] = {"dag": dag, **named}
    timed = {**common, "execution_timeout": parse_duration(timeout) if timeout else None}
    tasks = _two_way_tasks(mapping, timed, common) if mapping.two_way else _one_way_tasks(mapping, timed, common)
    for before, after in pairwise(tasks):
        chain(before, after)


def _one_way_tasks(mapping: Mapping, timed: dict[str, Any], common: dict[str, Any]) -> list[Any]:
    """Extract → validate → plan → [approve] → backup → load → report."""
    extract = _EXTRACTS.get(mapping.source.type, operators.FileExtractOperator)
    load = _LOADS.get(mapping.destination.type, operators.FileLoadOperator)
    return [
        extract(task_id="extract", inlets=assets_of(mapping.source), **timed),
        operators.ValidateOperator(task_id="validate", **timed),
        operators.PlanOperator(task_id="plan", **timed),
        *_approval(mapping, common),
        operators.BackupOperator(task_id="backup", **timed),
        load(task_id="load", outlets=_outlets(mapping, mapping.destination), **timed),
        operators.ReportOperator(task_id="report", **timed),
    ]


def _two_way_tasks(mapping: Mapping, timed: dict[str, Any], common: dict[str, Any]) -> list[Any]:
    """Both snapshots → plan → validate → [approve] → backup → apply → report."""
    snapshots = [
        operators.SnapshotOperator(
            side=side, task_id=f"snapshot_{side}", inlets=assets_of(mapping.endpoint(side)), **timed
        )
        for side in SIDES
    ]
    return [
        snapshots,
        operators.PlanOperator(task_id="plan", **timed),
        operators.ValidateOperator(task_id="validate", **timed),
        *_approval(mapping, common),
        operators.BackupOperator(task_id="backup", **timed),
        operators.ApplyOperator(
            task_id="apply", outlets=_outlets(mapping, mapping.source, mapping.destination), **timed
        ),
        operators.ReportOperator(task_id="report", **timed),
    ]


def _outlets(mapping: Mapping, *written: Endpoint) -> list[Asset]:
    """What others may be scheduled on. Not what the integration itself is: Airflow would start it anew after each of its own runs."""
    own = set(mapping.when.assets)
    return [asset for endpoint in written for asset in assets_of(endpoint) if asset.uri not in own]


def _approval(mapping: Mapping, common: dict[str, Any]) -> list[Any]:
    if mapping.guards.on_trip != "ask":
        return []
    wait = parse_duration(mapping.guards.approval_timeout)
    return [operators.ApprovePlanOperator(task_id="approve", response_timeout=wait, **common)]


def timetable(mapping: Mapping) -> Any:
    """Airflow's schedule for a mapping.

    An incremental mapping gets data intervals, so that a backfill has slices to load; the others start at the time that
    their cron names, as cron does.
    """
    schedule = mapping.when
    if schedule.kind == "assets":
        assets = AssetAny(*(Asset(uri) for uri in schedule.assets))
        return AssetOrTimeSchedule(assets=assets, timetable=_clock(mapping, schedule)) if schedule.text else assets
    return _clock(mapping, schedule)


def _clock(mapping: Mapping, schedule: Schedule) -> Any:
    intervals = mapping.incremental is not None
    if schedule.every is not None:
        return DeltaDataIntervalTimetable(schedule.every) if intervals else DeltaTriggerTimetable(schedule.every)
    if schedule.text is None or schedule.text in ("@once", "@continuous"):
        return schedule.text
    timetable_class = CronDataIntervalTimetable if intervals else CronTriggerTimetable
    return timetable_class(schedule.text, timezone=mapping.timezone)


def check_available(source: MappingSource) -> None:
    """Let a mapping pass that this version, as deployed here, can run.

    Raises:
        MappingErrors: what it cannot, each at its place in the file.
    """
    mapping = source.mapping
    errors = unavailable(mapping)
    if mapping.alerts.notifiers:
        found = refused_notifiers(mapping, hooks.allowed_notifiers())
        errors += [MappingError(text, where=Where(field=path), code="not_available") for path, text in found]
    if errors:
        raise MappingErrors([source.locate(error) for error in errors])


def assets_of(endpoint: Endpoint) -> list[Asset]:
    """The Airflow asset that an endpoint stands for: the same for every mapping that names the same place.

    Schemes start with ``x-``: for any other, Airflow imports the asset handlers of every installed provider (0.6 s, Google's
    client libraries included) into each process that parses DAGs.

    >>> [a.uri for a in assets_of(SqlEndpoint(type="sql", connection="app_db", table="public.clients"))]
    ['x-sql://app_db/public.clients']
    """
    match endpoint:
        case SqlEndpoint(table=None):
            return []
        case SqlEndpoint():
            return [Asset(f"x-sql://{endpoint.connection}/{quote(str(endpoint.table))}")]
        case CsvEndpoint() | ExcelEndpoint() if "://" in endpoint.path:
            return [Asset(f"x-{endpoint.path}")]
        case CsvEndpoint() | ExcelEndpoint():
            return [Asset(f"x-{endpoint.type}://{endpoint.connection or 'files'}/{quote(endpoint.path, safe='/*')}")]
        case GoogleSheetsEndpoint():
            return [Asset(f"x-google-sheets://{endpoint.connection}/{endpoint.spreadsheet}")]


def run_form(mapping: Mapping) -> dict[str, Param]:
    """What a person may choose when starting a run by hand, as Airflow's form shows it."""
    form = {
        "dry_run": Param(
            False,
            type="boolean",
            title="Essai à blanc",
            description="S'arrêter après le plan : rien n'est sauvegardé ni écrit.",
        ),
        "full_refresh": Param(
            False,
            type="boolean",
            title="Tout relire",
            description="Ignorer le curseur, les fichiers déjà lus et ce qui dit qu'un classeur n'a pas changé. Le curseur n'avance que vers l'avant.",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            title="Depuis",
            description="Lire à partir de cette valeur du curseur (2025-01-31T00:00:00+01:00). Demande `incremental`.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            title="Jusqu'à",
            description="Lire les enregistrements avant cette valeur du curseur. Demande `incremental`.",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Limite",
            description="Au plus ce nombre d'enregistrements.",
        ),
        "keys": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Clés",
            description="Seulement ces clés, une par ligne ; les parties d'une clé composée sont jointes par |.",
        ),
        "allow_deletes_once": Param(
            False,
            type="boolean",
            title="Autoriser les suppressions",
            description="Laisser cette exécution passer les garde-fous de suppression.",
        ),
    }
    if mapping.incremental is None or mapping.two_way:
        del form["since"], form["until"]
    if mapping.two_way:
        # Both sides are compared whole.
        del form["limit"]
        form["new_baseline"] = Param(
            False,
            type="boolean",
            title="Nouvelle référence",
            description="Repartir comme à la première exécution : copier ce qui manque, signaler ce qui diffère, ne rien supprimer.",
        )
    return form


def documentation(source: MappingSource) -> str:
    """The DAG's page in Airflow: what it does, whose it is, where to look, and its YAML as written."""
    mapping = source.mapping
    fence = "```"
    while fence in source.text:
        fence += "`"
    home = hooks.ui_path("synchronisation/")
    return "\n".join(
        (
            f"{mapping.description or mapping.id}",
            "",
            f"- {_direction(mapping)}",
            f"- Responsable : {mapping.airflow.owner}",
            f"- Fichier : `{source.path.name}`",
            f"- [Synchronisation]({home})",
            "",
            f"{fence}yaml",
            source.text.rstrip("\n"),
            fence,
        )
    )


def _direction(mapping: Mapping) -> str:
    if mapping.two_way:
        policy = mapping.conflicts.policy if mapping.conflicts else "merge"
        return f"{mapping.source.type} ↔ {mapping.destination.type}, conflits : `{policy}`, suppressions : `{mapping.deletes}`"
    return f"{mapping.source.type} → {mapping.destination.type}, `{mapping.write}`, `{mapping.mode}`"
