"""A run whose source has not changed since the last one that brought all of it in: it reads nothing and writes nothing.

Only sources that tell their version at once are asked, such as a spreadsheet. What somebody changed in the destination meanwhile
stays as it is; ``full_refresh`` reads the source all the same and asserts the destination anew.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import OLD, OP
from sync_provider.engine.run import RunContext
from sync_provider.engine.staging import stage

if TYPE_CHECKING:
    from sync_provider.connectors.base import Connector

log = logging.getLogger(__name__)


def version_of(source: Connector) -> str | None:
    """The source's version, to be asked for before it is read; None where it has none, or finding out costs a read."""
    return source.token() if source.capabilities.tells_version else None


def asks_for_less(ctx: RunContext) -> bool:
    """Whether a person asked for a part of the source."""
    params = ctx.params
    part = params.since or params.until or params.keys or params.limit is not None
    return bool(part) or ctx.interval is not None


def is_settled(ctx: RunContext, version: str | None) -> bool:
    """Whether everything that this run could bring in is there already."""
    if version is None or ctx.params.full_refresh or asks_for_less(ctx):
        return False
    earlier = ctx.env.ledger.sources.unchanged_since(ctx.id, version)
    if earlier is None or next(ctx.env.ledger.rejections.pending_replays(ctx.mapping.id), None) is not None:
        return False
    log.info("the source has not changed since run %s: nothing is read or written; full_refresh does it anew", earlier)
    return True


def nothing(ctx: RunContext, version: str | None) -> dict[str, Any]:
    """What ``extract`` leaves of such a run: a stage without records, for whoever looks at the plan."""
    import pyarrow as pa

    names = [f.destination for f in ctx.mapping.fields]
    schema = pa.schema([(name, pa.string()) for name in (OP, *names, *(OLD + name for name in names))])
    return {
        **stage(ctx.env.store, ctx.path("extracted.parquet"), schema, ()).as_dict(),
        "read": 0,
        "rejected": 0,
        "unchanged": 0,
        "filtered": 0,
        "without_id": 0,
        "cursor": None,
        "letters": {},
        "partial": True,
        "files": [],
        "replays": [],
        "boundary": None,
        "version": version,
        "source_unchanged": True,
    }


def source_unchanged(ctx: RunContext) -> bool:
    """Whether ``extract`` found that there is nothing to do; later phases then ask neither system anything."""
    return bool(ctx.artifact("extract").get("source_unchanged"))
