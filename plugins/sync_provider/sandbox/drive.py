"""The part of Drive v3 that a spreadsheet's owner needs: files, permissions, changes, channels."""

from __future__ import annotations

import copy
import csv
import io
from datetime import timedelta
from typing import Any

from sync_provider.sandbox.calls import WORLD_READS, WORLD_WRITES, Call, Media, answers
from sync_provider.sandbox.drive_query import matches
from sync_provider.sandbox.errors import ApiError
from sync_provider.sandbox.model import Json
from sync_provider.sandbox.render import Renderer
from sync_provider.sandbox.spreadsheets import new_spreadsheet, spreadsheet_resource
from sync_provider.sandbox.state import PERSON, SHEETS_TYPE, File, World, rfc3339

_DEFAULT_FIELDS = ("kind", "id", "name", "mimeType")
_CHANNEL_LIFE = timedelta(hours=1)
_EXPORTS = {
    "text/csv": ",",
    "text/tab-separated-values": "\t",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": None,
    "application/vnd.oasis.opendocument.spreadsheet": None,
    "application/pdf": None,
}
"""What a spreadsheet can become, with the separator where the sandbox knows how."""
_WRITABLE = ("name", "description", "starred", "trashed", "properties", "appProperties", "mimeType")


def _missing(name: str) -> ApiError:
    return ApiError(400, f"Required parameter: {name}", reason="required", location=name)


def file_resource(call: Call, file: File) -> Json:
    """All that Drive knows of a file."""
    role = file.role(call.user)
    can_edit = role in {"owner", "writer"}
    resource = {
        "kind": "drive#file",
        **file.resource,
        "version": str(file.version),
        "permissions": file.permissions,
        "permissionIds": [item["id"] for item in file.permissions],
        "shared": len(file.permissions) > 1,
        "ownedByMe": role == "owner",
        "owners": [
            {
                "kind": "drive#user",
                "emailAddress": item["emailAddress"],
                "displayName": item["emailAddress"].partition("@")[0],
            }
            for item in file.permissions
            if item["role"] == "owner"
        ],
        "capabilities": {"canEdit": can_edit, "canShare": can_edit, "canDelete": role == "owner", "canCopy": True},
        "webViewLink": f"{call.base_url}/spreadsheets/d/{file.resource['id']}/edit",
    }
    return copy.deepcopy(resource)


def _shown(call: Call, resource: Json) -> Json:
    """Without `fields` four members are shown; the server applies `fields` itself."""
    return resource if "fields" in call.params else {name: resource[name] for name in _DEFAULT_FIELDS}


def permission(call: Call, body: Json) -> Json:
    """A Permission resource."""
    item = {
        "kind": "drive#permission",
        "id": str(call.rng.randrange(10**19, 10**20)),
        "type": body["type"],
        "role": body["role"],
    }
    if "emailAddress" in body:
        item |= {"emailAddress": body["emailAddress"], "displayName": body["emailAddress"].partition("@")[0]}
    return {**item, "id": "anyoneWithLink"} if body["type"] == "anyone" else item


def add_file(call: Call, world: World, body: Json, file_id: str | None = None) -> File:
    """A new file that the caller owns; a spreadsheet gets a blank workbook."""
    file_id = file_id or call.new_id(44)
    if file_id in world.files:
        raise ApiError(409, "A file already exists with the provided ID.", reason="fileIdInUse")
    now = rfc3339(call.now)
    resource = {
        "id": file_id,
        "name": body.get("name", "Untitled"),
        "mimeType": body.get("mimeType", "application/octet-stream"),
        "trashed": False,
        "starred": False,
        "parents": body.get("parents", ["root"]),
        "createdTime": now,
        "modifiedTime": now,
        "spaces": ["drive"],
    }
    resource |= {name: body[name] for name in ("description", "properties", "appProperties") if name in body}
    owner = permission(call, {"type": "user", "role": "owner", "emailAddress": call.user})
    file = File(resource, [owner])
    if resource["mimeType"] == SHEETS_TYPE:
        file.book = new_spreadsheet(call, file_id, {"properties": {"title": resource["name"]}})
    world.files[file_id] = file
    world.changes.append((file_id, now))
    return file


@answers(WORLD_WRITES, "sheets.spreadsheets.create")
def create_spreadsheet(call: Call, world: World) -> Json:
    """A new spreadsheet; a person may choose its id."""
    chosen = call.body.get("spreadsheetId") if call.user == PERSON else None
    file_id = chosen or call.new_id(44)
    book = new_spreadsheet(call, file_id, call.body)
    file = add_file(call, world, {"name": book.properties["title"], "mimeType": SHEETS_TYPE}, file_id)
    file.book = book
    return spreadsheet_resource(book, call.base_url)


@answers(WORLD_WRITES, "drive.files.create")
def _create(call: Call, world: World) -> Json:
    return _shown(call, file_resource(call, add_file(call, world, call.body, call.body.get("id"))))


@answers(WORLD_READS, "drive.files.get")
def _get(call: Call, world: World) -> Json:
    return _shown(call, file_resource(call, world.file(call, call.params["fileId"])))


@answers(WORLD_READS, "drive.files.export")
def _export(call: Call, world: World) -> Media:
    """The first sheet as a person sees it, between commas or tabs."""
    book = world.file(call, call.params["fileId"]).book
    kind = call.params["mimeType"]
    if book is None or kind not in _EXPORTS:
        raise ApiError(400, "The requested conversion is not supported.", reason="badRequest", location="convertTo")
    separator = _EXPORTS[kind]
    if separator is None:
        raise ApiError(501, f"The sandbox does not export to {kind}.", reason="notImplemented")
    sheet = book.sheets[0]
    rows = Renderer(book, call.now).values(sheet, sheet.whole())
    width = max(map(len, rows), default=0)
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([*row, *[""] * (width - len(row))] for row in rows)
    return Media(text.getvalue().removesuffix("\r\n").encode(), kind)


@answers(WORLD_READS, "drive.comments.list")
def _comments(call: Call, world: World) -> Json:
    world.file(call, call.params["fileId"])
    return {"kind": "drive#commentList", "comments": []}


@answers(WORLD_READS, "drive.files.list")
def _list(call: Call, world: World) -> Json:
    found = [
        file_resource(call, file)
        for file in world.files.values()
        if file.role(call.user) and matches(call.params.get("q", ""), file, call.user)
    ]
    for key in reversed(call.params.get("orderBy", "modifiedTime desc").split(",")):
        name, _, direction = key.strip().partition(" ")
        found.sort(key=lambda item, name=name: str(item.get(name, "")), reverse=direction == "desc")  # type: ignore[misc]
    start = _page(call)
    size = call.params.get("pageSize", 100)
    if not 1 <= size <= 1000:
        raise ApiError(400, "Invalid value for pageSize.", reason="invalidParameter", location="pageSize")
    page = found[start : start + size]
    # As recorded, an answer without files does not say whether the search was complete.
    complete = {"incompleteSearch": False} if page else {}
    answer: Json = {"kind": "drive#fileList", **complete, "files": [_shown(call, item) for item in page]}
    if start + size < len(found):
        answer["nextPageToken"] = f"~!!~{start + size}"
    return answer


def _page(call: Call) -> int:
    token = str(call.params.get("pageToken", "~!!~0"))
    if not token.startswith("~!!~") or not token[4:].isdigit():
        raise ApiError(400, "Invalid Value", reason="invalid", location="pageToken")
    return int(token[4:])


@answers(WORLD_WRITES, "drive.files.update")
def _update(call: Call, world: World) -> Json:
    file = world.file(call, call.params["fileId"], write=True)
    for name in _WRITABLE:
        if name in call.body:
            value = call.body[name]
            known = file.resource.get(name)
            file.resource[name] = {**known, **value} if isinstance(known, dict) else value
    parents = [item for item in file.resource["parents"] if item not in _ids(call, "removeParents")]
    file.resource["parents"] = [*parents, *_ids(call, "addParents")]
    if file.book is not None and "name" in call.body:
        file.book = file.book.copy()
        file.book.properties["title"] = call.body["name"]
    world.touched(call, file)
    return _shown(call, file_resource(call, file))


def _ids(call: Call, name: str) -> list[str]:
    return [text for text in call.params.get(name, "").split(",") if text]


@answers(WORLD_WRITES, "drive.files.copy")
def _copy(call: Call, world: World) -> Json:
    source = world.file(call, call.params["fileId"])
    name = call.body.get("name") or f"Copy of {source.resource['name']}"
    body = {**call.body, "name": name, "mimeType": source.resource["mimeType"]}
    file = add_file(call, world, {**body, "parents": call.body.get("parents", source.resource["parents"])})
    if source.book is not None:
        file.book = source.book.copy()
        file.book.spreadsheet_id = file.resource["id"]
        file.book.properties["title"] = name
    return _shown(call, file_resource(call, file))


@answers(WORLD_WRITES, "drive.files.delete")
def _delete(call: Call, world: World) -> None:
    file = world.file(call, call.params["fileId"], write=True)
    if file.role(call.user) != "owner":
        message = "The user does not have sufficient permissions for this file."
        raise ApiError(403, message, reason="insufficientFilePermissions")
    del world.files[call.params["fileId"]]
    world.changes.append((call.params["fileId"], rfc3339(call.now)))


@answers(WORLD_READS, "drive.permissions.list")
def _permissions(call: Call, world: World) -> Json:
    items = world.file(call, call.params["fileId"]).permissions
    shown = items if "fields" in call.params else [_short(item) for item in items]
    return {"kind": "drive#permissionList", "permissions": copy.deepcopy(shown)}


def _short(item: Json) -> Json:
    return {name: item[name] for name in ("kind", "id", "type", "role")}


@answers(WORLD_WRITES, "drive.permissions.create")
def _share(call: Call, world: World) -> Json:
    file = world.file(call, call.params["fileId"], write=True)
    for name in ("role", "type"):
        if name not in call.body:
            raise ApiError(
                400, f"The permission {name} field is required.", reason="required", location=f"permission.{name}"
            )
    item = permission(call, call.body)
    same = ("type", "emailAddress")
    file.permissions = [
        old for old in file.permissions if any(old.get(n) != item.get(n) for n in same) or old["role"] == "owner"
    ]
    file.permissions.append(item)
    world.changes.append((file.resource["id"], rfc3339(call.now)))
    return item if "fields" in call.params else _short(item)


def _permission(file: File, permission_id: str) -> Json:
    for item in file.permissions:
        if item["id"] == permission_id:
            return item
    raise ApiError(404, f"Permission not found: {permission_id}.", reason="notFound", location="permissionId")


@answers(WORLD_READS, "drive.permissions.get")
def _get_permission(call: Call, world: World) -> Json:
    item = _permission(world.file(call, call.params["fileId"]), call.params["permissionId"])
    return dict(item) if "fields" in call.params else _short(item)


@answers(WORLD_WRITES, "drive.permissions.update")
def _update_permission(call: Call, world: World) -> Json:
    item = _permission(world.file(call, call.params["fileId"], write=True), call.params["permissionId"])
    item["role"] = call.body.get("role", item["role"])
    return dict(item) if "fields" in call.params else _short(item)


@answers(WORLD_WRITES, "drive.permissions.delete")
def _delete_permission(call: Call, world: World) -> None:
    file = world.file(call, call.params["fileId"], write=True)
    file.permissions.remove(_permission(file, call.params["permissionId"]))
    world.changes.append((file.resource["id"], rfc3339(call.now)))


@answers(WORLD_READS, "drive.about.get")
def _about(call: Call, _: World) -> Json:
    if "fields" not in call.params:
        raise _missing("fields")
    return {"kind": "drive#about", "user": {"kind": "drive#user", "emailAddress": call.user, "me": True}}


@answers(WORLD_READS, "drive.changes.getStartPageToken")
def _start_token(_: Call, world: World) -> Json:
    return {"kind": "drive#startPageToken", "startPageToken": str(len(world.changes) + 1)}


@answers(WORLD_READS, "drive.changes.list")
def _changes(call: Call, world: World) -> Json:
    token = str(call.params.get("pageToken", ""))
    if not token.isdigit() or not 1 <= int(token) <= len(world.changes) + 1:
        raise ApiError(400, "Invalid Value", reason="invalid", location="pageToken")
    start, size = int(token) - 1, call.params.get("pageSize", 100)
    end = min(start + size, len(world.changes))
    latest = dict(world.changes[start:end])
    changes = [change for file_id, at in latest.items() if (change := _change(call, world, file_id, at))]
    answer: Json = {"kind": "drive#changeList", "changes": changes}
    last = end == len(world.changes)
    return {**answer, "newStartPageToken" if last else "nextPageToken": str(end + 1)}


def _change(call: Call, world: World, file_id: str, at: str) -> Json | None:
    file = world.files.get(file_id)
    change: Json = {"kind": "drive#change", "changeType": "file", "type": "file", "time": at, "fileId": file_id}
    if file is None or file.role(call.user) is None:
        return {**change, "removed": True} if call.params.get("includeRemoved", True) else None
    return {**change, "removed": False, "file": _shown(call, file_resource(call, file))}


def _open_channel(call: Call, world: World, resource: str, uri: str) -> Json:
    body = call.body
    for name in ("id", "type", "address"):
        if not body.get(name):
            raise _missing(name)
    if body["type"] not in {"web_hook", "webhook"}:
        raise ApiError(400, f"Unknown channel type: {body['type']}", reason="channelUnknownType")
    if not str(body["address"]).startswith(("http://", "https://")):
        raise ApiError(400, "WebHook callback must be HTTPS: " + body["address"], reason="push.webhookUrlNotHttps")
    if body["id"] in world.channels:
        raise ApiError(400, f"Channel id {body['id']} not unique", reason="channelIdNotUnique", location="id")
    asked = int(body.get("expiration", 0)) or int((call.now + _CHANNEL_LIFE).timestamp() * 1000)
    channel = {
        "kind": "api#channel",
        "id": body["id"],
        "resourceId": call.new_id(27),
        "resourceUri": uri,
        "expiration": str(asked),
    }
    if "token" in body:
        channel["token"] = body["token"]
    world.channels[body["id"]] = {
        **channel,
        "address": body["address"],
        "watched": resource,
        "user": call.user,
        "open": True,
        "messages": 0,
    }
    return channel


@answers(WORLD_WRITES, "drive.files.watch")
def _watch(call: Call, world: World) -> Json:
    file = world.file(call, call.params["fileId"])
    uri = f"{call.base_url}/drive/v3/files/{file.resource['id']}?alt=json"
    return _open_channel(call, world, file.resource["id"], uri)


@answers(WORLD_WRITES, "drive.changes.watch")
def _watch_changes(call: Call, world: World) -> Json:
    if not str(call.params.get("pageToken", "")).isdigit():
        raise _missing("pageToken")
    return _open_channel(call, world, "*", f"{call.base_url}/drive/v3/changes?alt=json")


@answers(WORLD_WRITES, "drive.channels.stop")
def _stop(call: Call, world: World) -> None:
    channel = world.channels.get(call.body.get("id", ""))
    if channel is None or not channel["open"] or channel["resourceId"] != call.body.get("resourceId"):
        name = call.body.get("id")
        raise ApiError(404, f"Channel '{name}' not found for project", reason="notFound")
    channel["open"] = False


@answers(WORLD_WRITES, "sandbox.share")
def _share_as_owner(call: Call, world: World) -> Json:
    file = world.file(call, call.params["fileId"])
    item: dict[str, Any] = permission(call, {"type": "user", "role": "writer", **call.body})
    file.permissions = [old for old in file.permissions if old.get("emailAddress") != item.get("emailAddress")]
    if item["role"] != "none":
        file.permissions.append(item)
    world.changes.append((file.resource["id"], rfc3339(call.now)))
    return item
