"""Who hears of what: one message when an integration starts to fail, one when it works again, none in between.

Airflow's notifiers render their arguments as Jinja. So a template here is always a constant, and what happened reaches it
as data: an error's text, a file's name or a mapping's description is never taken for a template.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sync_provider import hooks
from sync_provider.core.errors import SyncError
from sync_provider.core.mapping import Mapping, Notifier

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.settings import Settings

log = logging.getLogger(__name__)

OK = "ok"
TITLES = {
    "failure": "échec",
    "rejected": "enregistrements rejetés",
    "conflict": "conflits à trancher",
    OK: "rétablie",
}
COLOURS = {"failure": "#b42318", "rejected": "#b54708", "conflict": "#b54708", OK: "#067647"}
COUNTERS = {"rejected": "rejected", "conflict": "conflicts_open"}
"""States of a run that was reported, worst first, and the counter that tells of each."""

_PLACEHOLDER = re.compile(r"\{(integration|title|message|where|hint|link)\}")
_JINJA = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One alert, as data for templates.

    Args:
        title: the new state in words.
        message: what happened; empty on recovery.
        where: the place a person can go to; may be empty.
        hint: how to fix it; may be empty.
        link: address of the run in Airflow.
        facts: (label, text) pairs, in order; what templates show.
        support: (label, text) pairs: whom to call.
    """

    integration: str
    description: str
    title: str
    colour: str
    message: str
    where: str
    hint: str
    link: str
    facts: tuple[tuple[str, str], ...]
    support: tuple[tuple[str, str], ...]


def on_failure(context: Context) -> None:
    """A task failed for good: alert, then end its log with why. Airflow calls this."""
    alert(context, "failure")
    say_why(context)


def on_success(context: Context) -> None:
    """A run was reported: tell of rejections or conflicts, or that all is well again. Airflow calls this."""
    counters = _counters(context)
    alert(context, *(state for state, counter in COUNTERS.items() if counters.get(counter)))


def say_why(context: Context) -> None:
    """End the log with one sentence: where, what, how to fix it. Airflow calls this."""
    error = context.get("exception")
    if isinstance(error, SyncError):
        log.info("::endgroup::")  # else the sentence would be folded into the group that Airflow itself opens last
        log.error("%s", error)


def alert(context: Context, *states: str) -> None:
    """Send what a change of state asks for; a state that the integration is already in asks for nothing.

    Args:
        context: of the task.
        states: what is wrong, worst first: ``failure``, ``rejected``, ``conflict``; the first that ``alerts.on`` names counts. None:
            all is well.
    """
    try:
        task: Any = context["task"]
        mapping: Mapping = task.mapping_source().mapping
        state = next((state for state in states if state in mapping.alerts.on), OK)
        if state == OK and "failure" in states:
            return
        error = context.get("exception")
        with hooks.environment() as environment:
            ledger = environment.ledger
            which = _newest_conflict(ledger, mapping.id, task) if state == "conflict" else _fingerprint(error)
            if ledger.alerts.transition(mapping.id, state, which) is None:
                return
            message = compose(mapping, state, error, context, environment.settings)
            for send in _senders(mapping, environment.settings):
                send({"sync": asdict(message)})
    except Exception:
        # Whatever goes wrong with a message must not change the outcome of the run it tells of.
        log.exception("The alert could not be sent")


def compose(mapping: Mapping, state: str, error: Any, context: Context, settings: Settings) -> Message:
    """Put into words what happened. Errors that are not ours are named by type: their text may hold anything."""
    instance = context["ti"]
    ours = error if isinstance(error, SyncError) else None
    if ours is not None:
        what = ours.message
    elif error is not None:
        what = f"Erreur inattendue ({type(error).__name__}) ; le journal de la tâche en dit plus."
    else:
        what = {
            "failure": "La tâche a été arrêtée avant la fin.",
            "rejected": "Des enregistrements ne respectent pas les règles ; les autres sont écrits.",
            "conflict": f"Modifié des deux côtés, à trancher : {_counters(context).get('conflicts_open')}. Tout le reste est synchronisé.",
            OK: "La dernière exécution a réussi.",
        }[state]
    where = str(ours.where) if ours else ""
    hint = (ours.hint if ours else None) or ""
    if state == "conflict":
        hint = f"airflow-sync conflicts list {mapping.id} les montre, airflow-sync conflicts resolve les tranche."
    facts = (
        ("Quoi", what),
        ("Où", where),
        ("Comment corriger", hint),
        ("Tâche", f"{instance.dag_id} / {instance.task_id}"),
    )
    support = (
        ("Email Backend", settings.support_email),
        ("Téléphone", settings.support_phone),
        ("Support technique", f"Disponible {settings.support_hours}" if settings.support_hours else ""),
    )
    return Message(
        integration=mapping.id,
        description=mapping.description,
        title=TITLES[state],
        colour=COLOURS[state],
        message=what,
        where=where,
        hint=hint,
        link=f"{settings.base_url.rstrip('/')}/dags/{quote(instance.dag_id)}/runs/{quote(instance.run_id, safe='')}",
        facts=tuple(fact for fact in facts if fact[1]),
        support=tuple(line for line in support if line[1]),
    )


def refused_notifiers(mapping: Mapping, allowed: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What `alerts.notifiers` may not hold, as (path, message) pairs."""
    for index, notifier in enumerate(mapping.alerts.notifiers):
        if notifier.name not in allowed:
            names = ", ".join(allowed) or "none"
            yield (
                f"alerts.notifiers[{index}].name",
                f"{notifier.name} is not allowed; [sync_provider] notifiers: {names}",
            )
        for key, value in notifier.kwargs.items():
            if _holds_jinja(value):
                yield f"alerts.notifiers[{index}].kwargs.{key}", "a mapping holds no Jinja; write {message}, {link}…"


def _senders(mapping: Mapping, settings: Settings) -> Iterator[Callable[[dict[str, Any]], None]]:
    if mapping.alerts.emails:
        from sync_provider.alert_mail import AlertMail

        yield AlertMail(to=mapping.alerts.emails, from_email=settings.mail_from, smtp_conn_id=settings.smtp_connection)
    refused = {path for path, _ in refused_notifiers(mapping, settings.notifiers)}
    for index, notifier in enumerate(mapping.alerts.notifiers):
        if not any(path.startswith(f"alerts.notifiers[{index}].") for path in refused):
            yield _notifier(notifier)


def _notifier(declared: Notifier) -> Callable[[dict[str, Any]], None]:
    """An Airflow notifier whose ``{message}``, ``{link}``… become references to our data, never text to be rendered."""
    module, _, name = declared.name.rpartition(".")
    sender: Callable[[dict[str, Any]], None] = getattr(import_module(module), name)(**_referring(declared.kwargs))
    return sender


def _referring(value: Any) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(r"{{ sync.\1 }}", value)
    if isinstance(value, dict):
        return {key: _referring(item) for key, item in value.items()}
    return [_referring(item) for item in value] if isinstance(value, list) else value


def _holds_jinja(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_jinja(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_holds_jinja(item) for item in value)
    return isinstance(value, str) and _JINJA.search(value) is not None


def _counters(context: Context) -> dict[str, Any]:
    """What the task counted."""
    instance = context["ti"]
    return instance.xcom_pull(task_ids=instance.task_id) or {}


def _newest_conflict(ledger: Ledger, mapping_id: str, task: Any) -> str | None:
    """The run that left new conflicts open; without new ones, that of which people were told."""
    if ledger.conflicts.count(mapping_id=mapping_id, run_id=task.sync_run, statuses=("open",)):
        return str(task.sync_run)
    told = ledger.alerts.get(mapping_id)
    return told.fingerprint if told and told.state == "conflict" else str(task.sync_run)


def _fingerprint(error: Any) -> str | None:
    """Which trouble it is: the same error with other numbers in it is the same trouble."""
    if isinstance(error, SyncError):
        return f"{error.category}/{error.code or type(error).__name__}"
    return type(error).__name__ if error is not None else None
