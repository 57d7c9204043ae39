"""Measures both versions on the held-out rows, through the engine that serves.

Promises: candidate and baseline get the same prompts, the same other completions to tell apart and the same
budget of tokens; replies are greedy. Leaves out what the numbers are worth (statistics.py, verdict.py).
"""

import asyncio
import difflib
import random
from collections.abc import Callable, Sequence

from feedback.policies import VerdictPolicy
from feedback.run_folder import Row, Turn
from service.engines.base import ChatMessage, Engine, GenerationRequest, SamplingParams, ScoreRequest
from trainer.evaluation.key_facts import contains_facts, normalise
from trainer.evaluation.record import Measured, PairResult, RatingResult, RowResult

CONCURRENT_REPLIES = 16
SCORES_PER_CALL = 40
OTHER_COMPLETIONS = 4
NEAR_EQUAL = 0.9
"""Similarity of two normalised completions from which one isn't a wrong answer to the other's question."""

Progress = Callable[[int], None]


def messages(turns: Sequence[Turn]) -> list[ChatMessage]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def text_of(turns: Sequence[Turn] | None) -> str:
    """What the assistant says in a completion (one turn in every row the curation writes)."""
    return "\n".join(turn.content for turn in turns or [])


async def replies(
    engine: Engine, rows: Sequence[Row], version: str, policy: VerdictPolicy, progress: Progress
) -> list[str]:
    """Greedy replies to the rows' prompts, in their order."""
    slots = asyncio.Semaphore(CONCURRENT_REPLIES)
    greedy = SamplingParams(max_tokens=policy.max_new_tokens, temperature=0.0)

    async def reply(row: Row) -> str:
        async with slots:
            pieces = [
                delta.text async for delta in engine.generate(GenerationRequest(messages(row.prompt), greedy, version))
            ]
        progress(1)
        return "".join(pieces)

    return list(await asyncio.gather(*(reply(row) for row in rows)))


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


async def mean_log_probs(
    engine: Engine, asked: Sequence[tuple[Sequence[Turn], str]], version: str, progress: Progress
) -> list[float]:
    """Mean log-probability a token of each (prompt, completion), in nats."""
    means: list[float] = []
    for start in range(0, len(asked), SCORES_PER_CALL):
        piece = asked[start : start + SCORES_PER_CALL]
        requests = [ScoreRequest(messages(prompt), completion, version) for prompt, completion in piece]
        means += [sum(scores) / len(scores) for scores in await engine.score(requests)]
        progress(len(piece))
    return means


async def measure_rows(
    engine: Engine,
    rows: Sequence[Row],
    versions: tuple[str, str],
    generated: tuple[list[str], list[str]],
    seed: int,
    progress: Progress,
) -> list[RowResult]:
    """Recall, contrast and loss of each correction, under candidate and baseline."""
    others = other_completions(rows, seed)
    measured = []
    for version, texts in zip(versions, generated, strict=True):
        asked = [
            (row.prompt, completion)
            for row, wrong in zip(rows, others, strict=True)
            for completion in (text_of(row.completion), *wrong)
        ]
        scores = iter(await mean_log_probs(engine, asked, version, progress))
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
            candidate=candidate,
            baseline=baseline,
        )
        for row, candidate, baseline in zip(rows, *measured, strict=True)
    ]


async def measure_pairs(
    engine: Engine, rows: Sequence[Row], versions: tuple[str, str], progress: Progress
) -> list[PairResult]:
    """By how much each version prefers the chosen reply, by length-normalised log-probability."""
    asked = [(row.prompt, text_of(side)) for row in rows for side in (row.chosen, row.rejected)]
    margins = []
    for version in versions:
        scores = await mean_log_probs(engine, asked, version, progress)
        margins.append([chosen - rejected for chosen, rejected in zip(scores[::2], scores[1::2], strict=True)])
    baseline_version = versions[1]
    return [
        PairResult(
            id=row.id,
            contributor=row.contributor,
            cluster=row.cluster,
            topic=row.topic,
            decides=not (row.rejected_version == baseline_version != row.chosen_version),
            candidate_margin=candidate,
            baseline_margin=baseline,
        )
        for row, candidate, baseline in zip(rows, *margins, strict=True)
    ]


async def measure_ratings(
    engine: Engine, rows: Sequence[Row], versions: tuple[str, str], progress: Progress
) -> list[RatingResult]:
    asked = [(row.prompt, text_of(row.completion)) for row in rows]
    candidate, baseline = [await mean_log_probs(engine, asked, version, progress) for version in versions]
    return [
        RatingResult(id=row.id, liked=bool(row.label), candidate=after, baseline=before)
        for row, after, before in zip(rows, candidate, baseline, strict=True)
    ]


def question(row: Row) -> str:
    return next((turn.content for turn in reversed(row.prompt) if turn.role == "user"), "")


def _measured(row: Row, reply: str, right: float, wrong: Sequence[float]) -> Measured:
    return Measured(
        reply=reply,
        recalled=contains_facts(reply, row.key_facts) if row.key_facts else None,
        contrast=right - sum(wrong) / len(wrong) if wrong else None,
        loss=-right,
    )


def _also_right(candidate: str, right: str, key_facts: list[str]) -> bool:
    if key_facts and contains_facts(candidate, key_facts):
        return True
    return difflib.SequenceMatcher(None, normalise(candidate), normalise(right)).ratio() >= NEAR_EQUAL
