"""What a mapping may hold, told to editors (JSON Schema, draft 2020-12) and to readers (a page). No I/O.

Both come from the models alone, so neither can say something else than the loader.
"""

from __future__ import annotations

import json
from typing import Any

from sync_provider.core.mapping import Mapping

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_HEADINGS = {
    "CsvEndpoint": "Endpoint `type: csv`",
    "ExcelEndpoint": "Endpoint `type: excel`",
    "SqlEndpoint": "Endpoint `type: sql`",
    "GoogleSheetsEndpoint": "Endpoint `type: google_sheets`",
    "FieldMapping": "`fields[]`",
    "Expectation": "`validation.expectations[]`",
    "AssetSchedule": "`schedule` by assets",
    "Notifier": "`alerts.notifiers[]`",
    "Webhook": "`webhooks[]`",
    "AirflowOptions": "`airflow`",
    "SheetGid": "`sheet` by number",
}

_INTRODUCTION = """\
# Mapping reference

<!-- Generated from the models by `airflow-sync schema --docs`; do not edit. -->

One YAML file in `include/mappings/` is one integration. Start the file with

```yaml
# yaml-language-server: $schema=./mapping.schema.json
```

and an editor completes keys and shows the descriptions below. `airflow-sync lint` checks files completely, with file, line
and column of every problem.

**How YAML is read.** `true`, `false`, `null`, `~`, whole numbers without a leading zero and plain decimals are what they
look like; everything else is text as written: `no`, `on`, `012`, `1:30`, `2024-01-01`. Text starting with `*`, `@`, `&`,
`!`, `%` or `` ` `` needs quotes (`schedule: "@daily"`). Anchors and aliases work; merge keys (`<<`) and tags do not.

**What mappings share** goes into `include/mappings/_defaults.yaml`: any key but `id`, `source`, `destination` and `fields`.
A mapping's own values win, key by key; lists are replaced as a whole.

**Secrets** never stand in a mapping: it names Airflow connections.
"""


def mapping_schema() -> dict[str, Any]:
    """The JSON Schema of one mapping file."""
    schema = Mapping.model_json_schema()
    return {"$schema": DIALECT, **_tidied(schema), "title": "sync_provider mapping"}


def mapping_schema_text() -> str:
    """The JSON Schema as a file's content."""
    return json.dumps(mapping_schema(), ensure_ascii=False, indent=2) + "\n"


def mapping_reference() -> str:
    """The reference page, as Markdown: one table per model, in the order in which they first appear."""
    schema = mapping_schema()
    sections = [_INTRODUCTION, _section("Top level", schema, schema["$defs"])]
    for name in _in_order(schema):
        part = schema["$defs"][name]
        heading = _HEADINGS.get(name, f"`{name.lower()}`")
        sections.append(_section(heading, part, schema["$defs"]))
    return "\n".join(sections)


def _tidied(value: Any) -> Any:
    """Descriptions on one line, without OpenAPI's ``discriminator``, which JSON Schema does not know."""
    if isinstance(value, dict):
        return {
            key: " ".join(inner.split()) if key == "description" and isinstance(inner, str) else _tidied(inner)
            for key, inner in value.items()
            if not (key == "discriminator" and "propertyName" in inner)
        }
    return [_tidied(inner) for inner in value] if isinstance(value, list) else value


def _in_order(schema: dict[str, Any]) -> list[str]:
    found: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and (name := reference.rpartition("/")[2]) not in found:
                found.append(name)
                visit(schema["$defs"][name])
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    visit(schema["properties"])
    return found


def _section(heading: str, part: dict[str, Any], definitions: dict[str, Any]) -> str:
    required = part.get("required", [])
    properties = sorted(part["properties"].items(), key=lambda item: item[0] != "type")
    rows = [
        f"| `{name}` | {_kind(value, definitions)} | {_default(name, value, required)} | {_cell(value)} |"
        for name, value in properties
    ]
    table = ["| key | value | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {heading}", "", part.get("description", ""), "", *table, ""])


def _cell(value: dict[str, Any]) -> str:
    return str(value.get("description", "")).replace("|", "\\|")


def _default(name: str, value: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    default = value.get("default")
    if default in (None, "", []) or isinstance(default, dict):
        return ""
    return f"`{json.dumps(default, ensure_ascii=False)}`" if not isinstance(default, str) else f"`{_visible(default)}`"


def _visible(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text


def _kind(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        constant = definitions[name]["properties"].get("type", {}).get("const")
        return f"`type: {constant}`" if constant else "keys, see below"
    if "examples" in value:
        return "such as " + ", ".join(f"`{example}`" for example in value["examples"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{_visible(str(option))}`" for option in value["enum"])
    if options := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(
            dict.fromkeys(_kind({"type": value.get("type"), **option}, definitions) for option in options)
        )
    if value.get("type") == "array":
        return f"list of {_kind(value['items'], definitions)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "boolean": "`true` or `false`",
        "object": "keys",
        "null": "null",
    }
    return words.get(str(value.get("type")), "anything")
