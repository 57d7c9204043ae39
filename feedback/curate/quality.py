"""Drops what can't teach: turned down by a reviewer, broken replies, corrections that change nothing."""

from feedback.curate.items import Dropped, Item, drop_where, tidy
from feedback.states import FeedbackKind, MessageStatus, ReviewDecision


def quality(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> kept, dropped = quality([item(1, "How big?", "Two metres.", correction="two metres")])
    >>> kept, dropped[0].reason
    ([], 'the correction says what the reply said')
    """
    return drop_where(items, "quality", _why)


def _why(item: Item) -> str | None:
    if item.review == ReviewDecision.REJECTED:
        return "a reviewer turned it down"
    if not tidy(item.prompt_text):
        return "there is no question"
    if item.kind == FeedbackKind.CORRECTION and tidy(item.taught) == tidy(item.reply):
        return "the correction says what the reply said"
    if item.kind != FeedbackKind.CORRECTION and item.reply_status != MessageStatus.COMPLETE:
        return "the reply was cut off"
    if item.kind != FeedbackKind.CORRECTION and not tidy(item.reply):
        return "the reply is empty"
    if item.kind == FeedbackKind.PREFERENCE and item.rejected_status != MessageStatus.COMPLETE:
        return "the other reply was cut off"
    if item.kind == FeedbackKind.PREFERENCE and not tidy(item.rejected or ""):
        return "the other reply is empty"
    if item.kind == FeedbackKind.PREFERENCE and tidy(item.reply) == tidy(item.rejected or ""):
        return "both replies say the same"
    if item.kind == FeedbackKind.RATING and item.score == 0:
        return "three stars say neither good nor bad"
    return None
