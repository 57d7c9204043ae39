"""A stream of feedback such as a busy deployment has, made up: who said what about which reply, and who lies.

Lengths are drawn from the quantiles of real prompts and replies (OpenAssistant's English trees); words are made of
syllables, some used far more often than others. Every lie is known, so that what is caught can be counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

PROMPT_CHARACTERS = [6, 21, 29, 33, 39, 44, 50, 57, 64, 70, 76, 81, 91, 101, 114, 133, 151, 183, 231, 330, 2000]
REPLY_CHARACTERS = [5, 59, 98, 145, 197, 239, 286, 360, 421, 474, 558, 647, 735, 872, 986, 1174]
REPLY_CHARACTERS += [1365, 1563, 1860, 2208, 3900]
"""Every twentieth part of them is between two neighbours."""
_COMMON_WORDS = """the of and to a in is it you that for on are with as be this or have from by not can what your an
    if will one all which when use more about there so how some other then they like may make time should also get
    first see need way out only would work into its than good want new go no know just people any do most over through
    find give"""
_ONSETS, _VOWELS = "b cr d f gl h k l m n p r st t v w", "a e i o u ar en"
_SYLLABLES = [onset + vowel for onset in _ONSETS.split() for vowel in _VOWELS.split()]
TROLLS = ("random", "inverted", "coordinated")


@dataclass
class Exchange:
    question: str
    reply: str
    other: str | None  # a second candidate
    good: bool  # the truth about the reply
    fact: int | None = None  # what a right answer says, where somebody corrects it


@dataclass
class Said:
    exchange: int
    kind: str  # rating, correction, preference, comment
    contributor: int | None
    good: bool = True
    text: str = ""
    key_facts: tuple[str, ...] = ()
    minute: int = 0
    lie: bool = False


@dataclass
class Shape:
    rows: int
    exchanges: int  # two messages each
    trolls: float = 0.05
    kinds: dict[str, float] = field(
        default_factory=lambda: {"rating": 0.86, "correction": 0.06, "preference": 0.05, "comment": 0.03}
    )
    anonymous: float = 0.05
    near_duplicates: float = 0.05
    private: float = 0.03
    voices: int = 40  # pieces of feedback a contributor, on average
    right: float = 0.9  # how often an honest person is


class Stream:
    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape = shape
        self._random = random = Random(seed)
        self._words = _Words(random)
        self.facts = [self._words.text(20) for _ in range(max(1, shape.exchanges // 50))]
        self.exchanges = list(self._exchanges())
        count = max(10, shape.rows // shape.voices)
        self.trolls: dict[int, str] = {}
        for number in range(int(count * shape.trolls)):
            self.trolls[number] = TROLLS[number % len(TROLLS)]
        self.people = count
        # what coordinated trolls go for: few replies, again and again, where they are the majority
        self._targets = random.sample(range(len(self.exchanges)), max(1, min(len(self.exchanges), 12)))

    def said(self) -> Iterator[Said]:
        """The rows, in the order in which they came in."""
        random, shape = self._random, self.shape
        kinds, weights = list(shape.kinds), list(accumulate(shape.kinds.values()))
        for row in range(shape.rows):
            person: int | None = random.randrange(self.people)
            troll = self.trolls.get(person or 0)
            if troll is None and random.random() < shape.anonymous:
                person = None
            minute = row // 20
            (kind,) = random.choices(kinds, cum_weights=weights)
            if troll == "coordinated":
                yield self._coordinated(person or 0, minute)
            else:
                yield self._one(kind, person, troll, minute)

    def _one(self, kind: str, person: int | None, troll: str | None, minute: int) -> Said:
        random = self._random
        number = int(len(self.exchanges) * random.random() ** 1.5)
        exchange = self.exchanges[number]
        honest = random.random() < self.shape.right
        truth = exchange.good if honest else not exchange.good
        good = {"random": random.random() < 0.5, "inverted": not truth}.get(troll or "", truth)
        said = Said(number, kind, person, good, minute=minute, lie=troll is not None and good != exchange.good)
        if kind == "preference" and exchange.other is None:
            said.kind = "rating"
        if kind == "correction":
            fact = random.randrange(len(self.facts)) if exchange.fact is None else exchange.fact
            exchange.fact = fact
            wrong = troll is not None and (troll == "inverted" or random.random() < 0.5)
            if wrong:
                fact = random.randrange(len(self.facts))
            said.text = f"{self._words.text(random.choice((40, 120, 300)))} {self.facts[fact]}."
            said.key_facts = (self.facts[fact],)
            said.lie = wrong and fact != exchange.fact
        if kind == "comment":
            said.text = self._words.text(60)
        return said

    def _coordinated(self, person: int, minute: int) -> Said:
        number = self._random.choice(self._targets)
        if self._random.random() < 0.3:
            fact = f"{self.facts[number % len(self.facts)]} never"
            return Said(number, "correction", person, True, f"It is {fact}.", (fact,), minute, lie=True)
        return Said(number, "rating", person, not self.exchanges[number].good, minute=minute, lie=True)

    def _exchanges(self) -> Iterator[Exchange]:
        random, words = self._random, self._words
        asked: list[str] = []
        for _ in range(self.shape.exchanges):
            question = words.text(_length(PROMPT_CHARACTERS, random)) + "?"
            if asked and random.random() < self.shape.near_duplicates:
                question = f"{random.choice(asked)}{random.choice(('', '?', ' now', ' please'))}"
            asked.append(question)
            reply = words.text(_length(REPLY_CHARACTERS, random))
            if random.random() < self.shape.private:
                reply += f" Write to {words.text(8).replace(' ', '.')}@{words.text(6).replace(' ', '')}.org"
            other = words.text(_length(REPLY_CHARACTERS, random)) if random.random() < 0.1 else None
            yield Exchange(question, reply, other, random.random() < 0.6)


class _Words:
    """Zipf's law over a vocabulary of common English words and made-up ones."""

    def __init__(self, random: Random, count: int = 20_000) -> None:
        self._random = random
        made = {"".join(random.choices(_SYLLABLES, k=random.choice((1, 2, 2, 3)))) for _ in range(count)}
        vocabulary = [*_COMMON_WORDS.split(), *sorted(made)]
        weights = accumulate(1 / (place + 10) for place in range(len(vocabulary)))
        self._text = " ".join(random.choices(vocabulary, cum_weights=list(weights), k=500_000))

    def text(self, characters: int) -> str:
        """So many characters from somewhere in a long text, in whole words."""
        start = self._text.index(" ", self._random.randrange(len(self._text) - characters - 40)) + 1
        end = self._text.index(" ", start + max(characters - 4, 1))
        return self._text[start:end]


def _length(quantiles: list[int], random: Random) -> int:
    place = random.random() * (len(quantiles) - 1)
    low = int(place)
    return int(quantiles[low] + (place - low) * (quantiles[low + 1] - quantiles[low]))
