"""What narrows a list of what was said, where no index helps: tags, a report's category, words."""

import json

from sqlalchemy import ColumnElement, String, and_, cast, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from feedback.models import Feedback, Message, ReportCase
from feedback.states import FeedbackKind


def has_tag(tag: str) -> ColumnElement[bool]:
    return cast(Feedback.tags, String).icontains(json.dumps(tag), autoescape=True)


def reports(category: str) -> ColumnElement[bool]:
    """Whether it is a report of that category, or its case is."""
    named = col(Feedback.value)["category"].as_string() == category
    of_case = has_case(col(ReportCase.category) == category)
    return and_(col(Feedback.kind) == FeedbackKind.REPORT, or_(named, of_case))


def has_case(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(col(ReportCase.message_id) == col(Feedback.message_id), condition)


def says(words: str) -> ColumnElement[bool]:
    """Whether they are in what was said, in the reply or in what was asked; case is ignored in ASCII."""
    reply, asked = aliased(Message), aliased(Message)
    places = [
        col(Feedback.comment),
        *(col(Feedback.value)[name].as_string() for name in ("content", "text")),
    ]
    exchange = (
        select(reply.id)
        .outerjoin(asked, col(asked.id) == col(reply.parent_id))
        .where(
            col(reply.id) == col(Feedback.message_id),
            or_(*(col(text).icontains(words, autoescape=True) for text in (reply.content, asked.content))),
        )
    )
    return or_(*(place.icontains(words, autoescape=True) for place in places), exchange.exists())
