"""Rules of a mapping that span several keys, each with the place at which it is broken. No I/O."""

from __future__ import annotations

import re

from sync_provider.core.conflicts import SIDES, Side
from sync_provider.core.durations import parse_duration
from sync_provider.core.endpoints import FileEndpoint, is_pattern
from sync_provider.core.errors import MappingError, Where
from sync_provider.core.mapping import Conflicts, FieldMapping, Mapping
from sync_provider.core.yaml_text import KeyPath

Problems = list[tuple[KeyPath, str]]


def inconsistencies(mapping: Mapping) -> Problems:
    """Everything about a mapping that no single key is to blame for."""
    by_mode = _two_way_problems if mapping.two_way else _one_way_problems
    return [
        *_field_problems(mapping),
        *_cursor_problems(mapping),
        *_key_problems(mapping),
        *_endpoint_problems(mapping),
        *_pattern_problems(mapping),
        *_range_problems(mapping),
        *(problem for side in SIDES for problem in _id_problems(mapping, side)),
        *by_mode(mapping),
    ]


def unavailable(mapping: Mapping) -> list[MappingError]:
    """What the models accept for the versions to come and this one does not run: said, not ignored."""
    found = []
    if mapping.when.kind == "realtime":
        found.append(("schedule", "realtime is not available in this version"))
    if mapping.webhooks:
        found.append(("webhooks", "webhooks are not available in this version"))
    return [MappingError(message, where=Where(field=field), code="not_available") for field, message in found]


def _field_problems(mapping: Mapping) -> Problems:
    found: Problems = []
    names = [f.destination for f in mapping.fields]
    for index, name in enumerate(names):
        if name in names[:index]:
            found.append((("fields", index, "destination"), f"{name!r} is mapped twice"))
        if name.startswith("__"):
            found.append((("fields", index, "destination"), f"{name!r}: names starting with __ are ours"))
    return found


def _cursor_problems(mapping: Mapping) -> Problems:
    """A cursor only grows, and only times have a before."""
    if (incremental := mapping.incremental) is None:
        return []
    kinds = {f.destination: f.logical_type.kind for f in mapping.fields}
    kind = kinds.get(incremental.cursor)
    if kind is None:
        return [(("incremental", "cursor"), f"{incremental.cursor!r} is no destination field")]
    if kind in ("boolean", "double", "json"):
        grows = "follow an integer, date, timestamp, decimal or string that only grows"
        return [(("incremental", "cursor"), f"{incremental.cursor!r} is a {kind}; {grows}")]
    if parse_duration(incremental.lookback) and kind not in ("date", "timestamp"):
        message = f"{incremental.cursor!r} is of type {kind}: only date and timestamp cursors can look back"
        return [(("incremental", "lookback"), message)]
    return []


def _key_problems(mapping: Mapping) -> Problems:
    found: Problems = []
    kinds = {f.destination: f.logical_type.kind for f in mapping.fields}
    for index, name in enumerate(mapping.key):
        if name not in kinds:
            found.append((("key", index), f"{name!r} is no destination field; fields are {', '.join(kinds)}"))
        elif kinds[name] in ("double", "json"):
            found.append(
                (("key", index), f"{name!r} is a {kinds[name]}, whose spelling varies: it identifies no record")
            )
    one_way = not mapping.two_way
    if not mapping.key and (not one_way or mapping.write in ("upsert", "mirror")):
        what = f"write: {mapping.write}" if one_way else "mode: bidirectional"
        found.append((("key",), f"{what} needs a key to recognise records by"))
    return found


def _endpoint_problems(mapping: Mapping) -> Problems:
    found: Problems = []
    if getattr(mapping.destination, "rejects_tab", None) is not None:
        found.append((("destination", "rejects_tab"), "refused records are shown beside the source; give it there"))
    if (title := getattr(mapping.source, "rejects_tab", None)) is not None:
        if mapping.two_way:
            found.append((("source", "rejects_tab"), "only one-way integrations replay what is corrected there"))
        elif _means(getattr(mapping.source, "sheet", None), title):
            found.append((("source", "rejects_tab"), "this is the tab that is read; give another title"))
    if getattr(mapping.destination, "query", None) is not None:
        found.append((("destination", "query"), "a query can only be read; give the table to write to"))
    if "*" in str(getattr(mapping.destination, "path", "")):
        found.append((("destination", "path"), "a pattern can only be read; give one file to write to"))
    return found


def _range_problems(mapping: Mapping) -> Problems:
    """A named range has an end, which new records would have to move."""
    found: Problems = []
    for side in SIDES:
        if getattr(mapping.endpoint(side), "range", None) is None:
            continue
        if side == "destination" or mapping.two_way:
            found.append(((side, "range"), "a named range can only be read; give the sheet to write to"))
        elif mapping.id_column(side) is not None:
            found.append(((side, "id_column"), "a named range can only be read, and no ids be written; give its sheet"))
    return found


def _id_problems(mapping: Mapping, side: Side) -> Problems:
    """An id column is the whole key, and holds ids as they are."""
    column = mapping.id_column(side)
    if column is None:
        return []
    place = (side, "id_column")
    if side == "destination" and not mapping.two_way:
        return [(place, "rows of a destination have the key of their source; ids are given at the source")]
    fields = [f for f in mapping.fields if (f.source if side == "source" else f.destination) == column]
    if len(fields) != 1:
        return [
            (
                place,
                f"map {column!r} by exactly one field: it is the key" if not fields else f"{column!r} is mapped twice",
            )
        ]
    (field,) = fields
    found: Problems = []
    if mapping.key != (field.destination,):
        found.append(
            (("key",), f"rows are known by their id alone: with {side}.id_column, key must be [{field.destination}]")
        )
    at = ("fields", mapping.fields.index(field))
    if field.logical_type.kind != "string":
        found.append(((*at, "type"), f"{column!r} holds ids, which are texts; its type must be string"))
    if field.to_destination is not None and not mapping.two_way:
        found.append(((*at, "to_destination"), "an id travels as it is"))
    if field.optional:
        found.append(((*at, "optional"), "the column is added where it is missing; leave this out"))
    if len(mapping.fields) == 1:
        found.append((("fields",), "only the id is mapped; map what its rows hold too"))
    return found


def _pattern_problems(mapping: Mapping) -> Problems:
    """A sheet's name between slashes is a regular expression."""
    found: Problems = []
    for side in SIDES:
        sheet = getattr(mapping.endpoint(side), "sheet", None)
        if isinstance(sheet, str) and is_pattern(sheet):
            try:
                re.compile(sheet[1:-1])
            except re.error as error:
                found.append(((side, "sheet"), f"{sheet!r} is no regular expression: {error}"))
    return found


def _means(sheet: object, title: str) -> bool:
    """Whether an endpoint's ``sheet`` is, or fits, the title."""
    if not isinstance(sheet, str):
        return False
    if is_pattern(sheet):
        try:
            return re.fullmatch(sheet[1:-1], title) is not None
        except re.error:
            return False
    return sheet.casefold() == title.casefold()


def _one_way_problems(mapping: Mapping) -> Problems:
    found: Problems = []
    if mapping.conflicts is not None:
        found.append((("conflicts",), "only mode: bidirectional has conflicts"))
    if mapping.deletes != "none":
        found.append((("deletes",), "only mode: bidirectional passes deletions on; one way, write: mirror deletes"))
    for index, field in enumerate(mapping.fields):
        if field.to_source is not None:
            found.append((("fields", index, "to_source"), "only mode: bidirectional writes to the source"))
        if field.direction != "both":
            found.append(
                (("fields", index, "direction"), "only mode: bidirectional has directions; leave the field out")
            )
    if mapping.write in ("mirror", "replace"):
        # What such a read leaves out would look deleted.
        if mapping.incremental is not None:
            found.append((("incremental",), f"write: {mapping.write} must read everything each time"))
        if getattr(mapping.source, "only_new", False):
            found.append((("source", "only_new"), f"write: {mapping.write} must read everything each time"))
    return found


def _two_way_problems(mapping: Mapping) -> Problems:
    return [
        *_two_way_endpoints(mapping),
        *(problem for index, field in enumerate(mapping.fields) for problem in _two_way_field(mapping, index, field)),
        *_conflict_problems(mapping),
    ]


def _two_way_endpoints(mapping: Mapping) -> Problems:
    """Both ends are read whole and written."""
    found: Problems = []
    if getattr(mapping.source, "query", None) is not None:
        found.append((("source", "query"), "mode: bidirectional writes to the source too; give its table"))
    for side in ("source", "destination"):
        endpoint = mapping.endpoint(side)
        if side == "source" and "*" in str(getattr(endpoint, "path", "")):
            found.append(((side, "path"), "mode: bidirectional writes to the source too; give one file, not a pattern"))
        if isinstance(endpoint, FileEndpoint) and endpoint.only_new:
            found.append(((side, "only_new"), "mode: bidirectional must read everything each time"))
        sheet = getattr(endpoint, "sheet", None)
        if isinstance(sheet, str) and sheet.startswith("/"):
            found.append(((side, "sheet"), "mode: bidirectional writes to the sheet; name one, not a pattern"))
        if getattr(endpoint, "sheet_field", None) is not None:
            found.append(((side, "sheet_field"), "mode: bidirectional works on one sheet, whose name is no field"))
    if mapping.source == mapping.destination:
        found.append((("destination",), "both ends are the same data"))
    return found


def _two_way_field(mapping: Mapping, index: int, field: FieldMapping) -> Problems:
    found: Problems = []
    place = ("fields", index)
    if field.optional:
        found.append(((*place, "optional"), "mode: bidirectional needs the column on both sides"))
    if field.source in [other.source for other in mapping.fields[:index]]:
        found.append(((*place, "source"), f"{field.source!r} is mapped twice: two fields cannot both be written to it"))
    if field.destination in mapping.key:
        named = (
            ("direction", field.direction != "both"),
            ("to_destination", field.to_destination),
            ("to_source", field.to_source),
        )
        found += [((*place, name), "a key travels as it is, both ways") for name, given in named if given]
    elif field.to_destination is None and field.to_source is not None:
        found.append(
            ((*place, "to_source"), "without to_destination, what it writes would be read as another value; give both")
        )
    elif field.to_destination is not None and field.to_source is None and field.direction != "to_destination":
        found.append(
            (
                (*place, "to_destination"),
                "there is no way back: give to_source, which undoes it, or direction: to_destination",
            )
        )
    return found


def _conflict_problems(mapping: Mapping) -> Problems:
    found: Problems = []
    conflicts = mapping.conflicts or Conflicts()
    kinds = {f.destination: f.logical_type.kind for f in mapping.fields}
    for name in conflicts.fields:
        if name not in kinds or name in mapping.key:
            others = ", ".join(known for known in kinds if known not in mapping.key)
            found.append(
                (("conflicts", "fields", name), f"{name!r} is no field that can be in conflict; these are {others}")
            )
    if conflicts.fields and conflicts.granularity == "row":
        found.append(
            (("conflicts", "fields"), "granularity: row decides whole records; fields have no policy of their own")
        )
    policies = {conflicts.policy, *conflicts.fields.values()}
    if "newest" in policies and set(conflicts.change_time) != {"source", "destination"}:
        found.append(
            (("conflicts", "change_time"), "newest needs the column of each side that says when a record was changed")
        )
    if "keep_both" in policies and not any(kinds.get(name) == "string" for name in mapping.key):
        found.append(
            (
                ("conflicts", "policy"),
                "keep_both gives the second record a key of its own, which needs a text in the key",
            )
        )
    return found
