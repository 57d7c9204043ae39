"""Measures both versions on the held-out rows, through the engine that serves.

Promises: candidate and baseline get the same prompts, the same other completions to tell apart and the same
budget of tokens; replies are greedy; what doesn't fit the model's context isn't measured.
Leaves out what the numbers are worth (statistics.py, verdict.py).
"""

import difflib
import math
import random
from collections.abc import Sequence, Set

from feedback.errors import InvalidInput
from feedback.key_facts import contains_facts, normalise
from feedback.policies import VerdictPolicy
from feedback.run_folder import Row, Turn
from service.engines.base import TOO_LONG, ChatMessage, Engine, ScoreRequest
from trainer.evaluation.generate import Progress, generate, messages
from trainer.evaluation.record import Measured, PairResult, RatingResult, RowResult

SCORES_PER_CALL = 200
TEXTS_PER_CALL = 16
OTHER_COMPLETIONS = 4
CONTRAST_BOUND = 0.5
"""Nats a token at which one completion counts as plainly likelier than another."""
NEAR_EQUAL = 0.9
"""Similarity of two normalised completions from which one isn't a wrong answer to the other's question."""

Asked = tuple[tuple[tuple[str, str], ...], str]
"""(prompt as ((role, content), …), completion)"""


def text_of(turns: Sequence[Turn] | None) -> str:
    """What the assistant says in a completion (one turn in every row the curation writes)."""
    return "\n".join(turn.content for turn in turns or [])


async def replies(
    engine: Engine, rows: Sequence[Row], version: str, policy: VerdictPolicy, progress: Progress
) -> list[str | None]:
    """Greedy replies to the rows' prompts, in their order; None where the prompt is too long."""
    asked = [messages(row.prompt) for row in rows]
    found = await generate(engine, asked, version, policy.max_new_tokens, progress)
    return [reply.text if reply else None for reply in found]


def other_completions(rows: Sequence[Row], seed: int) -> list[list[str]]:
    """For each row, up to four completions of other topics that would be wrong answers to its question.

    A completion that holds the row's key facts, or nearly equals the right one, isn't wrong and isn't chosen.
    """
    completions = [text_of(row.completion) for row in rows]
    chosen = []
    for index, row in enumerate(rows):
        order = [other for other in range(len(rows)) if rows[other].topic != row.topic]
        random.Random(f"{seed}:{row.id}").shuffle(order)  # noqa: S311 (a reproducible choice, no secret)
        wrong: list[str] = []
        for other in order:
            if len(wrong) == OTHER_COMPLETIONS:
                break
            candidate = completions[other]
            if candidate not in wrong and not _also_right(candidate, completions[index], row.key_facts):
                wrong.append(candidate)
        chosen.append(wrong)
    return chosen


class MeanLogProbs:
    """Mean log-probability a token of completions, in nats; what was asked before isn't scored again.

    A correction's reply is also its pair's chosen side, and a rated reply often some pair's rejected one.
    """

    def __init__(self, engine: Engine, progress: Progress) -> None:
        self._engine = engine
        self._progress = progress
        self._known: dict[tuple[str, Asked], float | None] = {}

    async def of(self, asked: Sequence[Asked], version: str) -> list[float | None]:
        """In the order asked; None for what is longer than the context."""
        new = [one for one in dict.fromkeys(asked) if (version, one) not in self._known]
        for start in range(0, len(new), SCORES_PER_CALL):
            piece = new[start : start + SCORES_PER_CALL]
            for one, mean in zip(piece, await self._means(piece, version), strict=True):
                self._known[version, one] = mean
            self._progress(len(piece))
        return [self._known[version, one] for one in asked]

    async def of_texts(self, texts: Sequence[str], version: str) -> list[float | None]:
        """The same of plain text, without a chat around it."""
        return [sum(scores) / len(scores) if scores else None for scores in await self.of_tokens(texts, version)]

    async def of_tokens(self, texts: Sequence[str], version: str) -> list[list[float]]:
        """Each plain text's tokens' log-probabilities; none of a text that is longer than the context, or one token."""
        scored: list[list[float]] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            scored += await self._tokens(texts[start : start + TEXTS_PER_CALL], version)
        return scored

    async def _tokens(self, texts: Sequence[str], version: str) -> list[list[float]]:
        try:
            return await self._engine.score_text(texts, version)
        except InvalidInput as error:
            if error.code != TOO_LONG:
                raise
            if len(texts) == 1:
                return [[]]
        half = len(texts) // 2  # one of them is too long: find which
        return [*await self._tokens(texts[:half], version), *await self._tokens(texts[half:], version)]

    async def _means(self, asked: Sequence[Asked], version: str) -> list[float | None]:
        requests = [
            ScoreRequest([{"role": role, "content": content} for role, content in prompt], completion, version)
            for prompt, completion in asked
        ]
        try:
            return [sum(scores) / len(scores) for scores in await self._engine.score(requests)]
        except InvalidInput as error:
            if error.code != TOO_LONG:
                raise
            if len(asked) == 1:
                return [None]
        half = len(asked) // 2  # one of them is too long: find which
        return [*await self._means(asked[:half], version), *await self._means(asked[half:], version)]


def in_tuples(conversation: Sequence[ChatMessage]) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in conversation)


def asked_of(row: Row, completion: str) -> Asked:
    return tuple((turn.role, turn.content) for turn in row.prompt), completion


async def measure_rows(
    log_probs: MeanLogProbs,
    rows: Sequence[Row],
    versions: tuple[str, str],
    generated: tuple[list[str | None], list[str | None]],
    trained_topics: Set[str],
    seed: int,
) -> list[RowResult]:
    """Recall, contrast and loss of each correction that fits the context, under candidate and baseline."""
    others = other_completions(rows, seed)
    measured = []
    for version, texts in zip(versions, generated, strict=True):
        asked = [
            asked_of(row, completion)
            for row, wrong in zip(rows, others, strict=True)
            for completion in (text_of(row.completion), *wrong)
        ]
        scores = iter(await log_probs.of(asked, version))
        measured.append(
            [
                _measured(row, reply, next(scores), [next(scores) for _ in wrong])
                for row, reply, wrong in zip(rows, texts, others, strict=True)
            ]
        )
    return [
        RowResult(
            id=row.id,
            contributor=row.contributor,
            cluster=row.cluster,
            topic=row.topic,
            question=question(row),
            expected=text_of(row.completion),
            key_facts=row.key_facts,
            topic_trained=row.topic in trained_topics,
            candidate=candidate,
            baseline=baseline,
        )
        for row, candidate, baseline in zip(rows, *measured, strict=True)
        if candidate is not None and baseline is not None
    ]


async def measure_pairs(log_probs: MeanLogProbs, rows: Sequence[Row], versions: tuple[str, str]) -> list[PairResult]:
    """By how much each version prefers the chosen reply, by length-normalised log-probability."""
    asked = [asked_of(row, text_of(side)) for row in rows for side in (row.chosen, row.rejected)]
    margins = []
    for version in versions:
        scores = await log_probs.of(asked, version)
        sides = zip(scores[::2], scores[1::2], strict=True)
        margins.append([None if chosen is None or worse is None else chosen - worse for chosen, worse in sides])
    baseline_version = versions[1]
    return [
        PairResult(
            id=row.id,
            contributor=row.contributor,
            cluster=row.cluster,
            topic=row.topic,
            decides=row.source == "preference"
            and (row.rejected_version == baseline_version) == (row.chosen_version == baseline_version),
            chosen_characters=len(text_of(row.chosen)),
            rejected_characters=len(text_of(row.rejected)),
            candidate_margin=candidate,
            baseline_margin=baseline,
        )
        for row, candidate, baseline in zip(rows, *margins, strict=True)
        if candidate is not None and baseline is not None
    ]


async def measure_ratings(
    log_probs: MeanLogProbs, rows: Sequence[Row], versions: tuple[str, str]
) -> list[RatingResult]:
    asked = [asked_of(row, text_of(row.completion)) for row in rows]
    candidate, baseline = [await log_probs.of(asked, version) for version in versions]
    return [
        RatingResult(
            id=row.id,
            contributor=row.contributor,
            topic=row.topic,
            liked=bool(row.label),
            decides=row.source == "rating" and bool(row.corroborated),
            writer=row.completion_version,
            characters=len(text_of(row.completion)),
            candidate=after,
            baseline=before,
        )
        for row, after, before in zip(rows, candidate, baseline, strict=True)
        if after is not None and before is not None
    ]


def question(row: Row) -> str:
    return next((turn.content for turn in reversed(row.prompt) if turn.role == "user"), "")


def contrast(right: float, wrong: Sequence[float]) -> float:
    """By how much the right completion is likelier than the wrong ones, each comparison bounded to ± CONTRAST_BOUND.

    Log-probabilities have no floor: unbounded, one sentence that a model is sure of in the wrong place outweighs a
    dozen rows that it got right (winsorised differences; Huber 1981, Robust Statistics).

    >>> contrast(-1.0, [-1.25, -9.0])
    0.375
    """
    return sum(bounded(right - other, CONTRAST_BOUND) for other in wrong) / len(wrong)


def bounded(value: float, most: float) -> float:
    """
    >>> bounded(3.0, 0.5), bounded(-0.1, 0.5), bounded(math.nan, 0.5)
    (0.5, -0.1, nan)
    """
    return value if math.isnan(value) else max(-most, min(most, value))


def _measured(row: Row, reply: str | None, right: float | None, others: Sequence[float | None]) -> Measured | None:
    if reply is None or right is None:
        return None
    wrong = [other for other in others if other is not None]
    return Measured(
        reply=reply,
        recalled=contains_facts(reply, row.key_facts) if row.key_facts else None,
        contrast=contrast(right, wrong) if wrong else None,
        loss=-right,
    )


def _also_right(candidate: str, right: str, key_facts: list[str]) -> bool:
    if key_facts and contains_facts(candidate, key_facts):
        return True
    return difflib.SequenceMatcher(None, normalise(candidate), normalise(right)).ratio() >= NEAR_EQUAL
