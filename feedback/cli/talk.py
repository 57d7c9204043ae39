"""`burnish chat`: talk to an assistant in the terminal, and say what you think of its replies."""

import contextlib
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer

from feedback import keys
from feedback.cli.app import ACTOR, AsJson, console, harmless, open_all, print_json, visible
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, InvalidInput, Unauthenticated
from feedback.files import write_bytes
from feedback.states import Role

HELP = "/good  /bad  /fix THE RIGHT REPLY  /new (another conversation)  /quit"


def register(app: typer.Typer) -> None:
    app.command()(chat)


def chat(
    message: Annotated[str | None, typer.Argument(help="Ask this once and leave; without it, a conversation.")] = None,
    model: Annotated[str, typer.Option(help="Assistant, assistant@n or base.")] = "assistant",
    key: Annotated[str | None, typer.Option(help="API key; else BURNISH_API_KEY, else this command's own.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 always picks the likeliest token.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply in tokens.")] = None,
    as_json: AsJson = False,
) -> None:
    """Talk to an assistant; rate and correct what it says."""
    if as_json and message is None:
        raise InvalidInput('`--json` answers one message: burnish chat --json "Hello!"')
    with _client(key) as client:
        wanted = {"temperature": temperature, "max_tokens": max_tokens, "user": _user()}
        body = {"model": model} | {name: value for name, value in wanted.items() if value is not None}
        if message is not None:
            _once(client, {**body, "messages": [{"role": "user", "content": message}]}, as_json)
            return
        console.print(HELP, style="dim")
        _converse(client, body)


def _once(client: httpx.Client, body: dict[str, Any], as_json: bool) -> None:
    if as_json:
        answer = client.post("/v1/chat/completions", json=body)
        _check(answer)
        print_json(answer.json())
    else:
        completion_id = ""
        for text, reply_id in _stream(client, body):
            completion_id = reply_id
            print(visible(text), end="", flush=True)
        print(flush=True)
        print(f"({completion_id})", file=sys.stderr)  # what feedback on it has to name


def _converse(client: httpx.Client, body: dict[str, Any]) -> None:
    history: list[dict[str, str]] = []
    completion_id = ""
    while True:
        try:
            said = console.input("[bold]you[/bold] ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        command, _, rest = said.partition(" ")
        if command in ("/quit", "/exit"):
            return
        if command == "/new":
            history = []
        elif command in ("/good", "/bad", "/fix"):
            _give_feedback(client, completion_id, command, rest)
        elif command.startswith("/") or not said:
            console.print(HELP, style="dim")
        else:
            history.append({"role": "user", "content": said})
            reply = ""
            try:
                for text, reply_id in _stream(client, {**body, "messages": history}):
                    reply, completion_id = reply + text, reply_id
                    print(visible(text), end="", flush=True)
            except BurnishError as error:
                console.print(harmless(error.message), style="red")
                history.pop()
                continue
            print()
            history.append({"role": "assistant", "content": reply})


def _give_feedback(client: httpx.Client, completion_id: str, command: str, words: str) -> None:
    if not completion_id:
        console.print("There is no reply yet.", style="dim")
        return
    if command == "/fix":
        given: dict[str, Any] = {"kind": "correction", "value": words}
    else:
        given = {"kind": "rating", "value": 1 if command == "/good" else -1, "comment": words or None}
    answer = client.post("/v1/feedback", json={"completion_id": completion_id, "user": _user(), **given})
    if answer.status_code == 201:
        console.print(f"Thank you. Receipt: {answer.json()['receipt']}", style="dim")
    else:
        console.print(harmless(_message(answer)), style="red")


def _stream(client: httpx.Client, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(text, completion id) piece by piece."""
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
        if answer.status_code != 200:
            answer.read()
            _check(answer)
        for line in answer.iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise BurnishError(event["error"]["message"])
            for choice in event["choices"]:
                yield choice["delta"].get("content", ""), event["id"]


def _check(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise BurnishError(_message(answer))


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return f"{answer.url} answers {answer.status_code}, but not as Burnish does: is another program on that port?"


@contextmanager
def _client(key: str | None) -> Iterator[httpx.Client]:
    """A client with the given key, or with the one kept for this command in the data folder."""
    settings, database = open_all()
    token = key or os.environ.get("BURNISH_API_KEY") or _own_key(settings, database)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=settings.url, headers=headers, timeout=httpx.Timeout(120, connect=5)) as client:
            yield client
    except httpx.ConnectError:
        raise BurnishError(f"Nothing answers on {settings.url}: start it with `burnish up`.") from None
    except httpx.HTTPError as error:
        raise BurnishError(f"The service broke off: {type(error).__name__}.") from None


def _user() -> str:
    """Who sits at this terminal; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _own_key(settings: Settings, database: Database) -> str:
    """A chat key that stays the same, since a contributor is a user of a key: one person, one voice."""
    kept = settings.data_folder / "chat-key"
    if kept.is_file():
        token = kept.read_text("utf-8")
        with database.read() as session, contextlib.suppress(Unauthenticated):
            keys.authenticate(session, token)
            return token
    with database.write() as session:
        _, token = keys.create(session, "burnish chat", Role.CHAT, actor=ACTOR)
    write_bytes(kept, token.encode(), mode=0o600)
    return token
