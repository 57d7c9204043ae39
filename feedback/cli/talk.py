"""`burnish chat`: talk to an assistant in the terminal, and say what you think of its replies."""

import contextlib
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from feedback import client as api
from feedback import keys
from feedback.cli.app import ACTOR, AsJson, console, harmless, open_all, print_json, visible
from feedback.client import Burnish, Completion, Message, NotReached
from feedback.client.chat import ChatOptions, chat_body
from feedback.client.giving import Aside
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
    options: ChatOptions = {"user": _user()}
    if temperature is not None:
        options["temperature"] = temperature
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    with _client(key) as client:
        if message is not None:
            _once(client, message, model, options, as_json)
            return
        console.print(HELP, style="dim")
        _converse(client, model, options)


def _once(client: Burnish, message: str, model: str, options: ChatOptions, as_json: bool) -> None:
    if as_json:
        body = chat_body(model, message, options)
        print_json(client.request("POST", "/v1/chat/completions", body=body))
    else:
        with client.chat.stream(model, message, **options) as stream:
            for piece in stream:
                print(visible(piece), end="", flush=True)
        print(flush=True)
        print(f"({stream.result.id})", file=sys.stderr)  # what feedback on it has to name


def _converse(client: Burnish, model: str, options: ChatOptions) -> None:
    history: list[Message] = []
    reply: Completion | None = None
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
            _give_feedback(client, reply, command, rest)
        elif command.startswith("/") or not said:
            console.print(HELP, style="dim")
        else:
            asked: Message = {"role": "user", "content": said}
            try:
                with client.chat.stream(model, [*history, asked], **options) as stream:
                    for piece in stream:
                        print(visible(piece), end="", flush=True)
            except api.BurnishError as error:
                console.print(harmless(error.message), style="red")
                continue
            print()
            reply = stream.result
            history += [asked, reply.message]


def _give_feedback(client: Burnish, reply: Completion | None, command: str, words: str) -> None:
    if reply is None:
        console.print("There is no reply yet.", style="dim")
        return
    try:
        if command == "/fix":
            receipt = client.feedback.correct(reply, words, user=_user())
        else:
            aside: Aside = {"user": _user(), "comment": words} if words else {"user": _user()}
            receipt = client.feedback.rate(reply, 1 if command == "/good" else -1, **aside)
    except api.BurnishError as error:
        console.print(harmless(error.message), style="red")
    else:
        console.print(f"Thank you. Receipt: {receipt.token}", style="dim")


@contextmanager
def _client(key: str | None) -> Iterator[Burnish]:
    """A client with the given key, or with the one kept for this command in the data folder."""
    settings, database = open_all()
    token = key or os.environ.get("BURNISH_API_KEY") or _own_key(settings, database)
    try:
        with Burnish(settings.url, token, max_retries=0) as client:  # whoever waits for it is told at once
            yield client
    except NotReached as error:
        nothing = f"Nothing answers on {settings.url}: start it with `burnish up`."
        raise BurnishError(error.message if error.sent else nothing) from None
    except api.BurnishError as error:
        raise BurnishError(error.message) from None


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
