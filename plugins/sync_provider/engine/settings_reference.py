"""The page `docs/settings.md`, made from `OPTIONS`: ``python -m sync_provider.engine.settings_reference FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from sync_provider.engine.settings import OPTIONS, SECTION, Kind, Option

_KINDS: dict[Kind, str] = {
    "string": "text",
    "path": "folder",
    "location": "folder or fsspec URL",
    "sqlalchemy_url": "SQLAlchemy URL",
    "boolean": "true or false",
    "duration": "ISO 8601 duration",
    "number": "whole number from 1",
    "list": "list, separated by commas",
}

_HEAD = f"""# Settings

<!-- Generated from the options by `python -m sync_provider.engine.settings_reference docs/settings.md`; do not edit. -->

What a deployment can set. Each option is looked up in this order:

1. the environment variable `AIRFLOW__{SECTION.upper()}__<NAME>`; for options marked secret also `…__<NAME>_CMD`, a command
   that prints the value;
2. `<name>` (or `<name>_cmd`) in section `[{SECTION}]` of `$AIRFLOW_HOME/airflow.cfg`, where a percent sign is written `%%`;
3. the default.

`airflow-sync` reads the same places without Airflow. Where `AIRFLOW_HOME` is not set, it takes `.airflow` beside the nearest
`airflow_settings.yaml` from the current folder upwards. Relative folders start at the folder that holds
`airflow_settings.yaml`, else at `AIRFLOW_HOME`; `{{AIRFLOW_HOME}}` in a value is replaced.

Options of an object store are fsspec's own, for instance `FSSPEC_S3_ENDPOINT_URL`, `FSSPEC_S3_KEY`, `FSSPEC_S3_SECRET`, or
the machine's cloud identity; the file system's package (`s3fs`, `gcsfs`, `adlfs`) must be installed.
"""


def settings_reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, *(_section(option) for option in OPTIONS)])


def _section(option: Option) -> str:
    default = f"`{option.default}`" if option.default else "empty"
    facts = [f"{_KINDS[option.kind]}; default: {default}", *(["**secret**"] if option.sensitive else [])]
    lines = [f"## `{option.name}`", "", option.description, "", f"- {'; '.join(facts)}", f"- `{option.variable}`"]
    if option.example is not None:
        lines.append(f"- example: `{option.example}`")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(settings_reference(), encoding="utf-8")
