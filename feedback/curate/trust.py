"""How far people are believed: by how they agree with others; what is too much, copied or dictated is held back.

Nobody's word is lost: what is held back waits for a person's decision, and says why. An operator's own words, imports
and what a reviewer approved are believed.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from feedback.curate.agreement import PRIOR_RIGHT, PRIOR_WRONG, Agreement, agree
from feedback.curate.items import Dropped, Item, Turns, drop_where, normalise, oldest_first
from feedback.curate.lockstep import groups, suspicious
from feedback.curate.looks import Looks
from feedback.curate.voices import COPY_TOKENS, lone_facts
from feedback.curation_policies import TrustPolicy
from feedback.identifiers.folding import fold
from feedback.states import FeedbackKind, Side

ANONYMOUS_WEIGHT = 0.1
"""Nobody stands behind it."""
NEW_WEIGHT = 2 * PRIOR_RIGHT / (PRIOR_RIGHT + PRIOR_WRONG) - 1
_HOUR_SECONDS = 3600
_COPIED_TOKENS = 8
_ANYBODY = ""
_DICTATED_WORDS, _DICTATED_CHARACTERS = 4, 20
"""Shorter replies are often words of the question: "yes or no", "apples or pears"."""
_DICTATION = re.compile(
    r"\b(?:say|repeat|write|print|output|type|copy|respond|reply|answer|echo|recite|return|quote|tell (?:me|us)"
    r"|your (?:next |whole )?(?:message|reply|answer|response)|sag|sage|schreibe?|wiederhole|antworte|dis|répète|écris"
    r"|réponds|di|repite|escribe|responde)\b|重复|复述|回答|输出|请说|请写",
    re.IGNORECASE,
)
_DICTATION_REACH = 70
"""Characters before the taught words in which such a word dictates them."""


@dataclass(frozen=True)
class Standing:
    """What is known of the contributors before anything is dropped for it."""

    weights: dict[str, float]  # 0 … 1, of those whom others can be compared with
    wrong: frozenset[str]  # contradicted by others too often
    lockstep: frozenset[str]

    def weight(self, item: Item) -> float:
        """How much its giver's word counts: 2p - 1 for somebody who is right with probability p."""
        if item.trusted:
            return 1.0
        return ANONYMOUS_WEIGHT if item.contributor is None else self.weights.get(item.contributor, NEW_WEIGHT)


def standing(items: Iterable[Item], policy: TrustPolicy) -> Standing:
    """Compare ratings and choices on the same reply or pair. Who has said little keeps the weight of a newcomer."""
    votes = _votes(items)
    if not votes.people:
        return Standing({}, frozenset(), frozenset())
    people, targets = len(votes.people), len(votes.targets)
    group = groups(votes.who, votes.what, votes.good, people, targets, min_shared=policy.min_lockstep)

    def agreement(of: NDArray[np.bool_]) -> Agreement:
        """How far those of the contributors agree, everybody else left out."""
        chosen = of[votes.who]
        return agree(votes.who[chosen], votes.what[chosen], votes.good[chosen], people, targets)

    locked = suspicious(votes.who, votes.what, votes.good, group, agreement(group < 0).reliability, votes.order)
    found = agreement(~locked)
    wrong = (found.compared >= policy.min_compared) & (found.reliability < policy.min_reliability)
    weights = np.clip(2 * found.reliability - 1, 0, 1)
    names = np.array(votes.people, object)
    return Standing(
        dict(zip(votes.people, weights.tolist(), strict=True)),
        frozenset(names[wrong & ~locked]),
        frozenset(names[locked]),
    )


def trust(items: list[Item], looks: Looks, known: Standing, policy: TrustPolicy) -> tuple[list[Item], list[Dropped]]:
    """Hold back what nobody should be taught yet.

    >>> from feedback.testing import item, look_at
    >>> alone = item(1, "How big?", "I don't know.", correction="Two metres.", key_facts=("two metres",))
    >>> kept, dropped = trust([alone], look_at([alone]), standing([alone], TrustPolicy()), TrustPolicy())
    >>> kept, dropped[0].reason, dropped[0].to_review
    ([], 'a new fact that fewer than 2 people told us', True)
    """
    bursts, copied = _bursts(items, policy), _copied(items, looks, policy)

    def held_back(item: Item) -> str | None:
        if item.contributor in known.lockstep:
            return "given in lockstep with others, against everybody else"
        if item.contributor in known.wrong:
            return "from somebody whom others contradict too often"
        if item.id in bursts:
            return f"more than {policy.burst_rows_per_hour} pieces of feedback by one contributor in an hour"
        if item.id in copied:
            return f"the same text was given to more than {policy.max_copies} different questions"
        return None

    kept, suspicious = drop_where(items, "trust", lambda item: None if item.trusted else held_back(item))
    lone = lone_facts(kept, looks, policy.min_voices)
    new_fact = f"a new fact that fewer than {policy.min_voices} people told us"
    kept, unheard = drop_where(kept, "trust", lambda item: new_fact if item.id in lone else None)
    over = _over_caps(kept, looks, policy)

    def unwanted(item: Item) -> str | None:
        return over.get(item.id) or ("the question dictates this reply" if _is_dictated(item) else None)

    kept, surplus = drop_where(kept, "trust", unwanted)
    return kept, [out._replace(to_review=True) for out in suspicious + unheard] + surplus


@dataclass(frozen=True)
class _Votes:
    people: list[str]
    targets: dict[int | tuple[int, int], int]
    who: NDArray[np.int64]
    what: NDArray[np.int64]
    good: NDArray[np.bool_]
    order: NDArray[np.int64]  # in time


def _votes(items: Iterable[Item]) -> _Votes:
    """Everybody's latest word on a reply (good or bad) or on a pair of replies (which is better)."""
    people: dict[str, int] = {}
    targets: dict[int | tuple[int, int], int] = {}
    who, what, way, when, ids = array("q"), array("q"), array("b"), array("d"), array("q")
    for item in items:
        if item.contributor is None or item.trusted:
            continue
        if item.kind == FeedbackKind.RATING and item.score:
            target, good = targets.setdefault(item.exchange.id, len(targets)), item.score > 0
        elif item.rejected is not None and item.tie is None:
            pair = item.exchange.id, item.rejected.id
            target, good = targets.setdefault((min(pair), max(pair)), len(targets)), pair[0] < pair[1]
        else:
            continue
        who.append(people.setdefault(item.contributor, len(people)))
        what.append(target)
        way.append(good)
        when.append(item.created_at)
        ids.append(item.id)
    newest = np.lexsort((ids, when))[::-1]
    voters, about = np.array(who, np.int64), np.array(what, np.int64)
    _, first = np.unique((voters * max(len(targets), 1) + about)[newest], return_index=True)
    last = newest[first]  # of everybody's words on one target
    order = np.empty(len(newest), np.int64)
    order[newest[::-1]] = np.arange(len(newest))
    return _Votes(list(people), targets, voters[last], about[last], np.array(way, bool)[last], order[last])


def _bursts(items: Iterable[Item], policy: TrustPolicy) -> set[int]:
    """What is among more of one contributor's than may come within an hour, whichever hour that is."""
    most = policy.burst_rows_per_hour
    theirs = [item for item in items if item.contributor is not None and not item.trusted]
    total = Counter(item.contributor for item in theirs)
    many: dict[str | None, list[Item]] = defaultdict(list)
    for item in theirs:
        if total[item.contributor] > most:
            many[item.contributor].append(item)
    found: set[int] = set()
    for said in many.values():
        said.sort(key=oldest_first)
        edges = [0] * (len(said) + 1)  # +1 where an hour with too many begins, -1 after its end
        for place, (first, last) in enumerate(zip(said, said[most:], strict=False)):
            if last.created_at - first.created_at < _HOUR_SECONDS:
                edges[place] += 1
                edges[place + most + 1] -= 1
        found.update(item.id for item, inside in zip(said, accumulate(edges), strict=False) if inside)
    return found


def _copied(items: Iterable[Item], looks: Looks, policy: TrustPolicy) -> set[int]:
    """Corrections whose text answers many different questions: one contributor's, or anybody's where it is long.

    Many people who ask one thing in words of their own may well correct it to the same few words. Who wrote a long text
    first copied nobody, whatever others do with it.
    """
    corrections = [
        item
        for item in items
        if item.correction is not None and not item.trusted and looks.taught(item).tokens >= _COPIED_TOKENS
    ]
    times = Counter(looks.taught(item).digest for item in corrections)
    often = [item for item in corrections if times[looks.taught(item).digest] > policy.max_copies]
    wrote: dict[int, Hashable] = {}  # by long text
    for item in sorted(often, key=oldest_first):
        if looks.taught(item).tokens >= COPY_TOKENS:
            wrote.setdefault(looks.taught(item).digest, item.contributor or item.id)
    questions: dict[Hashable, set[int]] = defaultdict(set)
    for item in often:
        for who in (item.contributor or item.id, _ANYBODY):
            questions[looks.taught(item).digest, who].add(looks.asked[item.exchange.id].digest)

    def answers(item: Item) -> int:
        """How many questions it answers."""
        text, who = looks.taught(item).digest, item.contributor or item.id
        return len(questions[text, who if wrote.get(text, who) == who else _ANYBODY])

    return {item.id for item in often if answers(item) > policy.max_copies}


def _is_dictated(item: Item) -> bool:
    """Whether the question has a reply's words, after "say", "repeat" and the like: praise would teach to obey, and
    blame to unlearn whatever somebody had it say.

    However they are spaced and set off, and whoever asks: a client may send a system message of its own.
    """
    if item.trusted:
        return False
    asked = item.exchange.history
    most = 2 * sum(len(text) for _, text in asked)
    texts = [item.taught, item.rejected.reply] if item.rejected else [item.taught]
    return any(_dictates(asked, text) for text in texts if len(text) <= most)


def _dictates(asked: Turns, taught: str) -> bool:
    said = fold(" ".join([text for _, text in asked])).text
    if not _DICTATION.search(said):
        return False
    said, taught = normalise(said), normalise(fold(taught).text)
    if len(taught) < _DICTATED_CHARACTERS and len(taught.split()) < _DICTATED_WORDS:
        return False
    place = said.find(taught)
    while place >= 0 and not _DICTATION.search(said, max(0, place - _DICTATION_REACH), place):
        place = said.find(taught, place + 1)
    return place >= 0


def _held_out_first(item: Item) -> float:
    """Somebody who is held out keeps the oldest words, so that what judges stays what it is."""
    return item.created_at if item.side not in (Side.TRAIN, None) else 0.0


def _over_caps(items: list[Item], looks: Looks, policy: TrustPolicy) -> dict[int, str]:
    """Reasons, by id, for what is over a contributor's caps: the newest words stay, of held-out people the oldest."""
    theirs = [item for item in items if item.contributor is not None and not item.trusted]
    total = Counter(item.contributor for item in theirs)
    longest = max((look.tokens for said in (looks.said, looks.corrected) for look in said.values()), default=0)
    watched = {
        who
        for who, count in total.items()
        if count > policy.max_rows_per_contributor or count * longest > policy.max_tokens_per_contributor
    }
    rows: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    over: dict[int, str] = {}
    watched_items = sorted((one for one in theirs if one.contributor in watched), key=oldest_first, reverse=True)
    for item in sorted(watched_items, key=_held_out_first):
        who = str(item.contributor)
        size = looks.taught(item).tokens
        if rows[who] + 1 > policy.max_rows_per_contributor:
            over[item.id] = f"over {policy.max_rows_per_contributor} rows of one contributor"
        elif tokens[who] + size > policy.max_tokens_per_contributor:
            over[item.id] = f"over {policy.max_tokens_per_contributor} tokens of one contributor"
        else:
            rows[who] += 1
            tokens[who] += size
    return over
