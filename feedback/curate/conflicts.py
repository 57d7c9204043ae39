"""The latest word of a contributor wins; what contradicts itself between contributors is dropped."""

from collections import defaultdict
from itertools import combinations

from feedback.curate.items import Dropped, Item, drop_where, tidy
from feedback.key_facts import contains_facts
from feedback.states import FeedbackKind

Statement = tuple[str, tuple[str, ...]]
"""(the text called right, its key facts) · (the better reply, the worse one) · (the reply, good or bad)"""


def conflicts(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> red = item(1, "Which colour?", "None.", correction="It is red.", key_facts=("red",), contributor="ada")
    >>> blue = item(2, "Which colour?", "None.", correction="It is blue.", key_facts=("blue",), contributor="bob")
    >>> kept, dropped = conflicts([red, blue])
    >>> kept, {out.reason for out in dropped}
    ([], {'people corrected this question to different facts'})
    """
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
    questions: dict[tuple[str, str], dict[Statement, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        questions[item.kind, tidy(item.prompt_text)][_statement(item)].append(item)
    found: dict[tuple[int, ...], str] = {}
    for (kind, _), statements in questions.items():
        for one, other in combinations(statements, 2):
            reason = _contradiction(FeedbackKind(kind), one, other)
            if reason is None:
                continue
            for said, opposed in ((one, other), (other, one)):
                by_name = any(item.contributor is not None for item in statements[opposed])
                # an anonymous word is worth less than a named one: alone it can't take that away
                found |= {item.feedback_ids: reason for item in statements[said] if by_name or item.contributor is None}
    return found


def _statement(item: Item) -> Statement:
    """What an item says about its question; a thousand people who say the same are compared once."""
    if item.kind == FeedbackKind.CORRECTION:
        return item.taught, item.key_facts
    if item.kind == FeedbackKind.PREFERENCE:
        return tidy(item.reply), (tidy(item.rejected or ""),)
    return tidy(item.reply), ("good" if (item.score or 0) > 0 else "bad",)


def _contradiction(kind: FeedbackKind, one: Statement, other: Statement) -> str | None:
    if kind == FeedbackKind.RATING and one[0] == other[0]:
        return "people rated this reply both good and bad"
    if kind == FeedbackKind.PREFERENCE and (one[0], *one[1]) == (*other[1], other[0]):
        return "people chose both ways between these replies"
    if kind == FeedbackKind.CORRECTION and one[1] and other[1]:
        agree = contains_facts(one[0], other[1]) or contains_facts(other[0], one[1])
        return None if agree else "people corrected this question to different facts"
    return None
