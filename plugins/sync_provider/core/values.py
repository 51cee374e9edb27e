"""The kinds of values that mappings hold, each with its check and its JSON Schema. No I/O."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sync_provider.core.descriptions import described
from sync_provider.core.durations import parse_duration
from sync_provider.core.errors import MappingError
from sync_provider.core.schedule import check_cron, check_preset, check_start_date, check_timezone, parse_schedule
from sync_provider.core.schema import KINDS, parse_type

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(strict=False)]
"""A YAML list, kept as a tuple; its items stay strict."""

ID_RULE = "1 to 80 characters a-z, 0-9 and _, starting with a letter"
ID_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,79}")
_CONNECTION_ID = re.compile(r"[A-Za-z0-9_.\-]{1,250}")
_SHARE = re.compile(r"(100(\.0+)?|\d{1,2}(\.\d+)?)\s*%")
_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
MAX_ASSET_URI = 1500  # as Airflow's asset model has it


class Model(BaseModel):
    """Base of every mapping model: unknown keys are errors, values are not silently turned into other types.

    The text below a key describes it, in errors, the JSON Schema and the reference page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in described(cls).items():
            properties[name]["description"] = text
        return schema


def check_id(value: str) -> str:
    """Return ``value`` if it may be a mapping's id, which becomes part of a DAG id, of file names and of URLs.

    Raises:
        ValueError: it may not; the message gives the rule.
    """
    if not ID_PATTERN.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no valid id; use {ID_RULE}")
    return value


def _check_duration(value: str) -> str:
    parse_duration(value)
    return value


def _check_type(value: str) -> str:
    try:
        return str(parse_type(value))
    except MappingError as error:
        raise ValueError(f"{error.message}. {error.hint}") from error


def _check_share(value: Any) -> Any:
    if isinstance(value, str) and not _SHARE.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is neither a number of records nor a percentage such as 5%")
    if isinstance(value, int) and value < 0:
        raise ValueError("a number of records cannot be negative")
    return value


def _check_connection_id(value: str) -> str:
    if "://" in value or "@" in value:  # not shown: it may hold a password
        raise ValueError("this is no connection id; addresses and secrets belong into an Airflow connection")
    if not _CONNECTION_ID.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no connection id; use letters, digits, _, - and .")
    return value


def _check_path(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("this is no file name")
    try:
        has_login = "://" in value and "@" in urlsplit(value).netloc
    except ValueError as error:
        raise ValueError("this is no URL") from error
    if has_login:  # not shown: it may hold a password
        raise ValueError("a URL must not hold a login; secrets belong into an Airflow connection")
    return value


def _check_encoding(value: str) -> str:
    try:
        "é".encode(value, errors="replace").decode(value, errors="replace")
    except (LookupError, ValueError) as error:
        raise ValueError(f"{value[:60]!r} is no text encoding; write for instance utf-8, utf-16 or cp1252") from error
    return codecs.lookup(value).name


def _check_email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError(f"{value[:60]!r} is no e-mail address")
    return value


def _check_asset(value: str) -> str:
    if not value.strip() or len(value) > MAX_ASSET_URI:
        raise ValueError(f"an asset URI has 1 to {MAX_ASSET_URI} characters")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError("this is no asset URI") from error
    if parts.scheme == "airflow" or "@" in parts.netloc:  # the latter not shown: it may hold a password
        raise ValueError("an asset URI must hold no login and not start with airflow:")
    return value


def _check_schedule(value: str) -> str:
    parse_schedule(value)
    return value


def _check_clock(value: str) -> str:
    return check_preset(value) if value.startswith("@") else check_cron(value)


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^P(?!$)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$",
    "examples": ["PT10M", "P1D"],
}
_TYPE_SCHEMA = {
    "type": "string",
    "anyOf": [
        {"enum": [kind for kind in KINDS if kind != "decimal"]},
        {"pattern": r"^decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)$"},
    ],
    "examples": ["string", "decimal(12,2)"],
}
_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^(100(\.0+)?|\d{1,2}(\.\d+)?)\s*%$"},
    ],
    "examples": ["5%", 20],
}

MappingId = Annotated[
    str, AfterValidator(check_id), WithJsonSchema({"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"})
]
Duration = Annotated[str, AfterValidator(_check_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""An ISO 8601 duration of fixed length (``PT10M``)."""
Share = Annotated[int | str, BeforeValidator(_check_share), WithJsonSchema(_SHARE_SCHEMA)]
"""A number of records (``20``) or a share of them (``5%``)."""
TypeName = Annotated[str, AfterValidator(_check_type), WithJsonSchema(_TYPE_SCHEMA)]
ConnectionId = Annotated[
    str,
    AfterValidator(_check_connection_id),
    WithJsonSchema({"type": "string", "pattern": f"^{_CONNECTION_ID.pattern}$"}),
]
FilePath = Annotated[str, AfterValidator(_check_path)]
Encoding = Annotated[str, AfterValidator(_check_encoding)]
Email = Annotated[str, AfterValidator(_check_email), WithJsonSchema({"type": "string", "format": "email"})]
AssetUri = Annotated[str, AfterValidator(_check_asset)]
ScheduleText = Annotated[str, AfterValidator(_check_schedule)]
Clock = Annotated[str, AfterValidator(_check_clock)]
TimeZone = Annotated[str, AfterValidator(check_timezone)]
IsoDate = Annotated[
    str, AfterValidator(check_start_date), WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"})
]
Text = Annotated[str, Field(min_length=1)]
"""Text that cannot be empty, such as a name."""
