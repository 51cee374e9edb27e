"""Who may do what: tokens, scopes, permissions, quotas, and the words of every refusal."""

from __future__ import annotations

import json
from datetime import timedelta

import google.auth.exceptions
import google.auth.transport.requests
import pytest
import requests
from google.oauth2.credentials import Credentials as PersonCredentials
from sandbox_support import SCOPES, Client, Clock, refusal
from sync_provider.sandbox.server import Sandbox

UNAUTHENTICATED = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(tmp_path, clock):
    with Sandbox(tmp_path, clock=clock) as sandbox:
        yield Client(sandbox)


def another(client, email="other@p.iam.gserviceaccount.com", **options):
    return Client(client.sandbox, client.control("POST", "accounts", {"email": email}), **options)


def test_the_token_endpoint_answers_as_google_s(client):
    from google.auth import jwt
    from google.oauth2 import _client

    assertion = client.credentials._make_authorization_grant_assertion()
    form = {"grant_type": _client._JWT_GRANT_TYPE, "assertion": assertion}
    answer = requests.post(f"{client.sandbox.base_url}/token", data=form, timeout=10)
    assert answer.json().keys() == {"access_token", "expires_in", "token_type"}  # 9.11
    assert (answer.json()["expires_in"], answer.json()["token_type"]) == (3599, "Bearer")
    form["assertion"] = assertion[:-8] + b"AAAAAAAA"
    answer = requests.post(f"{client.sandbox.base_url}/token", data=form, timeout=10)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "Invalid JWT Signature."},
    )
    claims = jwt.decode(assertion, verify=False) | {"iat": 1, "exp": 3601}
    form["assertion"] = jwt.encode(client.credentials._signer, claims)
    answer = requests.post(f"{client.sandbox.base_url}/token", data=form, timeout=10)
    assert answer.json()["error_description"].startswith("Invalid JWT: Token must be a short-lived token (60 minutes)")


def test_a_key_of_another_account_is_no_key(client):
    key = json.loads(client.sandbox.service_account_file.read_text())
    other = client.control("POST", "accounts", {"email": "other@p.iam.gserviceaccount.com"})
    forged = Client(client.sandbox, {**key, "private_key": other["private_key"]})
    with pytest.raises(google.auth.exceptions.RefreshError, match="Invalid JWT Signature"):
        forged.create()


def test_a_person_s_refresh_token_gives_access_until_revoked(client):
    info = client.control("POST", "people", {"email": "ana@example.com", "scopes": SCOPES})
    assert info.pop("type") == "authorized_user"
    person = PersonCredentials(None, **info)
    person.refresh(google.auth.transport.requests.Request())
    assert person.valid
    client.control("PUT", "accounts", {"email": "ana@example.com", "disabled": True})
    with pytest.raises(google.auth.exceptions.RefreshError, match="expired or revoked"):
        person.refresh(google.auth.transport.requests.Request())


def test_a_missing_or_stale_token_is_401_in_each_service_s_words(client, clock):
    book = client.create()
    client.raw("GET", "/")
    clock.ahead = timedelta(hours=2)
    sheets = client.raw("GET", f"/v4/spreadsheets/{book}")
    assert (sheets.status_code, sheets.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert sheets.json()["error"]["message"].startswith(UNAUTHENTICATED)  # 9.8
    assert sheets.headers["Content-Type"] == "application/json; charset=UTF-8"  # 9.1
    drive = requests.get(f"{client.sandbox.base_url}/drive/v3/files", timeout=10)
    first = drive.json()["error"]["errors"][0]
    assert first == {
        "domain": "global",
        "reason": "authError",
        "message": "Invalid Credentials",
        "locationType": "header",
        "location": "Authorization",
    }  # 10.5
    assert drive.status_code == 401


def test_what_is_not_there_is_404_and_what_is_not_shared_403(client):
    book, other = client.create(), another(client)
    missing = refusal(client.spreadsheets.get(spreadsheetId="nope"))
    assert missing == {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}  # 9.2
    denied = {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}
    assert refusal(other.spreadsheets.get(spreadsheetId=book)) == denied
    client.control("POST", "share", {"id": book, "email": other.email, "role": "reader"})
    assert other.rows(book) == []
    assert refusal(lambda: other.put(book, "A1", [["x"]])) == denied
    client.control("POST", "share", {"id": book, "email": other.email, "role": "writer"})
    assert other.put(book, "A1", [["x"]])["updatedCells"] == 1


def test_a_token_with_too_narrow_a_scope_is_refused(client):
    book = client.create()
    reader = Client(client.sandbox, scopes=["https://www.googleapis.com/auth/spreadsheets.readonly"])
    assert reader.rows(book) == []
    error = refusal(lambda: reader.put(book, "A1", [["x"]]))
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert error["message"] == "Request had insufficient authentication scopes."  # 9.9


def test_an_api_that_is_switched_off_says_so(client):
    client.control("PUT", "apis", {"project": "sandbox-project", "enabled": False})
    error = refusal(client.spreadsheets.create(body={}))
    assert (error["code"], error["details"][0]["reason"]) == (403, "SERVICE_DISABLED")  # 9.10


@pytest.mark.parametrize(
    ("verb", "path", "body", "message"),
    [
        ("PUT", "values/A1?valueInputOption=RAW", {"values": "X"},
         "Invalid value at 'data.values' (type.googleapis.com/google.protobuf.ListValue), \"X\""),  # 9.4
        ("PUT", "values/A1?valueInputOption=RAW", {"values": ["X"]},
         "Invalid value at 'data.values[0]' (type.googleapis.com/google.protobuf.ListValue), \"X\""),
        ("PUT", "values/A1", {"values": [["X"]]}, "'valueInputOption' is required but not specified"),  # 9.5
        (":batchUpdate", "", {"requests": []}, "Must specify at least one request."),
        (":batchUpdate", "", {"foo": 1}, 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
        ("GET", "values/A1?foo=1", None,
         ('Invalid JSON payload received. Unknown name "foo": Cannot bind query parameter. '
         "Field 'foo' could not be found in request message.")),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_in_google_s_words(client, verb, path, body, message):
    book = client.create()
    where = f"/v4/spreadsheets/{book}" + (verb if verb.startswith(":") else f"/{path}")
    error = client.raw("POST" if verb.startswith(":") else verb, where, json=body).json()["error"]
    assert (error["code"], error["status"], error["message"]) == (400, "INVALID_ARGUMENT", message)
    if "protobuf" in message:
        assert error["details"][0]["fieldViolations"][0]["description"] == message


def test_quotas_refuse_and_refill_every_minute(client, clock):
    book = client.create()
    client.control("PUT", "quotas", {"reads_per_user": 2})
    assert [client.rows(book), client.rows(book)] == [[], []]
    answer = client.raw("GET", f"/v4/spreadsheets/{book}")
    error = answer.json()["error"]
    assert "Retry-After" not in answer.headers
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["message"] == (
        "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of service "
        "'sheets.googleapis.com' for consumer 'project_number:sandbox-project'."
    )  # 9.6
    metadata = error["details"][0]["metadata"]
    assert metadata["quota_limit"] == "ReadRequestsPerMinutePerUser"
    assert metadata["quota_limit_value"] == "2"
    assert client.put(book, "A1", [["writes are counted apart"]])["updatedCells"] == 1
    clock.ahead = timedelta(seconds=61)
    assert client.rows(book) == [["writes are counted apart"]]


def test_a_batch_counts_once_and_all_users_share_the_project_s_quota(client):
    book, other = client.create(), another(client)
    client.control("POST", "share", {"id": book, "email": other.email})
    client.control("PUT", "quotas", {"reads_per_project": 2})
    client.values.batchGet(spreadsheetId=book, ranges=["A1"] * 30).execute()
    other.rows(book)
    limit = refusal(client.spreadsheets.get(spreadsheetId=book))["details"][0]["metadata"]["quota_limit"]
    assert limit == "ReadRequestsPerMinutePerProject"  # 9.7
