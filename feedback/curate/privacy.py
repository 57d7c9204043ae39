"""What identifies people is taken out before anything is learned: a placeholder stands for it, the same one throughout
a conversation. Broken encoding is mended on the way. Nothing is dropped."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from feedback.curate.items import Exchange, Item
from feedback.curate.looks import Looks, repair
from feedback.curation_policies import PrivacyPolicy
from feedback.identifiers.find import Found, find
from feedback.identifiers.redactor import Finder, Redactor

Clean = Callable[[str], str]


def privacy(items: list[Item], looks: Looks, policy: PrivacyPolicy) -> tuple[list[Item], Counter[str]]:
    """The items with clean texts, and how many identifiers of each kind were replaced.

    >>> from feedback.testing import item, look_at
    >>> said = [item(1, "I'm ada@example.org, who are you?", "Hello ada@example.org!")]
    >>> (kept,), found = privacy(said, look_at(said), PrivacyPolicy())
    >>> kept.exchange.history, kept.exchange.reply, dict(found)
    ((('user', "I'm [EMAIL_1], who are you?"),), 'Hello [EMAIL_1]!', {'email': 2})
    """
    if not looks.unclean:
        return items, Counter()
    exchanges_by_id = {exchange.id: exchange for item in items for exchange in _exchanges(item)}
    touched = {
        exchange.conversation
        for exchange in exchanges_by_id.values()
        if any(text in looks.unclean for text in _said(exchange))
    }
    touched |= {
        item.exchange.conversation
        for item in items
        if item.correction is not None and any(text in looks.unclean for text in _given(item))
    }
    counts: Counter[str] = Counter()
    cleaners = _cleaners([item for item in items if item.exchange.conversation in touched], looks, policy, counts)
    exchanges: dict[int, Exchange] = {}

    def clean_exchange(exchange: Exchange) -> Exchange:
        if exchange.id not in exchanges:
            clean = cleaners[exchange.conversation]
            history = tuple((role, clean(text)) for role, text in exchange.history)
            exchanges[exchange.id] = replace(exchange, history=history, reply=clean(exchange.reply))
        return exchanges[exchange.id]

    def clean_item(item: Item) -> Item:
        if item.exchange.conversation not in touched:
            return item
        clean = cleaners[item.exchange.conversation]
        return replace(
            item,
            exchange=clean_exchange(item.exchange),
            rejected=clean_exchange(item.rejected) if item.rejected else None,
            correction=None if item.correction is None else clean(item.correction),
            key_facts=tuple(map(clean, item.key_facts)),
        )

    return [clean_item(item) for item in items], counts


def _cleaners(items: Iterable[Item], looks: Looks, policy: PrivacyPolicy, counts: Counter[str]) -> dict[int, Clean]:
    """For each conversation the function that cleans its texts, in the order in which they were written."""
    texts: dict[int, dict[str, None]] = {}
    for item in sorted(items, key=lambda item: (item.exchange.id, item.id)):
        spoken = texts.setdefault(item.exchange.conversation, {})
        for exchange in _exchanges(item):
            spoken |= dict.fromkeys(_said(exchange))
        spoken |= dict.fromkeys(_given(item))
    return {number: _cleaner(list(spoken), looks, policy, counts) for number, spoken in texts.items()}


def _cleaner(texts: list[str], looks: Looks, policy: PrivacyPolicy, counts: Counter[str]) -> Clean:
    mended = [(look.repaired if (look := looks.unclean.get(text)) else repair(text)) or text for text in texts]
    if policy.replace_identifiers:
        mended, found = Redactor(finder_for(policy)).redact(mended)
        counts.update({kind.value: count for kind, count in found.items()})
    known = dict(zip(texts, mended, strict=True))
    return lambda text: known.get(text, text)


def finder_for(policy: PrivacyPolicy) -> Finder:
    """Finds what the policy has replaced. Loads a model where that includes names."""
    finder: Finder = find
    if policy.names:
        from feedback.identifiers.names import finder as load

        finder = load()
    kept = {one.value for text in policy.keep for one in finder(text)}
    if not kept:
        return finder

    def find_others(text: str) -> list[Found]:
        return [one for one in finder(text) if one.value not in kept]

    return find_others


def _exchanges(item: Item) -> Iterable[Exchange]:
    return (item.exchange, item.rejected) if item.rejected else (item.exchange,)


def _said(exchange: Exchange) -> Iterable[str]:
    yield from (text for _, text in exchange.history)
    yield exchange.reply


def _given(item: Item) -> Iterable[str]:
    return () if item.correction is None else (item.correction, *item.key_facts)
