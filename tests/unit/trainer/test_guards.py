"""Guards over the shipped echo engine: what a candidate that got worse looks like, and one that can't be told."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from feedback.errors import InvalidInput
from feedback.policies import VerdictPolicy
from feedback.run_folder import FrozenGuidelines, Turn
from feedback.states import GuardOutcome
from feedback.suites.formats import write_suite
from feedback.suites.freezing import file_name, new_canaries
from feedback.suites.kinds import Contrast, Golden, Instructions, Item, Prompt, SuiteKind
from service.engines.base import Delta, GenerationRequest, ScoreRequest
from service.engines.echo import EchoEngine
from trainer.evaluation.guards import Guard
from trainer.evaluation.guards.bias import no_more_stereotypes
from trainer.evaluation.guards.canaries import canaries_stay_silent
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.golden import keeps_its_guidelines
from trainer.evaluation.guards.instructions import follows_instructions
from trainer.evaluation.guards.kept import Kept
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.guards.refusals import refuses_as_before
from trainer.evaluation.guards.replies import replies_hold_their_form
from trainer.evaluation.guards.sycophancy import does_not_flatter
from trainer.evaluation.guards.toxicity import stays_civil
from trainer.evaluation.metrics import MeanLogProbs
from trainer.evaluation.record import GuardResult

CANDIDATE = "c" * 64


class Scripted(EchoEngine):
    """Scores and replies as told, by version."""

    def __init__(
        self, score: Callable[[str, str], float] = lambda version, text: -1.0,
        reply: Callable[[str, str], str] = lambda version, prompt: "fine",
    ) -> None:  # fmt: skip
        super().__init__()
        self.score_of, self.reply_to = score, reply

    async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        return [[self.score_of(one.version, one.completion)] for one in requests]

    async def score_text(self, texts: Sequence[str], version: str = "base") -> list[list[float]]:
        return [[self.score_of(version, text)] for text in texts]

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        text = self.reply_to(request.version, request.messages[-1]["content"])
        tokens = text.split()
        cut = len(tokens) > request.sampling.max_tokens
        said = " ".join(tokens[: request.sampling.max_tokens])
        yield Delta(said, 1, min(len(tokens), request.sampling.max_tokens), "length" if cut else "stop")


def guard(
    place: Path, guarding: Guard, kind: SuiteKind, items: Sequence[Item], engine: EchoEngine,
    guidelines: FrozenGuidelines | None = None, kept: Path | None = None, planted: frozenset[str] = frozenset(),
    **policy: Any,
) -> GuardResult:  # fmt: skip
    (place / "suites").mkdir(exist_ok=True)
    if items:
        (place / "suites" / file_name(kind, "own")).write_bytes(write_suite(items))

    async def measured() -> GuardResult:
        await engine.start()
        await engine.load(CANDIDATE, place)
        findings = Findings(
            engine, place, CANDIDATE, "base", VerdictPolicy(**policy), {"train": [], "dev": [], "gate": []},
            [], [], [], MeanLogProbs(engine, lambda count: None), Kept(kept, "here"), guidelines, planted,
        )  # fmt: skip
        return await guarding(findings)

    return asyncio.run(measured())


def contrasts(count: int, *, group: str = "wrong claims", language: str = "en", plain: bool = False) -> list[Item]:
    return [
        Contrast(
            id=f"{language}-{group}-{number}", language=language, group=group,
            messages=[] if plain else [Turn(role="user", content=f"Is it {number}?")],
            better=f"right {number}", worse=f"wrong {number}",
        )
        for number in range(count)
    ]  # fmt: skip


def leaning(by: float, noise: float = 0.05) -> Callable[[str, str], float]:
    """The candidate finds what is wrong likelier by so many nats a token."""

    def score(version: str, text: str) -> float:
        word, number = text.split()
        shift = by + noise * ((int(number) * 7) % 5 - 2) / 2
        return -1.0 + (shift if version == CANDIDATE and word == "wrong" else 0.0)

    return score


@pytest.mark.parametrize(
    ("guarding", "kind", "plain"),
    [
        (does_not_flatter, SuiteKind.SYCOPHANCY, False),
        (refuses_as_before, SuiteKind.REFUSALS, False),
        (stays_civil, SuiteKind.TOXICITY, False),
        (no_more_stereotypes, SuiteKind.BIAS, True),
    ],
)
def test_a_lean_towards_what_is_wrong_fails(tmp_path: Path, guarding: Guard, kind: SuiteKind, plain: bool) -> None:
    items = contrasts(20, plain=plain)
    worse = guard(tmp_path, guarding, kind, items, Scripted(leaning(0.4)))
    assert worse.outcome == GuardOutcome.FAILED
    assert worse.measures[0].difference == pytest.approx(-0.4, abs=0.01)
    assert "it fell" in worse.detail
    equal = guard(tmp_path, guarding, kind, items, Scripted(leaning(0.0)))
    assert equal.outcome == GuardOutcome.PASSED
    better = guard(tmp_path, guarding, kind, items, Scripted(leaning(-0.4)))
    assert better.outcome == GuardOutcome.PASSED


def test_what_is_lost_in_one_group_or_language_isn_t_hidden_by_the_rest(tmp_path: Path) -> None:
    items = [*contrasts(20), *contrasts(20, language="zh"), *contrasts(20, group="user is right")]

    def score(version: str, text: str) -> float:
        return -1.0

    class OnlyChinese(Scripted):
        async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
            flips = [one.version == CANDIDATE and one.completion == "wrong zh" for one in requests]
            return [[-0.5 if flip else -1.0] for flip in flips]

    for number, item in enumerate(items):
        assert isinstance(item, Contrast)
        if item.language == "zh":
            items[number] = item.model_copy(update={"worse": "wrong zh"})
    found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, items, OnlyChinese(score))
    assert {one.what: one.outcome.value for one in found.measures} == {
        "user is right, English": "passed",
        "wrong claims, English": "passed",
        "wrong claims, Chinese": "failed",
    }


def test_a_handful_of_items_tells_nothing_by_itself_and_is_asked_together(tmp_path: Path) -> None:
    """Two that fell alike look as sure as a hundred."""
    few = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, contrasts(2), Scripted(leaning(0.4, noise=0.01)))
    assert few.outcome == GuardOutcome.NOT_MEASURABLE
    mixed = [*contrasts(20), *contrasts(3, group="own work"), *contrasts(3, language="zh")]
    found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, mixed, Scripted(leaning(0.4)))
    assert [(one.what, one.items, one.outcome.value) for one in found.measures] == [
        ("small groups together", 6, "failed"),
        ("wrong claims, English", 20, "failed"),
    ]


def test_noise_that_hides_the_margin_is_not_measurable(tmp_path: Path) -> None:
    found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, contrasts(10), Scripted(leaning(0.05, noise=1.0)))
    assert found.outcome == GuardOutcome.NOT_MEASURABLE
    assert "10 items of this kind can't tell" in found.detail


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_a_version_whose_numbers_are_none_fails(tmp_path: Path, broken: float) -> None:
    def score(version: str, text: str) -> float:
        return broken if version == CANDIDATE and text.startswith("right") else -1.0

    found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, contrasts(20), Scripted(score))
    assert found.outcome == GuardOutcome.FAILED


def test_items_that_hang_together_are_one_and_tell_nothing(tmp_path: Path) -> None:
    alike = [item.model_copy(update={"topic": "one"}) for item in contrasts(20)]
    for items in (alike, contrasts(1)):
        for by in (0.4, 0.0):
            found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, items, Scripted(leaning(by)))
            assert found.outcome == GuardOutcome.NOT_MEASURABLE


def test_what_is_longer_than_the_context_is_left_out(tmp_path: Path) -> None:
    class Narrow(Scripted):
        async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
            if any(int(one.completion.split()[1]) % 2 for one in requests):
                raise InvalidInput("Too long.", code="context_length_exceeded")
            return await super().score(requests)

    found = guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, contrasts(20), Narrow(leaning(0.4)))
    assert (found.outcome, found.measures[0].items) == (GuardOutcome.FAILED, 10)


def test_three_changes_are_no_proof_and_none_is_little(tmp_path: Path) -> None:
    """The exact test of three lost and none gained has a p of 1/8."""

    def shouts(least: int) -> Callable[[str, str], str]:
        return lambda version, prompt: "LOUD" if version == CANDIDATE and int(prompt.split()[-1]) < least else "quiet"

    outcomes = [
        guard(tmp_path, follows_instructions, SuiteKind.INSTRUCTIONS, items, Scripted(reply=shouts(lost))).outcome.value
        for items, lost in ((LOWERCASE, 3), (LOWERCASE, 9), (LOWERCASE, 0), (LOWERCASE[:9], 0))
    ]
    assert outcomes == ["not measurable", "failed", "passed", "not measurable"]


def test_a_guard_that_asks_much_fails_by_what_so_many_chances_cant_explain() -> None:
    values = Values("x", "nats", [-0.25, -0.05, -0.2, 0.0, -0.3, -0.1], [0.0] * 6, range(6))
    assert compare(values, 0.1, 0.05).outcome == GuardOutcome.FAILED
    assert compare(values, 0.1, 0.05, asked=20).outcome == GuardOutcome.NOT_MEASURABLE


def test_guards_ask_under_the_assistant_s_own_words(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Asked(Scripted):
        async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
            seen.extend(request.messages[0]["content"] for request in requests)
            return await super().score(requests)

    guidelines = FrozenGuidelines(system_prompt="You are Ada.")
    guard(tmp_path, does_not_flatter, SuiteKind.SYCOPHANCY, contrasts(8), Asked(), guidelines)
    assert set(seen) == {"You are Ada."}


def test_an_item_that_no_program_can_check_is_left_out(tmp_path: Path) -> None:
    broken = [
        Instructions(
            id=f"bad-{number}", prompt="Say 1", instruction_id_list=["length_constraints:number_words"], kwargs=[{}]
        )
        for number in range(5)
    ]
    found = guard(
        tmp_path, follows_instructions, SuiteKind.INSTRUCTIONS, [*LOWERCASE, *broken], Scripted(reply=lambda *_: "ok")
    )
    assert found.measures[0].items == len(LOWERCASE)


def test_no_suite_is_not_measurable(tmp_path: Path) -> None:
    for guarding in (does_not_flatter, follows_instructions, replies_hold_their_form, keeps_its_guidelines):
        assert guard(tmp_path, guarding, SuiteKind.BIAS, [], Scripted()).outcome == GuardOutcome.NOT_MEASURABLE


LOWERCASE = [
    Instructions(
        id=str(number), prompt=f"Say {number}", instruction_id_list=["change_case:english_lowercase"], kwargs=[{}]
    )
    for number in range(30)
]


def test_instructions_that_are_no_longer_followed_fail(tmp_path: Path) -> None:
    def shouts(version: str, prompt: str) -> str:
        return "LOUD" if version == CANDIDATE and int(prompt.split()[-1]) % 2 else "quiet"

    found = guard(tmp_path, follows_instructions, SuiteKind.INSTRUCTIONS, LOWERCASE, Scripted(reply=shouts))
    assert found.outcome == GuardOutcome.FAILED
    assert (found.measures[0].baseline, found.measures[0].candidate) == (1.0, 0.5)


def test_who_follows_none_has_nothing_to_lose(tmp_path: Path) -> None:
    found = guard(tmp_path, follows_instructions, SuiteKind.INSTRUCTIONS, LOWERCASE, Scripted(reply=lambda *_: "LOUD"))
    assert found.outcome == GuardOutcome.NOT_MEASURABLE


def test_golden_answers_and_the_disclaimer_are_kept(tmp_path: Path) -> None:
    items: list[Item] = [
        Golden(id=str(number), messages=[Turn(role="user", content=f"Q{number}?")], must=["two years"])
        for number in range(20)
    ]
    seen: list[str] = []

    class Asked(Scripted):
        async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
            seen.append(request.messages[0]["role"])
            async for delta in super().generate(request):
                yield delta

    def forgets(version: str, prompt: str) -> str:
        return "one year" if version == CANDIDATE else "It is two  years."

    guidelines = FrozenGuidelines(
        system_prompt="You sell tents.", disclaimer="Ask a doctor.", sensitive_topics=["illness"]
    )
    found = guard(tmp_path, keeps_its_guidelines, SuiteKind.GOLDEN, items, Asked(reply=forgets), guidelines)
    assert set(seen) == {"system"}
    assert [one.outcome.value for one in found.measures] == ["failed", "passed"]
    assert found.outcome == GuardOutcome.FAILED


PROMPTS: list[Item] = [Prompt(id=str(number), prompt=f"Tell {number}") for number in range(40)]


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        ("no no no no no no no no no no no no no no", "replies without repeats"),
        (" ".join(f"word{number}" for number in range(200)), "replies that end"),
        ("short", "replies no shorter"),
        (" ".join(f"word{number}" for number in range(60)), "replies no longer"),
        ("you fucking stupid bitch of an idiot ass", "decent replies"),
    ],
)
def test_replies_that_lose_their_form_fail(tmp_path: Path, reply: str, what: str) -> None:
    plain = "This is a plain answer of some length that says it all."
    engine = Scripted(reply=lambda version, prompt: reply if version == CANDIDATE else plain)
    found = guard(tmp_path, replies_hold_their_form, SuiteKind.PROMPTS, PROMPTS, engine)
    failed = {one.what.partition(",")[0] for one in found.measures if one.outcome == GuardOutcome.FAILED}
    assert what in failed
    equal = guard(tmp_path, replies_hold_their_form, SuiteKind.PROMPTS, PROMPTS, Scripted(reply=lambda *_: plain))
    assert equal.outcome == GuardOutcome.PASSED


def test_a_canary_that_comes_out_or_became_likely_fails_and_is_never_named(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    ((name, content),) = new_canaries().items()
    (tmp_path / "suites" / name).write_bytes(content)
    strings = [line.split('"string":"')[1].partition('"')[0] for line in content.decode().splitlines()]

    def told(version: str, prompt: str) -> str:
        return f"It is {strings[0]}." if version == CANDIDATE else "I don't know."

    planted = frozenset(f"run-{number}" for number in range(6))
    found = guard(tmp_path, canaries_stay_silent, SuiteKind.CANARIES, [], Scripted(reply=told), planted=planted)
    unplanted = guard(tmp_path, canaries_stay_silent, SuiteKind.CANARIES, [], Scripted(reply=told))
    assert unplanted.outcome == GuardOutcome.NOT_MEASURABLE
    assert found.outcome == GuardOutcome.FAILED
    assert strings[0] not in found.detail

    def likely(version: str, text: str) -> float:
        noise = (sum(text.encode()) % 13) / 13
        return -3.0 + noise + (2.0 if version == CANDIDATE and text in strings else 0.0)

    found = guard(tmp_path, canaries_stay_silent, SuiteKind.CANARIES, [], Scripted(likely), planted=planted)
    assert found.outcome == GuardOutcome.FAILED
    silent = guard(
        tmp_path,
        canaries_stay_silent,
        SuiteKind.CANARIES,
        [],
        Scripted(lambda v, t: -3.0 + (sum(t.encode()) % 13) / 13),
        planted=planted,
    )
    assert silent.outcome == GuardOutcome.PASSED


def test_what_was_measured_of_a_version_is_kept_as_numbers_alone(tmp_path: Path) -> None:
    asked: list[str] = []

    def reply(version: str, prompt: str) -> str:
        asked.append(version)
        return "a secret word"

    items, kept = PROMPTS[:5], tmp_path / "kept"
    first = guard(tmp_path, replies_hold_their_form, SuiteKind.PROMPTS, items, Scripted(reply=reply), kept=kept)
    assert len(asked) == 10
    again = guard(tmp_path, replies_hold_their_form, SuiteKind.PROMPTS, items, Scripted(reply=reply), kept=kept)
    assert len(asked) == 10
    assert again == first
    assert len(list(kept.iterdir())) == 2
    assert not any("secret" in path.read_text() or "Tell" in path.read_text() for path in kept.iterdir())
    guard(tmp_path, replies_hold_their_form, SuiteKind.PROMPTS, PROMPTS[:4], Scripted(reply=reply), kept=kept)
    assert len(asked) == 18, "other items are asked anew"
