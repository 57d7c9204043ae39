"""Drops what can't teach: turned down by a reviewer, broken or empty replies, what nobody should learn to say."""

from feedback.curate.items import Dropped, Item, drop_where
from feedback.curate.looks import Look, Looks
from feedback.curation_policies import QualityPolicy
from feedback.states import FeedbackKind, MessageStatus, ReviewDecision


def quality(items: list[Item], looks: Looks, policy: QualityPolicy) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item, look_at
    >>> said = [item(1, "How big?", "Two metres.", correction="two metres")]
    >>> kept, dropped = quality(said, look_at(said), QualityPolicy())
    >>> kept, dropped[0].reason
    ([], 'the correction says what the reply said')
    """

    def why(item: Item) -> str | None:
        reason = _broken(item, looks)
        if reason is not None or not item.good or item.review == ReviewDecision.APPROVED:
            return reason
        reason = _unfit(item, item.taught, looks.taught(item), policy, cut_off=item.exchange.cut_off)
        if reason is None and item.tie and item.rejected:  # both replies are called good
            other = item.rejected
            reason = _unfit(item, other.reply, looks.said[other.id], policy, cut_off=other.cut_off)
        return reason

    return drop_where(items, "quality", why)


def _broken(item: Item, looks: Looks) -> str | None:
    """What nobody's approval mends."""
    reply, other = item.exchange, item.rejected
    said = looks.said[reply.id]
    if item.review == ReviewDecision.REJECTED:
        return "a reviewer turned it down"
    if looks.asked[reply.id].empty:
        return "there is no question"
    if item.correction is not None:
        if looks.corrected[item.id].empty:
            return "the correction has no words"
        same = looks.corrected[item.id].digest == said.digest
        return "the correction says what the reply said" if same else None
    if reply.status != MessageStatus.COMPLETE:
        return "the reply was cut off"
    if said.empty:
        return "the reply is empty"
    if other is not None and other.status != MessageStatus.COMPLETE:
        return "the other reply was cut off"
    if other is not None and looks.said[other.id].empty:
        return "the other reply is empty"
    if other is not None and looks.said[other.id].digest == said.digest:
        return "both replies say the same"
    if item.kind == FeedbackKind.RATING and item.score == 0:
        return "three stars say neither good nor bad"
    return None


def _unfit(item: Item, text: str, taught: Look, policy: QualityPolicy, *, cut_off: bool) -> str | None:
    """Why a text that is said to be good isn't to be taught."""
    choice = item.rejected is not None and item.tie is None
    if item.correction is None and cut_off and not choice:
        return "the reply reached its token limit: it would teach to stop anywhere"
    if len(text.strip()) < policy.min_characters:
        return f"shorter than {policy.min_characters} characters"
    if taught.tokens > policy.max_tokens:
        return f"longer than {policy.max_tokens} tokens"
    if policy.languages and taught.language and taught.language not in policy.languages:
        return f"not in {', '.join(policy.languages)}"
    if (taught.repetition or 0) > policy.max_repetition:
        return "it repeats itself"
    if taught.refusal and not policy.allow_refusals and not choice:
        return "it only refuses"
    if (taught.toxicity or 0) > policy.max_toxicity:
        return "offensive language"
    return None
