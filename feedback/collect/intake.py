"""Take in one piece of feedback: parse, replace the giver's earlier word, store, and request a run if one is due.

All in one transaction: what was acknowledged is on disk, together with the run that it made due.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from feedback import assistants, cases, contributors, due
from feedback.collect import comments, corrections, preferences, ratings, reports, surveys
from feedback.collect.kinds import Parsed
from feedback.columns import is_storable, texts_in
from feedback.conversations import get_reply
from feedback.database import Database, came_first
from feedback.errors import InvalidInput
from feedback.keys import Caller
from feedback.models import Assistant, Conversation, Feedback, Message
from feedback.policies import CollectPolicy
from feedback.states import LEARNABLE, FeedbackKind, FeedbackStatus

MAX_TEXT = 20_000
"""Characters a comment or correction may have."""
OPERATOR = "operator"
"""The source of what is said with a key that may review, in nobody else's name."""
MAX_USER = 200
"""Characters a contributor's name may have."""


@dataclass(frozen=True)
class Given:
    """What a client sent."""

    completion_id: str
    kind: FeedbackKind
    choice: int = 0
    value: Any = None
    comment: str | None = None
    tags: tuple[str, ...] = ()
    user: str | None = None
    anonymous: bool = False
    training: bool | None = None


@dataclass(frozen=True)
class Accepted:
    id: str
    receipt: str
    status: FeedbackStatus


def receive(
    database: Database, secret: bytes, caller: Caller, given: Given, *, idempotency_key: str | None = None
) -> Accepted:
    """Store `given`. Raises NotFound (no such completion for this key) and InvalidInput (a value out of form, a tag or
    anonymity that the assistant doesn't allow, or a kind that a client's own task has nothing for).

    Two at once under one idempotency key, or one giver's two words on one reply: the database lets one through
    and the other is tried again, now seeing the first.
    """
    for last_try in (False, False, True):
        try:
            with database.write() as session:
                return _receive(session, secret, caller, given, idempotency_key)
        except DBAPIError as error:
            if last_try or not came_first(error):
                raise
    raise AssertionError("unreachable")


def _receive(session: Session, secret: bytes, caller: Caller, given: Given, idempotency_key: str | None) -> Accepted:
    repeated = _find_repeated(session, secret, caller, given, idempotency_key)
    if repeated is not None:
        return repeated
    reply, conversation = get_reply(session, caller.assistant_ids, given.completion_id, given.choice)
    assistant = session.get_one(Assistant, conversation.assistant_id)
    policies = assistants.policies(assistant)
    _check_allowed(policies.collect, conversation, given)
    parsed = _parse(session, reply, given, policies.collect)
    contributor_id = None
    if not given.anonymous:
        identity = identity_of(secret, caller, conversation, given.user)
        contributor_id = contributors.remember(session, assistant, identity, policies.training).id
    slot = slot_of(contributor_id, given.kind, parsed.about) if contributor_id and parsed.about else None
    if slot is not None:
        _replace_earlier_word(session, slot)
    public_id = f"fb-{secrets.token_hex(12)}"
    receipt = make_receipt(secret, public_id)
    feedback = Feedback(
        public_id=public_id,
        assistant_id=assistant.id,
        message_id=reply.id,
        api_key_id=caller.api_key_id,
        contributor_id=contributor_id,
        kind=given.kind,
        score=parsed.score,
        value=parsed.value,
        comment=given.comment,
        tags=list(given.tags),
        training=given.training,
        status=FeedbackStatus.IN_REVIEW if parsed.report_category else FeedbackStatus.RECEIVED,
        slot=slot,
        receipt_sha256=hash_receipt(receipt),
        idempotency_key=idempotency_key,
        request_sha256=_fingerprint(secret, given),
        source=OPERATOR if _is_own_word(caller, conversation, given) else None,
    )
    session.add(feedback)
    session.flush()
    if parsed.report_category:
        cases.report_came_in(session, feedback, parsed.report_category, actor=caller.actor)
    session.flush()
    due.request_if_due(session, assistant)
    return Accepted(public_id, receipt, feedback.status)


def make_receipt(secret: bytes, public_id: str) -> str:
    """Can be made again for a repeated request, but not guessed: the database keeps only its hash."""
    return "rcpt-" + hmac.new(secret, f"receipt:{public_id}".encode(), hashlib.sha256).hexdigest()[:40]


def hash_receipt(receipt: str) -> str:
    return hashlib.sha256(receipt.encode()).hexdigest()


def check_texts(value: Any, comment: str | None, tags: Sequence[str]) -> None:
    """What holds for the texts of every kind, however they come in."""
    if not all(is_storable(text) for text in texts_in([value, comment, tags])):
        raise InvalidInput("Text can't have NUL characters or lone surrogates: take them out.", param="value")
    if sum(len(text) for text in texts_in([value, comment])) > MAX_TEXT:
        raise InvalidInput(f"`value` and `comment` together may have {MAX_TEXT} characters.", param="value")


def slot_of(contributor_id: str, kind: FeedbackKind, about: str) -> str:
    """Where a giver's one current word of a kind on something is kept."""
    return f"{contributor_id}:{kind}:{about}"


def identity_of(secret: bytes, caller: Caller, conversation: Conversation, user: str | None) -> str:
    """Who gives feedback on a conversation: the user it names, else the one who chatted, else the key."""
    if not caller.vouches:
        user = None
    if not user and conversation.contributor_id is not None:
        return conversation.contributor_id
    return contributors.contributor_id(secret, conversation.assistant_id, caller.api_key_id, user)


def _check_allowed(policy: CollectPolicy, conversation: Conversation, given: Given) -> None:
    if conversation.ui_task and given.kind in LEARNABLE:
        raise InvalidInput(
            f"This reply is to a chat client's own task, such as a title, whose words aren't kept: there is nothing "
            f"that a {given.kind} could teach. Comments and reports are taken.",
            param="kind",
        )
    refused = next((tag for tag in given.tags if policy.tags and tag not in policy.tags), None)
    if refused is not None:
        raise InvalidInput(
            f"The tag '{refused}' isn't one of this assistant's: {', '.join(policy.tags)}.", param="tags"
        )
    if given.anonymous and not policy.anonymous:
        raise InvalidInput(
            "This assistant takes no anonymous feedback, only named: leave `anonymous` out; "
            "`user` is kept as a keyed hash alone.",
            param="anonymous",
        )


def _parse(session: Session, reply: Message, given: Given, policy: CollectPolicy) -> Parsed:
    check_texts(given.value, given.comment, given.tags)
    match given.kind:
        case FeedbackKind.RATING:
            return ratings.parse(reply, given.value)
        case FeedbackKind.COMMENT:
            return comments.parse(given.value, given.comment)
        case FeedbackKind.CORRECTION:
            return corrections.parse(reply, given.value)
        case FeedbackKind.PREFERENCE:
            return preferences.parse(session, reply, given.value)
        case FeedbackKind.REPORT:
            return reports.parse(given.value)
        case FeedbackKind.SURVEY:
            return surveys.parse(policy.survey, reply.conversation_id, given.value)


def _is_own_word(caller: Caller, conversation: Conversation, given: Given) -> bool:
    """Whether somebody who may review says it in their own name: no other voice is needed then."""
    named = given.user or given.anonymous or conversation.contributor_id is not None
    return caller.may("review") and not named


def _replace_earlier_word(session: Session, slot: str) -> None:
    session.connection().execute(
        update(Feedback)
        .where(col(Feedback.slot) == slot)
        .values(slot=None, status=FeedbackStatus.REPLACED, status_reason="You said something newer.")
    )


def _find_repeated(
    session: Session, secret: bytes, caller: Caller, given: Given, idempotency_key: str | None
) -> Accepted | None:
    if idempotency_key is None:
        return None
    earlier = session.exec(
        select(Feedback).where(Feedback.api_key_id == caller.api_key_id, Feedback.idempotency_key == idempotency_key)
    ).first()
    if earlier is None:
        return None
    # an empty one is of before there were keyed hashes
    if earlier.request_sha256 not in ("", _fingerprint(secret, given)):
        raise InvalidInput(
            "This Idempotency-Key was used for other feedback: use a new one.", code="idempotency_key_reused"
        )
    return Accepted(earlier.public_id, make_receipt(secret, earlier.public_id), earlier.status)


def _fingerprint(secret: bytes, given: Given) -> str:
    """With a key, so that nobody can guess from it who gave it, an anonymous giver least of all."""
    fields = {**given.__dict__, "tags": list(given.tags)}
    return hmac.new(secret, f"request:{json.dumps(fields, sort_keys=True)}".encode(), hashlib.sha256).hexdigest()
