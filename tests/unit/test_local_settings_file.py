from __future__ import annotations

import json
from pathlib import Path

import pytest

from local import LocalError
from local.api import ApiError
from local.settings_file import AirflowSettings, apply_settings, follow_settings, read_settings

REPO = Path(__file__).resolve().parents[2]


def read(tmp_path, text, **variables):
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return read_settings(path, variables)


def test_connections_pools_and_variables_become_api_bodies(tmp_path):
    settings = read(
        tmp_path,
        """
airflow:
  connections:
    - {conn_id: db, conn_type: postgres, conn_host: h, conn_schema: s, conn_login: l, conn_password: "${PW}", conn_port: "5432", conn_extra: {a: 1}}
  pools: [{pool_name: p, pool_slot: 2, pool_description: d}]
  variables: [{variable_name: v, variable_value: 7}]
""",
        PW="secret",
    )
    assert settings.connections == (
        {
            "connection_id": "db",
            "conn_type": "postgres",
            "host": "h",
            "schema": "s",
            "login": "l",
            "password": "secret",
            "port": 5432,
            "extra": '{"a": 1}',
        },
    )
    assert settings.pools == ({"name": "p", "slots": 2, "description": "d", "include_deferred": False},)
    assert settings.variables == ({"key": "v", "value": "7"},)


def test_extra_may_be_json_text_and_references_inside_it_are_replaced(tmp_path):
    text = """airflow: {connections: [{conn_id: c, conn_type: fs, conn_extra: '{"path": "${DIR}/in"}'}]}"""
    (connection,) = read(tmp_path, text, DIR="/data").connections
    assert json.loads(connection["extra"]) == {"path": "/data/in"}


def test_a_file_that_does_not_exist_or_is_empty_declares_nothing(tmp_path):
    assert read_settings(tmp_path / "none.yaml", {}) == AirflowSettings()
    assert read(tmp_path, "") == AirflowSettings()


def test_the_empty_items_of_the_astro_template_are_skipped(tmp_path):
    assert read(tmp_path, "airflow: {pools: [{pool_name: , pool_slot: }]}").pools == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("airflow: [", "not valid YAML"),
        ("connections: []\n", None),
        ("airflow: {conections: []}", "expected `airflow:`"),
        ("airflow: {pools: {}}", None),
        ("airflow: {pools: {a: 1}}", "should be a list"),
        ("airflow: {connections: [{conn_type: fs}]}", r"connections\[0\]: conn_id is missing"),
        ("airflow: {connections: [{conn_id: a, conn_user: b}]}", "unknown key conn_user"),
        ("airflow: {connections: [{conn_id: a, conn_port: many}]}", "connection a: conn_port should be a number"),
        ("airflow: {connections: [{conn_id: a, conn_extra: '{'}]}", "conn_extra is not valid JSON"),
        ("airflow: {connections: [{conn_id: a, conn_extra: [1]}]}", "conn_extra should be a mapping"),
        ("airflow: {pools: [{pool_name: p, pool_slot: x}]}", "pool_slot should be a number"),
        ("airflow: {variables: [{variable_name: v, variable_value: '${NOT_SET}'}]}", "NOT_SET is not set"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    if message is None:
        assert read(tmp_path, text) == AirflowSettings()
    else:
        with pytest.raises(LocalError, match=message):
            read(tmp_path, text)


def test_the_projects_own_file_is_valid(tmp_path):
    names = ("PROJECT_DIR", "OUTPUT_DIR", "AIRFLOW_HOME", "SANDBOX_URL", "SANDBOX_KEY_FILE")
    variables = dict.fromkeys(names, str(tmp_path)) | {"SMTP_PORT": "2525"}
    settings = read_settings(REPO / "airflow_settings.yaml", variables)
    assert {connection["connection_id"] for connection in settings.connections} >= {
        "fichiers",
        "sorties",
        "entrepot",
        "google_sheets_demo",
        "smtp_default",
    }


class RecordingApi:
    """Airflow's answers: what exists conflicts."""

    def __init__(self, existing, refused=()):
        self.existing, self.refused, self.created = existing, refused, []

    def request(self, method, path, body=None):
        if method == "GET":
            if path.rpartition("/")[2] not in self.existing:
                raise ApiError("404", 404)
            return
        name = body.get("connection_id") or body.get("name") or body.get("key")
        if name in self.refused:
            raise ApiError("422 no such connection type", 422)
        self.created.append((path, name))


SETTINGS = AirflowSettings(({"connection_id": "old"}, {"connection_id": "new"}), ({"name": "p"},), ({"key": "v"},))


def test_only_what_is_missing_is_created():
    api = RecordingApi({"old", "v"})
    assert apply_settings(api, SETTINGS) == ["connection new", "pool p"]
    assert api.created == [("/api/v2/connections", "new"), ("/api/v2/pools", "p")]


def test_a_refusal_names_the_item():
    with pytest.raises(LocalError, match="refused connection new"):
        apply_settings(RecordingApi(set(), refused={"new"}), SETTINGS)


class KeptConnections:
    """Airflow's connections, with only what following needs."""

    def __init__(self, *bodies):
        self.bodies = {body["connection_id"]: {"host": None, "port": None, "extra": None, **body} for body in bodies}

    def request(self, method, path, body=None, update_mask=()):
        name = path.rpartition("/")[2]
        if name not in self.bodies:
            raise ApiError("404", 404)
        if method == "PATCH":
            self.bodies[name] |= {key: body[key] for key in update_mask}
        return self.bodies[name]


def sheets(url, **more):
    extra = json.dumps({"key_path": "/k.json", "base_url": url, **more})
    return {"connection_id": "sheets", "conn_type": "google_cloud_platform", "extra": extra}


def mail(port, host="127.0.0.1"):
    return {"connection_id": "mail", "conn_type": "smtp", "host": host, "port": port, "extra": "{}"}


EARLIER, NOW = AirflowSettings((sheets("http://a:1"), mail(1))), AirflowSettings((sheets("http://a:2"), mail(2)))


def test_a_connection_follows_its_part_to_another_port_and_keeps_what_a_person_added():
    api = KeptConnections(sheets("http://a:1", project="mine"), mail(1))
    assert follow_settings(api, EARLIER, NOW) == ["sheets", "mail"]
    assert json.loads(api.bodies["sheets"]["extra"]) == {
        "key_path": "/k.json",
        "base_url": "http://a:2",
        "project": "mine",
    }
    assert api.bodies["mail"]["port"] == 2


@pytest.mark.parametrize(
    "theirs",
    [
        (sheets("https://sheets.example"), mail(25)),
        (sheets("http://a:1", keyfile_dict="***"), mail(1, host="smtp.example")),
        (),
    ],
)
def test_a_connection_that_a_person_made_theirs_or_removed_is_left_alone(theirs):
    api = KeptConnections(*theirs)
    before = json.dumps(api.bodies)
    assert follow_settings(api, EARLIER, NOW) == []
    assert json.dumps(api.bodies) == before
