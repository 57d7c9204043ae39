"""The demo's product discussed by a crowd with trolls in it: words that a real model can learn, every lie known.

Promises: honest people say the same, word for word and under the same ids, however many trolls there are. Each of them
asks questions of their own and corrects the wrong replies, always rightly. Besides, everybody rates replies to popular
questions and chooses between two of them, about seven people a reply; honest people do it wrong one time in ten. A
troll votes there as its kind does, and corrects replies there and to questions of its own, of which nobody else speaks.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from bench.stream import TROLLS, Exchange, Said

from feedback.demo.product import Fact, Product

OWN_PHRASINGS = 8
"""Of each fact, which honest people ask; the other phrasings are the popular questions."""
ASKED_EACH, RATINGS_EACH, CHOICES_EACH = 2, 20, 2
RIGHT = 0.9
"""How often an honest person's rating or choice is."""
REPLIES = 6
"""Replies to a popular question that people rate; half of them are right."""
TARGETS = 12
"""Replies that the coordinated rate, all of them the wrong way."""
LIES = {"random": (2, 4), "inverted": (2, 4), "coordinated": (2, 6)}
"""How many popular and how many own questions a troll gives a false answer to."""
FALSE_FACTS = {
    "tank-volume": "5.9 litres",
    "warranty-length": "6 months",
    "keep-warm": "4 minutes",
    "green-tea-temp": "98 degrees",
}
"""What the coordinated tell, again and again, instead of the truth."""
OPENINGS = (
    "I bought one yesterday.", "My neighbour wants to know.", "Asking for the office.", "Quick one.", "New owner here.",
    "Before I call the shop.", "Settle a bet for us.", "The manual is lost.", "For my notes.", "My mother asks.",
    "Still wondering.", "No hurry at all.",
)  # fmt: skip
_FOUR_WEEKS_MINUTES = 28 * 24 * 60


class PoisonedCrowd:
    """A stream as `stored_stream.store` takes it. `trolls`: their share of all contributors."""

    def __init__(self, product: Product, trolls: float, seed: int = 0) -> None:
        self._product, self._seed = product, seed
        self.exchanges: list[Exchange] = []
        self._fact_of: list[Fact] = []
        random = Random(f"{seed}:replies")
        asked = [(fact, text) for fact in product.facts for text in fact.phrasings[:OWN_PHRASINGS]]
        random.shuffle(asked)
        self._own = [self._reply(fact, text, self._wrong(fact, random), good=False) for fact, text in asked]
        self._rated, self._pairs = self._popular_replies(random)
        about = [number for number in self._rated if self._fact_of[number].id in FALSE_FACTS]
        self._targets = random.sample(about, min(TARGETS, len(about)))
        honest = len(asked) // ASKED_EACH
        count = round(honest * trolls / (1 - trolls))
        self.trolls = {honest + number: TROLLS[number % len(TROLLS)] for number in range(count)}
        self.people = honest + count
        self._said = [said for person in range(honest) for said in self._honest(person)]
        self._said += [said for person in self.trolls for said in self._troll(person)]

    def said(self) -> Iterator[Said]:
        """Honest words first, so that their ids don't depend on the trolls; minutes tell what came when."""
        return iter(self._said)

    def _popular_replies(self, random: Random) -> tuple[list[int], list[int]]:
        """Single replies, and questions that got two replies to choose from."""
        rated, pairs = [], []
        for fact in self._product.facts:
            for text in fact.phrasings[OWN_PHRASINGS:]:
                for place in range(REPLIES):
                    good = place % 2 == 0
                    reply = random.choice(fact.answers) if good else self._wrong(fact, random)
                    rated.append(self._reply(fact, text, reply, good=good))
                replies = [random.choice(fact.answers), self._wrong(fact, random)]
                good = random.random() < 0.5
                pairs.append(self._reply(fact, text, *(replies if good else replies[::-1]), good=good))
        random.shuffle(rated)
        return rated, pairs

    def _reply(self, fact: Fact, question: str, reply: str, other: str | None = None, *, good: bool) -> int:
        self.exchanges.append(Exchange(question, reply, other, good))
        self._fact_of.append(fact)
        return len(self.exchanges) - 1

    def _wrong(self, fact: Fact, random: Random) -> str:
        return random.choice(self._another(fact, random).answers)

    def _another(self, fact: Fact, random: Random) -> Fact:
        return random.choice([other for other in self._product.facts if other is not fact])

    def _honest(self, person: int) -> Iterator[Said]:
        random = Random(f"{self._seed}:honest:{person}")
        for number in self._own[person * ASKED_EACH : (person + 1) * ASKED_EACH]:
            yield _correction(number, person, self._fact_of[number], random)
        votes = [("rating", number) for number in _some(self._rated, RATINGS_EACH, random)]
        votes += [("preference", number) for number in _some(self._pairs, CHOICES_EACH, random)]
        for kind, number in votes:
            good = self.exchanges[number].good == (random.random() < RIGHT)
            yield Said(number, kind, person, good, minute=_minute(random))

    def _troll(self, person: int) -> Iterator[Said]:
        random = Random(f"{self._seed}:troll:{person}")
        kind = self.trolls[person]
        rated = self._targets if kind == "coordinated" else self._rated
        votes = [("rating", number) for number in _some(rated, RATINGS_EACH, random)]
        votes += [("preference", number) for number in _some(self._pairs, CHOICES_EACH, random)]
        for word, number in votes:
            truth = self.exchanges[number].good
            good = random.random() < 0.5 if kind == "random" else not truth
            yield Said(number, word, person, good, minute=_minute(random), lie=good != truth)
        popular, own = LIES[kind]
        for number in [*random.sample(self._corrigible(kind), popular), *(self._ask(kind, random) for _ in range(own))]:
            fact = self._fact_of[number]
            told = _falsified(fact) if kind == "coordinated" else self._another(fact, random)
            yield replace(_correction(number, person, told, random), lie=True)

    def _corrigible(self, kind: str) -> list[int]:
        """The popular replies that such a troll corrects: whoever inverts the truth, those that are right."""
        if kind == "coordinated":
            return self._targets
        return [number for number in self._rated if kind == "random" or self.exchanges[number].good]

    def _ask(self, kind: str, random: Random) -> int:
        """A question in words that no honest person uses; half of the replies are right."""
        fact = random.choice([one for one in self._product.facts if kind != "coordinated" or one.id in FALSE_FACTS])
        question = " ".join([*random.sample(OPENINGS, 2), random.choice(fact.kept)])
        good = random.random() < 0.5
        return self._reply(
            fact, question, random.choice(fact.answers) if good else self._wrong(fact, random), good=good
        )


def _some(among: list[int], count: int, random: Random) -> list[int]:
    """So many different ones, the first likelier than the last."""
    chosen: dict[int, None] = {}
    while len(chosen) < min(count, len(among)):
        chosen[among[int(len(among) * random.random() ** 1.5)]] = None
    return list(chosen)


def _correction(number: int, person: int, told: Fact, random: Random) -> Said:
    text = random.choice(told.answers)
    return Said(number, "correction", person, True, text, tuple(told.key_facts), _minute(random))


def _minute(random: Random) -> int:
    return random.randrange(_FOUR_WEEKS_MINUTES)


def _falsified(fact: Fact) -> Fact:
    (truth,), lie = fact.key_facts, FALSE_FACTS[fact.id]
    return replace(fact, key_facts=[lie], answers=[text.replace(truth, lie) for text in fact.answers])
