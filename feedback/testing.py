"""For tests, here and in code built on Burnish: a migrated database in a folder, and builders of what people said.

Everything goes through the public functions that the service uses; nothing is written to tables behind their backs.
"""

import atexit
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import migrations
from feedback import assistants, contributors, conversations, keys, releases
from feedback.collect import intake
from feedback.config import Settings
from feedback.curate import looks
from feedback.curate.datasheet import About
from feedback.curate.evaluations import Evaluations
from feedback.curate.items import Exchange, Item
from feedback.curate.looks import Looks
from feedback.database import Database
from feedback.keys import Caller
from feedback.models import Assistant
from feedback.policies import Policies
from feedback.states import FeedbackKind, MessageStatus, Role, Side

SECRET = b"a secret for tests"
START = datetime(2025, 1, 1, tzinfo=UTC)


def item(number: int, question: str, reply: str = "It is red.", **more: Any) -> Item:
    """What the curation gets, said in minute `number` by ada unless `more` tells otherwise.

    A good rating; with `correction` a correction, with `rejected` a preference. `more` has fields of Item, of its
    exchange (store, status, version, cut_off, history) and, after `rejected_`, of the other one.
    """
    fields: dict[str, Any] = {"kind": FeedbackKind.RATING, "score": 1.0, "contributor": "ada", "side": Side.TRAIN}
    about: dict[str, Any] = {"version": "base", "history": (("user", question),)}
    other: dict[str, Any] = {"version": "base"}
    for name, value in more.items():
        if name.startswith("rejected_"):
            other[name.removeprefix("rejected_")] = value
        elif name in Exchange.__dataclass_fields__:
            about[name] = value
        else:
            fields[name] = value
    exchange = fields.pop("exchange", None) or Exchange(number, number, reply=reply, **about)
    if "correction" in more:
        fields |= {"kind": FeedbackKind.CORRECTION, "score": None}
    if "rejected" in more:
        rejected = Exchange(-number, number, reply=more["rejected"], **{**about, **other})
        fields |= {"kind": FeedbackKind.PREFERENCE, "score": None, "rejected": rejected}
    if fields["contributor"] is None:
        fields["side"] = None
    created_at = fields.pop("created_at", (START + timedelta(minutes=number)).timestamp())
    return Item(number, exchange=exchange, created_at=created_at, **fields)


def look_at(items: Iterable[Item], *, near: float = 0.8, evaluations: Evaluations | None = None) -> Looks:
    """The looks that a stage wants, made in this process."""
    return looks.look_at(items, near=near, evaluations=evaluations or Evaluations(), processes=1)


def about(policies: Policies | None = None, **more: Any) -> About:
    """What a datasheet is told beside what people said."""
    fields = {"assistant": "support", "base_model": "base", "consent": "opt_out", "made_at": START.timestamp(), **more}
    return About(policies=policies or Policies(), **fields)


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Settings for a throw-away deployment in `folder`, with the echo engine."""
    return Settings(**{"data_folder": folder, "engine": "echo", "secret": SECRET.decode(), **changes})


def make_database(settings: Settings) -> Database:
    """A migrated database with the built-in assistant `base`."""
    database = settings.open_database()
    if database.is_sqlite and not (file := Path(database.url.removeprefix("sqlite:///"))).exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(migrated_file(), file)
    elif len(set(migrations.schema_state(database))) > 1:
        migrations.upgrade(database)
    with database.write() as session:
        assistants.ensure_base(session, settings.base_model)
    return database


@cache
def migrated_file() -> Path:
    """An SQLite file of the newest schema, made once by each process: to migrate takes longer than most tests do."""
    folder = Path(tempfile.mkdtemp(prefix="burnish-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    grown, copied = folder / "grown.sqlite3", folder / "schema.sqlite3"
    database = Database(f"sqlite:///{grown}")
    migrations.upgrade(database)
    database.close()
    connection = sqlite3.connect(grown)
    connection.execute("VACUUM INTO ?", (str(copied),))  # one file, whatever the write-ahead log holds
    connection.close()
    return copied


class House:
    """A deployment with one assistant and one key, and short ways to say things to it."""

    def __init__(self, settings: Settings, database: Database, name: str = "support", **policies: Any) -> None:
        self.settings = settings
        self.database = database
        self.name = name
        with database.write() as session:
            if name not in {known.name for known in assistants.list_assistants(session)}:
                assistants.create(session, name, settings.base_model, system_prompt="Answer briefly.", actor="test")
            self.assistant = assistants.get_assistant(session, name)
            alone = {"min_voices": 1} | policies.pop("trust", {})  # one person's word is enough, unless told otherwise
            assistants.set_policies(session, self.assistant, {"trust": alone, **policies}, actor="test")
            key, self.token = keys.create(session, "test", Role.ADMIN, actor="test")
        self.caller = Caller(key.id, key.name, key.role, None)

    def reload(self) -> Assistant:
        with self.database.read() as session:
            return assistants.get_assistant(session, self.name)

    def reply(
        self,
        question: str | Iterable[dict[str, str]],
        answers: str | list[str],
        *,
        user: str | None = None,
        external_id: str | None = None,
        store: bool | None = None,
    ) -> str:
        """Store a question and its answers as the live version's; returns the completion id."""
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else list(question)
        texts = [answers] if isinstance(answers, str) else answers
        completion_id = f"chatcmpl-{secrets.token_hex(8)}"
        person = None
        if user is not None:
            person = contributors.contributor_id(SECRET, self.assistant.id, self.caller.api_key_id, user)
        with self.database.write() as session:
            guidelines = assistants.current_guidelines(session, self.assistant)
            version = releases.live(session, self.assistant).version
            turn = conversations.Turn(messages, self.caller.api_key_id, person, external_id, store)
            ids = conversations.begin_replies(
                session,
                self.assistant,
                guidelines,
                [version] * len(texts),
                turn,
                completion_id=completion_id,
                sampling={},
            )
            for message_id, text in zip(ids, texts, strict=True):
                conversations.finish_reply(
                    session,
                    message_id,
                    text,
                    MessageStatus.COMPLETE,
                    finish_reason="stop",
                    prompt_tokens=1,
                    completion_tokens=1,
                )
        return completion_id

    def say(self, completion_id: str, kind: str, value: Any = None, **more: Any) -> intake.Accepted:
        """Give feedback on a stored reply."""
        idempotency_key = more.pop("idempotency_key", None)
        given = intake.Given(completion_id, FeedbackKind(kind), value=value, **more)
        return intake.receive(self.database, SECRET, self.caller, given, idempotency_key=idempotency_key)

    def correct(
        self, question: str, wrong: str, right: str, *key_facts: str, user: str | None = None
    ) -> intake.Accepted:
        """Ask, get a wrong answer, and correct it."""
        completion_id = self.reply(question, wrong, user=user)
        return self.say(completion_id, "correction", {"content": right, "key_facts": list(key_facts)})


@contextmanager
def open_house(folder: Path, **policies: Any) -> Iterator[House]:
    """A House on an SQLite file in `folder`."""
    settings = make_settings(folder)
    database = make_database(settings)
    try:
        yield House(settings, database, **policies)
    finally:
        database.close()
