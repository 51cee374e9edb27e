"""`airflow-sync apply`: write exactly a plan that was shown, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sync_provider.cli.driving import driving
from sync_provider.cli.run import carry_out
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncDataError

if TYPE_CHECKING:
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.ledger.records import Run


@click.command()
@click.argument("plan", metavar="PLAN")
@click.option("--allow-deletes-once", is_flag=True, help="Let it pass the guards.")
@click.option("--approve", is_flag=True, help="If a guard trips, ask the person at this terminal, who is audited.")
@common_options
@pass_session
def apply(session: Session, /, plan: str, *, allow_deletes_once: bool, approve: bool) -> None:
    """Write the plan PLAN, as `airflow-sync plan` showed it: the run's id, or the plan's digest or its start.

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
    """The newest plan that a person means, and its digest.

    Raises:
        SyncDataError: there is none, or the text fits several.
    """
    found: dict[str, Run] = {}
    for run in ledger.runs.list():
        row = ledger.runs.phase(run.id, "plan") if run.params.get("dry_run") else None
        if row is None or row.artifact is None or row.state != "succeeded":
            continue
        digest = str(row.artifact["digest"])
        if run.id.startswith(text.upper()) or digest.startswith(text.lower()):
            found.setdefault(digest, run)
    if len(found) == 1:
        ((digest, run),) = found.items()
        return run, digest
    what = f"{len(found)} plans fit" if found else "no plan fits"
    raise SyncDataError(f"{what} {text!r}", hint="`airflow-sync plan ID` makes one and names it.", code="plan_unknown")
