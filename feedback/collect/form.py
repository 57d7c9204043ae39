"""What may be said about a reply, for whoever draws the form: kinds, tags, anonymity, and the survey when it is due."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from feedback import assistants
from feedback.collect import reports, surveys
from feedback.collect.intake import identity_of, slot_of
from feedback.conversations import count_answered, get_reply, has_siblings
from feedback.keys import Caller
from feedback.models import Assistant, Conversation, Feedback
from feedback.policies import CollectPolicy, SurveyQuestion
from feedback.states import LEARNABLE, FeedbackKind


@dataclass(frozen=True)
class Form:
    kinds: tuple[FeedbackKind, ...]
    tags: tuple[str, ...]  # none: any
    anonymous: bool
    report_categories: tuple[str, ...]
    survey: tuple[SurveyQuestion, ...] | None  # None: not due


def draw(
    session: Session, secret: bytes, caller: Caller, completion_id: str, choice: int, *, user: str | None = None
) -> Form:
    """The form for `user`, by default the one who chatted. Raises NotFound (no such completion for this key)."""
    reply, conversation = get_reply(session, caller.assistant_ids, completion_id, choice)
    policy = assistants.policies(session.get_one(Assistant, conversation.assistant_id)).collect
    left_out = set(LEARNABLE) if conversation.ui_task else set()
    if not has_siblings(session, reply):
        left_out.add(FeedbackKind.PREFERENCE)
    if not policy.survey:
        left_out.add(FeedbackKind.SURVEY)
    return Form(
        kinds=tuple(kind for kind in FeedbackKind if kind not in left_out),
        tags=tuple(policy.tags),
        anonymous=policy.anonymous,
        report_categories=reports.CATEGORIES,
        survey=tuple(policy.survey)
        if _is_due(session, policy, conversation, identity_of(secret, caller, conversation, user))
        else None,
    )


def _is_due(session: Session, policy: CollectPolicy, conversation: Conversation, identity: str) -> bool:
    """Enough was answered, and this person hasn't said how it went."""
    if not policy.survey or conversation.ui_task:
        return False
    slot = slot_of(identity, FeedbackKind.SURVEY, surveys.about(conversation.id))
    if session.exec(select(Feedback.id).where(col(Feedback.slot) == slot)).first() is not None:
        return False
    return count_answered(session, conversation.id) >= policy.survey_after_replies
