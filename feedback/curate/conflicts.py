"""The latest word of a contributor wins; what contradicts itself between contributors is dropped."""

from collections import defaultdict

from feedback.curate.items import Dropped, Item, drop_where, tidy
from feedback.key_facts import contains_facts
from feedback.states import FeedbackKind


def conflicts(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    latest, outdated = _latest_words(items)
    contradicted = _contradicted(latest)
    kept, contradictory = drop_where(latest, "conflicts", lambda item: contradicted.get(item.feedback_ids))
    return kept, outdated + contradictory


def _latest_words(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """Per contributor: one correction a question, one rating a reply, one choice a pair."""
    newest: dict[tuple[str, ...], Item] = {}
    for item in sorted(items, key=lambda item: (item.created_at, item.feedback_ids)):
        if item.contributor is not None:
            newest[_subject(item)] = item

    def why(item: Item) -> str | None:
        if item.contributor is None or newest[_subject(item)] is item:
            return None
        return "the same person said something newer about the same question"

    return drop_where(items, "conflicts", why)


def _subject(item: Item) -> tuple[str, ...]:
    about = [str(item.contributor), item.kind, tidy(item.prompt_text)]
    if item.kind == FeedbackKind.RATING:
        about.append(tidy(item.reply))
    if item.kind == FeedbackKind.PREFERENCE:
        about += sorted((tidy(item.reply), tidy(item.rejected or "")))
    return tuple(about)


def _contradicted(items: list[Item]) -> dict[tuple[int, ...], str]:
    """Reasons by the items' feedback ids."""
    found: dict[tuple[int, ...], str] = {}
    by_question: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        by_question[item.kind, tidy(item.prompt_text)].append(item)
    for (kind, _), group in by_question.items():
        for index, one in enumerate(group):
            for other in group[index + 1 :]:
                reason = _contradiction(FeedbackKind(kind), one, other)
                if reason is None:
                    continue
                named = [item for item in (one, other) if item.contributor is not None]
                # an anonymous word is worth less than a named one: alone it can't take that away
                for item in (one, other):
                    if item.contributor is None or len(named) != 1:
                        found[item.feedback_ids] = reason
    return found


def _contradiction(kind: FeedbackKind, one: Item, other: Item) -> str | None:
    if kind == FeedbackKind.RATING:
        opposed = (one.score or 0) * (other.score or 0) < 0
        if opposed and tidy(one.reply) == tidy(other.reply):
            return "people rated this reply both good and bad"
    if kind == FeedbackKind.PREFERENCE:
        mine = (tidy(one.reply), tidy(one.rejected or ""))
        theirs = (tidy(other.rejected or ""), tidy(other.reply))
        if mine == theirs:
            return "people chose both ways between these replies"
    if kind == FeedbackKind.CORRECTION and one.key_facts and other.key_facts:
        agree = contains_facts(one.taught, other.key_facts) or contains_facts(other.taught, one.key_facts)
        if not agree:
            return "people corrected this question to different facts"
    return None
