"""What the pages show, read from ledger and store; values are escaped by the templates and never logged."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined

from sync_provider import hooks
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.engine.environment import Environment
from sync_provider.engine.ledger import Run

NOT_FOUND = frozenset({"run_unknown", "page_missing", "store_missing"})
PER_PAGE = 100
SHOWN_CHANGES = 100
STATES = {
    "queued": "en attente",
    "running": "en cours",
    "succeeded": "réussi",
    "partial": "partiel",
    "blocked": "bloqué",
    "failed": "échoué",
}
REJECTION_STATES = {"open": "ouvert", "corrected": "corrigé", "replayed": "rejoué", "dismissed": "écarté"}


@lru_cache(maxsize=1)
def templates() -> Templates:
    """Our templates; everything they are given is escaped."""
    made = Templates(loader=PackageLoader("sync_provider.web"), autoescape=True, undefined=StrictUndefined)
    made.globals["root"] = hooks.ui_path("synchronisation")
    made.globals["state_name"] = STATES.get
    made.globals["status_name"] = REJECTION_STATES.get
    return made


def home(page: int) -> str:
    """The latest runs of every integration, newest first."""
    with hooks.environment() as env:
        runs = env.ledger.runs.list(limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE)
    return _render("home.html", runs=runs[:PER_PAGE], page=page, more=len(runs) > PER_PAGE)


def plan(run_id: str) -> str:
    """What the run would change, on both sides if it is two-way, the conflicts, and the guards that objected."""
    with hooks.environment() as env:
        run = env.ledger.runs.get(run_id)
        artifact = _artifact(env, run, "plan")
        two_way = "actions" in artifact
        paths = (
            {"À la source": artifact["source"]["path"], "À destination": artifact["destination"]["path"]}
            if two_way
            else {"": artifact.get("path")}
        )
        changes = {title: found for title, path in paths.items() if (found := changes_of(env, path))}
        conflicts = conflicts_of(env, artifact) if two_way else []
        keys = _keys(env.ledger.runs.mapping_text(run.id))
    labels = [("Ajouts", "inserts"), ("Modifications", "updates"), ("Suppressions", "deletes")]
    labels += (
        [("Conflits ouverts", "open"), ("Conflits réglés", "settled")]
        if two_way
        else [("Inchangés", "unchanged"), ("Déjà à destination", "existing")]
    )
    numbers = [(label, artifact.get(name)) for label, name in (*labels, ("Rejetés", "rejected"))]
    return _render(
        "plan.html",
        run=run,
        numbers=numbers,
        trips=artifact.get("trips", []),
        changes=changes,
        keys=keys,
        conflicts=conflicts,
    )


def rejections(run_id: str, page: int) -> str:
    """The refused records of a run with rule, field, value and place."""
    with hooks.environment() as env:
        run = env.ledger.runs.get(run_id)
        rules = env.ledger.rejections.by_rule(run_id)
        rows = list(env.ledger.rejections.list(run_id=run_id, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE))
    return _render("rejections.html", run=run, rules=rules, rows=rows[:PER_PAGE], page=page, more=len(rows) > PER_PAGE)


def report(run_id: str) -> str:
    """The Great Expectations report as the run stored it: a page of its own, without any record's value."""
    from sync_provider.engine.phases.validate import REPORT
    from sync_provider.engine.staging import run_folder

    with hooks.environment() as env:
        run = env.ledger.runs.get(run_id)
        path = f"{run_folder(run.mapping_id, run.id)}/{REPORT}"
        if not env.store.exists(path):
            raise _missing("this run has no validation report (any more)")
        with env.store.open_read(path) as file:
            return bytes(file.read()).decode()


def conflicts_of(env: Environment, artifact: dict[str, Any]) -> list[dict[str, Any]]:
    """The first conflicts that a two-way plan found; empty where they are not staged any more."""
    path = artifact["conflicts"]
    if not env.store.exists(path):
        return []
    with env.store.open_read(path) as lines:
        return [json.loads(line) for line in islice(lines, SHOWN_CHANGES)]


def changes_of(env: Environment, path: str | None) -> list[dict[str, Any]]:
    """The first planned changes, as dicts of operation and cells (name, old, new); empty where none are staged any more."""
    from sync_provider.connectors.base import COORDINATES, OLD, OP
    from sync_provider.engine.staging import unstage

    if path is None or not env.store.exists(path):
        return []
    shown: list[dict[str, Any]] = []
    for batch in unstage(env.store, path):
        for row in islice(batch.slice(0, SHOWN_CHANGES).to_pylist(), SHOWN_CHANGES - len(shown)):
            names = [n for n in row if n != OP and not n.startswith(("__", OLD)) and n not in COORDINATES]
            cells = [(name, row.get(OLD + name), row[name]) for name in names]
            operation = row.get(OP, "insert")
            shown.append({"operation": operation, "cells": cells})
        if len(shown) >= SHOWN_CHANGES:
            break
    return shown


def _keys(mapping_text: str) -> tuple[str, ...]:
    """Names of the key's columns on either side, in the version that the run used; empty where the text alone does not tell."""
    from sync_provider.core.mapping_text import parse_mapping

    try:
        mapping = parse_mapping(mapping_text)
    except MappingError:
        return ()
    return (*mapping.key, *(f.source for f in mapping.fields if mapping.two_way and f.destination in mapping.key))


def _artifact(env: Environment, run: Run, phase: str) -> dict[str, Any]:
    row = env.ledger.runs.phase(run.id, phase)
    if row is None or not row.artifact:
        raise _missing(f"this run has no {phase} (yet)")
    return dict(row.artifact)


def _missing(message: str) -> SyncDataError:
    return SyncDataError(message, hint="Look at the run in Airflow.", code="page_missing")


def _render(name: str, **values: Any) -> str:
    return templates().get_template(name).render(**values)
