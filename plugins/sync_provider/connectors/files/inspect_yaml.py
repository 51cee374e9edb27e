"""What was found out about a source, as the YAML to paste into a mapping. No I/O."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from sync_provider.connectors.files.inspect_encoding import Finding
from sync_provider.connectors.files.inspect_types import ColumnFinding

OPEN = "to be decided"
"""Stands in the YAML for a value that a person must decide; no mapping accepts it."""


def mapping_blocks(
    source: Mapping[str, Any],
    findings: Mapping[str, Finding],
    columns: Sequence[ColumnFinding],
    ambiguities: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The ``source`` and ``fields`` blocks of a mapping, each value that was found with its confidence and reason.

    Args:
        source: keys of the endpoint that are known without looking.
        findings: its other keys.
        columns: those to be mapped, in order.
        ambiguities: what a person must decide, in words.
        notes: what is worth knowing besides.
    """
    lines = [f"# To be decided: {one_line(doubt)}" for doubt in ambiguities]
    lines += [f"# {one_line(note)}" for note in notes]
    lines += ["source:", *(f"  {name}: {scalar(value)}" for name, value in source.items())]
    for name, finding in findings.items():
        # The quote alone may really be null.
        is_open = finding.value is None and not (name == "quote" and finding.confidence >= 0.6)
        value = OPEN if is_open else finding.value
        if name == "null_values" and not value:
            continue
        lines.append(f"  {name}: {scalar(value)}  # {finding.confidence:.0%}: {one_line(finding.why)}")
    lines.append("fields:" if columns else "fields: []")
    for column, name in zip(columns, destination_names([c.name for c in columns]), strict=True):
        entry = f"{{source: {scalar(column.name)}, destination: {scalar(name)}, type: {scalar(column.type)}}}"
        lines.append(f"  - {entry}  # {column.confidence:.0%}: {one_line(column.why)}")
    return "\n".join(lines) + "\n"


def destination_names(names: Sequence[str]) -> list[str]:
    """Names for destination columns: lower case, a-z, 0-9 and _, each one different.

    >>> destination_names(["Code client", "Montant (€)", "Montant", ""])
    ['code_client', 'montant', 'montant_2', 'column_4']
    """
    taken: list[str] = []
    for position, name in enumerate(names, 1):
        plain = (
            unicodedata.normalize("NFKD", name.lower().replace("œ", "oe").replace("æ", "ae"))
            .encode("ascii", "ignore")
            .decode()
        )
        slug = re.sub("[^a-z0-9]+", "_", plain.lower()).strip("_") or f"column_{position}"
        slug = f"c_{slug}" if slug[0].isdigit() else slug
        unique, number = slug, 2
        while unique in taken:
            unique, number = f"{slug}_{number}", number + 1
        taken.append(unique)
    return taken


def scalar(value: Any) -> str:
    """A YAML scalar; whatever is not plainly a word goes into double quotes, as JSON writes it."""
    plain = isinstance(value, str) and re.fullmatch("[A-Za-zÀ-ÿ_](?:[A-Za-zÀ-ÿ0-9_.()' -]*[A-Za-zÀ-ÿ0-9_)])?", value)
    if plain and value.lower() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n"):
        return str(value)
    # JSON leaves some characters as they are that YAML does not take.
    return re.sub(
        "[\x7f-\x9f\ufeff\ufffe\uffff]", lambda c: f"\\u{ord(c[0]):04x}", json.dumps(value, ensure_ascii=False)
    )


def one_line(text: str) -> str:
    """Text for a comment: no line ends, and nothing else that ends or hides one."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]+", " ", text)
