"""`airflow-sync apply`: write exactly a plan that was shown, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from sync_provider.cli.driving import driving
from sync_provider.cli.run import approve_option, carry_out
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import moment
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncDataError

_LISTED = 5

if TYPE_CHECKING:
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.ledger.records import Run


@click.command()
@click.argument("plan", metavar="PLAN")
@click.option("--allow-deletes-once", is_flag=True, help="Let it pass the guards.")
@approve_option
@common_options
@pass_session
def apply(session: Session, /, plan: str, *, allow_deletes_once: bool, approve: bool) -> None:
    """Write the plan PLAN, as `airflow-sync plan` showed it: its run's id, or its digest, or the start of either.

    Both sides are read again. If what would be written is not exactly that plan any more, nothing is, and the command exits with 4.
    """
    with session.environment() as env:
        shown, digest = _find(env.ledger, plan)
    source = session.mapping(shown.mapping_id)
    if source.sha256 != shown.mapping_sha256:
        raise SyncDataError(
            f"the mapping {shown.mapping_id} was changed since this plan was made; nothing was written",
            hint=f"Look at a new plan: airflow-sync plan {shown.mapping_id}.",
            code="plan_stale",
        )
    asked = {**shown.params, "keys": tuple(shown.params.get("keys") or ()), "dry_run": False}
    params = RunParams(**{**asked, "allow_deletes_once": allow_deletes_once})
    with driving(session, source, params) as drive:
        carry_out(session, drive, approve=approve, only=digest)


def _find(ledger: Ledger, text: str) -> tuple[Run, str]:
    """The plan that a person means: its newest run, and its digest.

    Raises:
        SyncDataError: there is none, or the text fits several.
    """
    fitting = [
        plan for plan in _plans(ledger) if plan[0].id.startswith(text.upper()) or plan[1].startswith(text.lower())
    ]
    # The same plan made several times, of one integration, is one plan.
    fitting.sort(key=_identity)
    found = [next(same) for _, same in groupby(fitting, key=_identity)]
    if len(found) == 1 and text:
        return found[0]
    if not found or not text:
        raise SyncDataError(
            f"no plan fits {text!r}", hint="`airflow-sync plan ID` makes one and names it.", code="plan_unknown"
        )
    newest = sorted(found, key=lambda plan: plan[0].id, reverse=True)
    listed = "; ".join(
        f"{run.id} of {run.mapping_id}, digest {digest[:12]}, made {moment(run.created_at)}"
        for run, digest in newest[:_LISTED]
    )
    more = f"; and {len(found) - _LISTED} older ones" if len(found) > _LISTED else ""
    raise SyncDataError(
        f"{text!r} fits {len(found)} plans: {listed}{more}", hint="Give more of one.", code="plan_unknown"
    )


def _identity(plan: tuple[Run, str]) -> tuple[str, str]:
    return plan[0].mapping_id, plan[1]


def _plans(ledger: Ledger) -> Iterator[tuple[Run, str]]:
    """What `airflow-sync plan` and dry runs have planned and the ledger still knows, newest first."""
    for run in ledger.runs.list():
        row = ledger.runs.phase(run.id, "plan") if run.params.get("dry_run") else None
        if row is not None and row.artifact is not None and row.state == "succeeded":
            yield run, str(row.artifact["digest"])
