"""`/v1/files` with the unmodified OpenAI client: what goes in comes out, to those who may see it, and goes for good."""

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from burnish_server import Deployment
from training_files import CONTENT, refused, upload

from feedback.fine_tuning import files as uploads
from feedback.states import Role


@pytest.fixture(scope="module")
def client(server: Deployment) -> openai.OpenAI:
    return server.openai()


def test_what_is_uploaded_comes_back(server: Deployment, client: openai.OpenAI) -> None:
    made = upload(client, "folder/keys.jsonl")
    assert (made.filename, made.bytes, made.purpose, made.status) == (
        "keys.jsonl",
        len(CONTENT),
        "fine-tune",
        "processed",
    )
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == CONTENT
    stored = server.settings.files / made.id
    assert hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
    assert stored.stat().st_mode & 0o077 == 0


def test_lists_have_pages_in_both_directions(client: openai.OpenAI) -> None:
    made = [upload(client, f"{number}.jsonl").id for number in range(3)]
    assert [one.id for one in client.files.list(limit=2)][:3] == made[::-1]
    assert client.files.list(limit=2).has_more
    assert [one.id for one in client.files.list(after=made[0], order="asc")] == made[1:]
    assert client.files.list(purpose="batch").data == []
    refused(404, lambda: client.files.list(after="file-nobody"), "file-nobody")


def test_a_deleted_file_is_gone_from_the_disk(server: Deployment, client: openai.OpenAI) -> None:
    made = upload(client)
    assert client.files.delete(made.id).deleted
    assert not (server.settings.files / made.id).exists()
    refused(404, lambda: client.files.retrieve(made.id))
    refused(404, lambda: client.files.delete(made.id))


def test_a_file_is_its_keys_and_of_those_that_see_everything(server: Deployment, client: openai.OpenAI) -> None:
    mine, theirs = (server.openai(server.make_key(Role.OPERATOR, "support")) for _ in range(2))
    made = upload(mine)
    assert [one.id for one in mine.files.list()] == [made.id]
    assert client.files.retrieve(made.id).id == made.id
    assert theirs.files.list().data == []
    for deed in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
        assert refused(404, lambda deed=deed: deed(made.id))["code"] == "file_not_found"
    for role in (Role.CHAT, Role.FEEDBACK, Role.REVIEWER):
        refused(403, server.openai(server.make_key(role)).files.list)


def test_what_is_no_training_file_is_refused(server: Deployment, client: openai.OpenAI) -> None:
    before = set(server.settings.files.iterdir())
    refused(400, lambda: client.files.create(file=("a", CONTENT), purpose="vision"), "vision", "fine-tune")
    refused(400, lambda: upload(client, content=b""), "empty")
    expiring: Any = {"anchor": "created_at", "seconds": 3600}
    refused(
        400,
        lambda: client.files.create(file=("a", CONTENT), purpose="fine-tune", expires_after=expiring),
        "expire",
    )
    post = server.http.post
    assert "multipart" in post("/v1/files", json={"purpose": "fine-tune"}).json()["error"]["message"]
    assert "`file`" in post("/v1/files", files={"purpose": (None, "fine-tune")}).json()["error"]["message"]
    two = [("file", ("a", b"1")), ("file", ("b", b"2"))]
    assert "one file" in post("/v1/files", files=two).json()["error"]["message"]
    cut_off = {"content-type": "multipart/form-data; boundary=b"}
    torn = post("/v1/files", content=b'--b\r\ncontent-disposition: form-data; name="file"', headers=cut_off)
    assert torn.status_code == 400
    assert set(server.settings.files.iterdir()) == before


def too_much() -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
    for _ in range(3):
        yield b"x" * (1 << 20)
    yield b"\r\n--b--\r\n"


def test_a_file_that_is_too_large_is_413_after_all_of_it_was_sent(own_deployment: Deployment) -> None:
    own_deployment.environment["BURNISH_MAX_FILE_MIB"] = "2"
    own_deployment.start()
    client = own_deployment.openai()
    body = refused(413, lambda: upload(client, content=b"x" * (8 << 20)), "2 MiB", "BURNISH_MAX_FILE_MIB")
    assert (body["code"], body["param"]) == ("file_too_large", "file")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert own_deployment.http.post("/v1/files", content=too_much(), headers=headers).status_code == 413
    assert upload(client, content=b"x" * (2 << 20)).bytes == 2 << 20
    assert len(list(own_deployment.settings.files.iterdir())) == 1


def test_what_a_kill_left_is_swept(server: Deployment, client: openai.OpenAI) -> None:
    kept, folder = upload(client), server.settings.files
    for name in ("file-of-nobody", f".{kept.id}.0123abcd", "file-just-arrived"):
        (folder / name).write_bytes(b"x")
    long_ago = time.time() - 2 * uploads.FORGOTTEN_SECONDS
    for name in ("file-of-nobody", f".{kept.id}.0123abcd", kept.id):
        os.utime(folder / name, (long_ago, long_ago))
    uploads.sweep(server.database, server.settings)
    assert (folder / kept.id).exists()
    assert (folder / "file-just-arrived").exists()
    assert not (folder / "file-of-nobody").exists()
    assert not (folder / f".{kept.id}.0123abcd").exists()
