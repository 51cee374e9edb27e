"""Refused records shown in the source's own spreadsheet: what people correct there is collected, then the tab is brought up to date.

A crash anywhere is harmless: a correction is collected again, or is known already; the tab is compared before it is changed, and a row that
somebody has edited since it was collected stays until the next run collects it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import SyncDataError
from sync_provider.core.schema import LogicalType
from sync_provider.engine.lease import held_lease
from sync_provider.engine.run import RunContext

if TYPE_CHECKING:
    from sync_provider.connectors.base import Connector
    from sync_provider.connectors.sheets.rejects import RejectsTab, Row
    from sync_provider.engine.ledger.rejections import StoredRejection

log = logging.getLogger(__name__)

SHOWN = 1_000  # records; `airflow-sync rejects` shows all
_STRING = LogicalType("string")
_Content = tuple[Any, ...]


def collect(ctx: RunContext, source: Connector) -> int:
    """Take over what people corrected in the tab, for this run to replay.

    Returns:
        How many rows of refused records the tab shows.
    """
    if not _declared(ctx) or ctx.params.dry_run:
        return 0
    tab = _open(ctx, source, write=False)
    corrected = 0
    for row in tab.rows:
        refused = _known(ctx, row)
        if refused is None or refused.status not in ("open", "corrected"):
            continue
        if changes := _changes(ctx, tab, row, refused):
            ctx.env.ledger.rejections.correct(refused.id, changes, f"tab:{_title(ctx)}")
            corrected += 1
    if corrected:
        log.info("%d records were corrected in the tab %r", corrected, _title(ctx))
    return len(tab.rows)


def update(ctx: RunContext, extracted: dict[str, Any]) -> None:
    """Show the records that are refused now: rows are added, renumbered and removed; nothing else is touched.

    Args:
        ctx: the run.
        extracted: the artifact of ``extract``.

    Raises:
        SyncError: the spreadsheet may not be edited, or cannot be reached.
    """
    if not _declared(ctx) or ctx.params.dry_run or extracted.get("source_unchanged"):
        return
    wanted = {_content(refused): refused for refused in _to_show(ctx, whole=not extracted["partial"])}
    if not wanted and not extracted.get("shown"):
        return
    endpoint = ctx.mapping.source
    assert isinstance(endpoint, GoogleSheetsEndpoint)
    resource = f"google-sheets:{endpoint.spreadsheet}:{_title(ctx)}"
    with held_lease(ctx.env.ledger, resource, ctx.id), ctx.connect("source") as source:
        tab = _open(ctx, source, write=True)
        renumbered: dict[int, int] = {}
        removed: list[int] = []
        for row in tab.rows:
            shown = _known(ctx, row)
            if shown is None:
                continue
            if shown.status == "open" and _changes(ctx, tab, row, shown):
                wanted.pop(_content(shown), None)
                continue
            now = wanted.pop(_content(shown), None)
            if now is None:
                removed.append(row.at)
            elif now.id != row.number:
                renumbered[row.at] = now.id
        tab.update(
            renumbered=renumbered, removed=removed, added=[_refused(ctx, refused) for refused in wanted.values()]
        )


def _declared(ctx: RunContext) -> bool:
    return getattr(ctx.mapping.source, "rejects_tab", None) is not None


def _title(ctx: RunContext) -> str:
    return str(getattr(ctx.mapping.source, "rejects_tab", ""))


def _open(ctx: RunContext, source: Connector, *, write: bool) -> RejectsTab:
    from sync_provider.connectors.sheets.connector import SheetsConnector

    assert isinstance(source, SheetsConnector)
    return source.rejects(list(dict.fromkeys(f.source for f in ctx.mapping.fields)), write=write)


def _to_show(ctx: RunContext, *, whole: bool) -> Iterator[StoredRejection]:
    """Open rejections: of a run that read everything its own, else all; not what a person has decided about already."""
    rejections, mapping_id = ctx.env.ledger.rejections, ctx.mapping.id
    decided = {
        _content(item)
        for status in ("corrected", "replayed", "dismissed")
        for item in rejections.list(mapping_id=mapping_id, status=status)
    }
    found = rejections.list(mapping_id=mapping_id, run_id=ctx.id if whole else None, status="open", current=not whole)
    fresh = (item for item in found if _content(item) not in decided)
    yield from islice(fresh, SHOWN)
    if next(fresh, None) is not None:
        log.warning(
            "the tab %r shows %d records; airflow-sync rejects list %s shows all", _title(ctx), SHOWN, mapping_id
        )


def _known(ctx: RunContext, row: Row) -> StoredRejection | None:
    """The rejection of this integration that a row shows; None for rows of others."""
    try:
        found = ctx.env.ledger.rejections.get(row.number)
    except SyncDataError:
        return None
    return found if found.mapping_id == ctx.mapping.id else None


def _content(item: StoredRejection) -> _Content:
    """What is the same when another run refuses the same record for the same reason."""
    return item.phase, item.rule, item.field, item.message, str(item.where), item.key, tuple(item.original.items())


def _names(ctx: RunContext, item: StoredRejection) -> dict[str, str]:
    """Source column → the rejection's own name for it: a record that was converted goes by destination names."""
    if item.phase == "extract":
        return {name: name for name in item.original}
    names = {f.source: f.destination for f in reversed(ctx.mapping.fields)}
    return {source: name for source, name in names.items() if name in item.original}


def _changes(ctx: RunContext, tab: RejectsTab, row: Row, item: StoredRejection) -> dict[str, str | None]:
    """What a person has changed in a row, by the rejection's names."""
    types = {f.source: f.logical_type for f in reversed(ctx.mapping.fields)}
    found: dict[str, str | None] = {}
    for source, name in _names(ctx, item).items():
        if source in row.cells:
            text = tab.text(row.cells[source], types.get(source, _STRING))
            if text != (item.record[name] or ""):
                found[name] = text or None
    return found


def _refused(ctx: RunContext, item: StoredRejection) -> Any:
    from sync_provider.connectors.sheets.rejects import Refused

    where = item.where
    cell = f"{where.sheet}!{where.cell}" if where.sheet and where.cell else where.sheet or ""
    if where.row is not None and not where.cell:
        cell = f"{cell} {where.row}".strip()
    record = {source: item.record[name] or "" for source, name in _names(ctx, item).items()}
    return Refused(item.id, item.message, item.field or "", cell, item.rule, record)
