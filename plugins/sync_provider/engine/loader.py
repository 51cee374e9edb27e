"""Mapping files: one by id, or all of a directory. Opens no socket and imports nothing heavy; DAG parsing runs this.

``_defaults.yaml`` beside the mappings holds what they share. Files are read anew each time and parsed again only if their
content, or that of the defaults, has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from sync_provider.core.errors import MappingError, MappingErrors, Where
from sync_provider.core.mapping import Mapping
from sync_provider.core.mapping_text import locate, parse_defaults, parse_mapping
from sync_provider.core.values import check_id
from sync_provider.core.yaml_text import Document, parse_yaml

SUFFIXES = (".yaml", ".yml")
DEFAULTS = "_defaults"
MAX_BYTES = 1_000_000
CACHED_MAPPINGS = 8192


@dataclass(frozen=True, slots=True)
class MappingSource:
    """One mapping and the text it came from.

    Args:
        path: its file, as found.
        text: content of the file.
        defaults: content of ``_defaults.yaml``; empty if there is none.
        sha256: hex digest of everything the mapping was made from: text and defaults.
    """

    mapping: Mapping
    path: Path
    text: str = field(repr=False)
    sha256: str
    defaults: str = field(default="", repr=False)

    def locate(self, error: MappingError) -> MappingError:
        """Give an error that knows its field (``fields[2].to_destination``) its file, line and column."""
        documents = [parse_yaml(self.text, file=str(self.path))]
        if self.defaults.strip():
            name = _defaults_path(self.path.parent) or DEFAULTS
            documents.append(parse_yaml(self.defaults, file=str(name)))
        return locate(error, documents)


@dataclass(frozen=True, slots=True)
class Scan:
    """All mappings of a directory, by id, and everything that is wrong in the others, by file and line."""

    sources: list[MappingSource]
    errors: list[MappingError]


def load_mapping(mapping_id: str, directory: Path) -> MappingSource:
    """Load one mapping: from ``<id>.yaml`` or ``<id>.yml`` if its id is right, else from whichever file declares it.

    Raises:
        MappingErrors: the file that should hold it is broken.
        MappingError: no file declares it, or several do and none is named after it.
    """
    try:
        check_id(mapping_id)
    except ValueError as error:
        raise MappingError(str(error), code="mapping_id") from error
    for suffix in SUFFIXES:
        path = directory / f"{mapping_id}{suffix}"
        if _is_file(path):
            source = load_file(path)
            if source.mapping.id == mapping_id:
                return source
    scan = _load_all(directory)
    group = [source for source in scan.sources if source.mapping.id == mapping_id]
    if len(group) > 1:
        raise _duplicate(mapping_id, group, None)
    if not group:
        raise _not_found(mapping_id, directory, scan)
    return group[0]


def load_file(path: Path) -> MappingSource:
    """Load the mapping in one file, with the ``_defaults.yaml`` beside it.

    Raises:
        MappingErrors: everything that is wrong in it.
    """
    defaults = _defaults_path(path.parent)
    return _load(path, _read(defaults) if defaults else "", str(defaults or ""))


def scan_mappings(directory: Path) -> Scan:
    """Load every mapping of a directory (not of those below it); what is broken never hides the rest.

    If two files declare the same id, the one named after it keeps it; if none is, neither is loaded. Either way an error
    names both.
    """
    scan = _load_all(directory)
    by_id: dict[str, list[MappingSource]] = {}
    for source in scan.sources:
        by_id.setdefault(source.mapping.id, []).append(source)
    kept: list[MappingSource] = []
    errors = list(scan.errors)
    for mapping_id, group in sorted(by_id.items()):
        keeper = next((source for source in group if source.path.stem == mapping_id), None)
        if len(group) == 1 or keeper:
            kept.append(keeper or group[0])
        if len(group) > 1:
            errors.append(_duplicate(mapping_id, group, keeper))
    return Scan(kept, errors)


def _load_all(directory: Path) -> Scan:
    """Every mapping that can be read, whatever its id."""
    try:
        paths = list(_mapping_paths(directory))
    except OSError as error:
        where = Where(file=str(directory))
        return Scan([], [MappingError(f"no readable directory: {error.strerror}", where=where, code="mappings_dir")])
    defaults = _defaults_path(directory)
    try:
        defaults_text = _read(defaults) if defaults else ""
        _parse_defaults(str(defaults), defaults_text)
    except MappingErrors as error:
        return Scan([], list(error.errors))
    sources: list[MappingSource] = []
    errors: list[MappingError] = []
    for path in paths:
        try:
            sources.append(_load(path, defaults_text, str(defaults or "")))
        except MappingErrors as error:
            errors += error.errors
    return Scan(sources, errors)


def _mapping_paths(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        named = path.suffix in SUFFIXES and not path.name.startswith(".") and path.stem != DEFAULTS
        # A link that leads nowhere is a mapping that is missed, not one that is not there.
        if named and (_is_file(path) or path.is_symlink()):
            yield path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a directory that may be listed but not entered
        return False


def _defaults_path(directory: Path) -> Path | None:
    paths = (directory / f"{DEFAULTS}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if _is_file(path)), None)


def _load(path: Path, defaults: str, defaults_file: str) -> MappingSource:
    text = _read(path)
    outcome = _parse(str(path), text, defaults, defaults_file)
    if isinstance(outcome, tuple):
        raise MappingErrors(outcome)
    digest = sha256(f"{text}\0{defaults}".encode() if defaults else text.encode())
    return MappingSource(outcome, path, text, digest.hexdigest(), defaults)


@lru_cache(maxsize=CACHED_MAPPINGS)
def _parse(file: str, text: str, defaults: str, defaults_file: str) -> Mapping | tuple[MappingError, ...]:
    try:
        return parse_mapping(text, file=file, defaults=_parse_defaults(defaults_file, defaults))
    except MappingErrors as error:
        return error.errors


@lru_cache(maxsize=64)
def _parse_defaults(file: str, text: str) -> Document | None:
    return parse_defaults(text, file=file) if text.strip() else None


def _read(path: Path) -> str:
    def refuse(message: str, hint: str | None, code: str, line: int = 1) -> MappingErrors:
        return MappingErrors([MappingError(message, where=Where(file=str(path), line=line), hint=hint, code=code)])

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}", None, "mapping_unreadable") from error
    if len(content) > MAX_BYTES:
        raise refuse(f"larger than {MAX_BYTES:,} bytes: this is no mapping", None, "mapping_size")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} (0x{content[error.start]:02x}) is not UTF-8"
        raise refuse(message, "Save the file as UTF-8.", "mapping_encoding", line) from error


def _duplicate(mapping_id: str, group: list[MappingSource], keeper: MappingSource | None) -> MappingError:
    offender = next(source for source in group if source is not keeper)
    files = " and ".join(str(source.path) for source in group)
    outcome = f"{keeper.path.name} keeps it" if keeper else "none is loaded"
    error = MappingError(
        f"id {mapping_id!r} is declared by {files}; {outcome}",
        where=Where(field="id"),
        hint="Give each file an id of its own.",
        code="mapping_duplicate_id",
    )
    return offender.locate(error)


def _not_found(mapping_id: str, directory: Path, scan: Scan) -> MappingError:
    nearest = get_close_matches(mapping_id, [source.mapping.id for source in scan.sources], n=1)
    broken = sorted({error.where.file for error in scan.errors if error.where.file})
    message = f"no mapping {mapping_id!r} in {directory}"
    if broken:
        message = f"{message} (not readable there: {', '.join(broken[:5])})"
    hint = f"Did you mean {nearest[0]}?" if nearest else "`airflow-sync lint` lists what is there."
    return MappingError(message, hint=hint, code="mapping_not_found")
