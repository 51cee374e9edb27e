"""Connections read without Airflow are the connections that Airflow's tasks read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.engine.connections import parse_connection

pytestmark = pytest.mark.airflow

TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
HOSTS = st.none() | st.from_regex(r"[a-z0-9]([a-z0-9.\-]{0,10}[a-z0-9])?|/[A-Za-z]{1,5}/[A-Za-z.]{1,8}", fullmatch=True)
EXTRAS = st.dictionaries(
    st.text(min_size=1, max_size=5), st.text(max_size=8) | st.integers() | st.booleans(), max_size=3
)
FIELDS = st.fixed_dictionaries(
    {
        "conn_type": st.sampled_from(["postgres", "google_cloud_platform", "fs", "http"]),
        "host": HOSTS,
        "login": TEXTS,
        "password": TEXTS,
        "schema": TEXTS,
        "port": st.none() | st.integers(1, 65535),
        "extra": st.none() | EXTRAS.map(json.dumps),
    }
)


def as_airflow_reads(text: str) -> dict[str, object]:
    from airflow.sdk import Connection

    read = Connection.from_json(text, conn_id="x") if text.startswith("{") else Connection.from_uri(text, conn_id="x")
    return {
        "type": read.conn_type,
        "host": read.host or None,
        "port": read.port or None,
        "schema": read.schema or None,
        "login": read.login or None,
        "password": read.password or None,
        "extra": read.extra_dejson,
    }


def as_we_read(info: ConnectionInfo) -> dict[str, object]:
    return {name: getattr(info, name) for name in ("type", "host", "port", "schema", "login", "password", "extra")}


@given(FIELDS)
def test_a_uri_written_by_airflow_is_read_as_airflow_reads_it(fields: dict[str, object]) -> None:
    from airflow.sdk import Connection

    uri = Connection(conn_id="x", **fields).get_uri()
    assert as_we_read(parse_connection("x", uri)) == as_airflow_reads(uri)


@given(FIELDS)
def test_json_is_read_as_airflow_reads_it(fields: dict[str, object]) -> None:
    text = json.dumps({name: value for name, value in fields.items() if value is not None})
    assert as_we_read(parse_connection("x", text)) == as_airflow_reads(text)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:p@h:1/s?a=1&b=true",
        "http://https://h:8/p?x=%20y",
        "google-cloud-platform://",
        "sqlite:///relative",
        "sqlite://%2Fabs%2FPath",
        "POSTGRES://Host/DB",
        "generic://@:80/",
        "aws://key:secret%2Fwith%2Fslashes@",
        "x://h/?__extra__=%7B%22a%22%3A1%7D",
        "x://h/?__extra__=",
        "x://u%20v:@h",
    ],
)
def test_uris_written_by_hand_are_read_as_airflow_reads_them(uri: str) -> None:
    assert as_we_read(parse_connection("x", uri)) == as_airflow_reads(uri)
