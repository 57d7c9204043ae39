"""What each kind of evidence leads to, and how often equal versions are told apart by mistake."""

import math
from typing import Any

import numpy as np
import pytest

from feedback.policies import VerdictPolicy
from feedback.states import GuardOutcome, VerdictWord
from trainer.evaluation.record import (
    Evaluation,
    GuardMeasure,
    GuardResult,
    Measured,
    PairResult,
    RatingResult,
    RowResult,
)
from trainer.evaluation.report import report
from trainer.evaluation.statistics import paired_difference
from trainer.evaluation.verdict import judge

PASSED = GuardResult(name="general_perplexity", outcome=GuardOutcome.PASSED, detail="fine")
POLICY = VerdictPolicy()


def row(
    number: int,
    *,
    recalled: tuple[bool, bool] = (False, False),
    contrast: tuple[float, float] = (0.0, 0.0),
    loss: tuple[float, float] = (3.0, 3.0),
    contributors: int = 20,
    facts: bool = True,
) -> RowResult:
    sides = [
        Measured(
            reply=f"reply {recalled[side]}",
            recalled=recalled[side] if facts else None,
            contrast=contrast[side],
            loss=loss[side],
        )
        for side in (0, 1)
    ]
    return RowResult(
        id=f"r{number}", contributor=f"c{number % contributors}", cluster=f"q{number}", topic=f"t{number % 27}",
        question="?", expected="!", key_facts=["14"] if facts else [], candidate=sides[0], baseline=sides[1],
    )  # fmt: skip


def pair(number: int, candidate: float, baseline: float, *, decides: bool = True) -> PairResult:
    return PairResult(
        id=f"p{number}", contributor=f"c{number % 20}", cluster=f"q{number}", topic=f"t{number % 27}",
        decides=decides, candidate_margin=candidate, baseline_margin=baseline,
    )  # fmt: skip


def rating(number: int, change: float, **more: Any) -> RatingResult:
    fields = {
        "id": f"k{number}", "contributor": f"c{number % 20}", "topic": f"t{number % 27}", "liked": number % 2 == 0,
        "decides": True, "writer": "base", "characters": 80, "candidate": -2.0 + change, "baseline": -2.0,
    }  # fmt: skip
    return RatingResult(**(fields | more))


def evaluation(
    rows: list[RowResult] | None = None,
    pairs: list[PairResult] | None = None,
    guards: Any = (PASSED,),
    ratings: list[RatingResult] | None = None,
) -> Evaluation:
    given = {guard.name for guard in guards}
    others = [GuardResult(name=name, outcome=GuardOutcome.PASSED, detail="fine") for name in POLICY.required_guards]
    guards = [*guards, *(guard for guard in others if guard.name not in given)]
    return Evaluation(
        run_id="run", assistant="support", base_model="tiny", dataset_sha256="0" * 64, candidate_version="a" * 64,
        baseline_version="base", seed=5, rows=rows or [], pairs=pairs or [], ratings=ratings or [],
        guards=list(guards),
        samples=[], seconds={},
    )  # fmt: skip


def learned(number: int, share: int = 2, **more: Any) -> RowResult:
    """Two thirds of the facts learned, and the contrast with them."""
    knows = number % 3 < share
    return row(number, recalled=(knows, False), contrast=(0.3 + 0.04 * (number % 5) if knows else 0.1, 0.0), **more)


LEARNED = [learned(n) for n in range(80)]
STYLE_ONLY = [row(n, contrast=(0.02 * (n % 3 - 1), 0.0), loss=(0.8, 3.0)) for n in range(80)]
"""Every right reply became likelier, and every wrong one as much."""
NOISE = [row(n, recalled=(n % 7 == 0, n % 5 == 0), contrast=(0.5 * (n % 3 - 1), 0.0)) for n in range(80)]
FORGOT = [row(n, recalled=(False, n % 2 == 0), contrast=(0.0, 0.5)) for n in range(80)]
LIKED = [pair(n, 1.0 if n % 4 else -1.0, -1.0) for n in range(80)]
DISLIKED = [pair(n, -1.0, 1.0 if n % 4 else -1.0) for n in range(80)]
OWN_TEXT_ONLY = [pair(n, 1.0, -1.0, decides=False) for n in range(80)]
EQUAL_CHOICES = [pair(n, 1.0 if n % 2 else -1.0, 1.0 if n % 2 else -1.0) for n in range(80)]

LIKES = [rating(n, (0.2 if n % 2 == 0 else -0.1) + 0.01 * (n % 5)) for n in range(140)]
SHIFTED = [rating(n, 0.3 + 0.02 * (n % 7)) for n in range(140)]
"""All replies became likelier, liked or not."""
LIKES_LONG = [
    rating(n, 0.3 + 0.01 * (n % 5) if (long := n % 20 < 10) else -0.1, characters=400 if long else 40)
    for n in range(140)
]
LIKED_ARE_LONG = [rating(n, 0.3 if n % 2 == 0 else 0.0, characters=400 if n % 2 == 0 else 40) for n in range(140)]
OLD_ARE_DISLIKED = [rating(n, 0.0 if n % 2 == 0 else -0.3, writer="old" if n % 2 else "base") for n in range(140)]
LEFT_WHAT_IS_DISLIKED = [
    rating(n, 0.0 if n % 2 == 0 else -0.2, topic=f"{'liked' if n % 2 == 0 else 'disliked'} {n % 9}") for n in range(140)
]
"""It says something else about the topics that people disliked, better or not."""
FAR = [rating(n, -1.6 if n % 2 == 0 else -0.6) for n in range(140)]
UNEVEN = [rating(n, -0.5 + 0.05 * (n % 9 - 4) * (7 if n % 2 == 0 else 1)) for n in range(140)]

SHORTER = {"chosen_characters": 40, "rejected_characters": 160}
LONGER = {"chosen_characters": 160, "rejected_characters": 40}

CASES = {
    "learned the facts": (evaluation(LEARNED), VerdictWord.PROMOTE),
    "learned only a style": (evaluation(STYLE_ONLY), VerdictWord.REJECT),
    "style and a few lucky replies": (
        evaluation([row(n, recalled=(n % 9 == 0, n % 10 == 0), contrast=(0.01, 0.0)) for n in range(80)]),
        VerdictWord.INCONCLUSIVE,
    ),
    "contrast without recall": (
        evaluation([row(n, contrast=(0.3 + 0.2 * (n % 2), 0.0)) for n in range(80)]),
        VerdictWord.REJECT,
    ),
    "facts gained, contrast no worse": (
        evaluation([row(n, recalled=(n % 3 > 0, False), contrast=(0.02 * (n % 3 - 1), 0.0)) for n in range(80)]),
        VerdictWord.PROMOTE,
    ),
    "facts gained, contrast unclear": (
        evaluation([row(n, recalled=(n % 3 > 0, False), contrast=(0.5 * (-1) ** (n % 27), 0.0)) for n in range(80)]),
        VerdictWord.INCONCLUSIVE,
    ),
    "facts gained, contrast perhaps lost": (
        evaluation([row(n, recalled=(n % 3 > 0, False), contrast=(-0.3 * (n % 3 == 0), 0.0)) for n in range(80)]),
        VerdictWord.INCONCLUSIVE,
    ),
    "facts gained, contrast lost": (
        evaluation([row(n, recalled=(n % 3 > 0, False), contrast=(-0.3, 0.1)) for n in range(80)]),
        VerdictWord.REJECT,
    ),
    "noise": (evaluation(NOISE), VerdictWord.INCONCLUSIVE),
    "forgot facts": (evaluation(FORGOT), VerdictWord.REJECT),
    "learned, but a guard failed": (
        evaluation(
            LEARNED, guards=[PASSED, GuardResult(name="general_perplexity", outcome=GuardOutcome.FAILED, detail="+71%")]
        ),
        VerdictWord.BLOCKED,
    ),
    "too few rows": (evaluation(LEARNED[:59]), VerdictWord.INCONCLUSIVE),
    "too few contributors": (
        evaluation([learned(n, contributors=11) for n in range(80)]),
        VerdictWord.INCONCLUSIVE,
    ),
    "no rows": (evaluation(), VerdictWord.INCONCLUSIVE),
    "better choices": (evaluation(pairs=LIKED), VerdictWord.PROMOTE),
    "worse choices": (evaluation(pairs=DISLIKED), VerdictWord.REJECT),
    "too few choices": (evaluation(pairs=LIKED[:49]), VerdictWord.INCONCLUSIVE),
    "only its own text dispreferred": (evaluation(pairs=OWN_TEXT_ONLY), VerdictWord.INCONCLUSIVE),
    "liked replies likelier": (evaluation(ratings=LIKES), VerdictWord.PROMOTE),
    "liked replies less likely": (
        evaluation(ratings=[rating(n, -0.2 if n % 2 == 0 else 0.02 * (n % 3)) for n in range(140)]),
        VerdictWord.REJECT,
    ),
    "all rated replies likelier": (evaluation(ratings=SHIFTED), VerdictWord.REJECT),
    "long rated replies likelier": (evaluation(ratings=LIKES_LONG), VerdictWord.REJECT),
    "liked replies are long, and it learned long": (evaluation(ratings=LIKED_ARE_LONG), VerdictWord.INCONCLUSIVE),
    "an older version's disliked replies less likely": (
        evaluation(ratings=OLD_ARE_DISLIKED),
        VerdictWord.INCONCLUSIVE,
    ),
    "left the topics that were disliked": (evaluation(ratings=LEFT_WHAT_IS_DISLIKED), VerdictWord.INCONCLUSIVE),
    "all rated replies far less likely, liked ones most": (
        evaluation(ratings=FAR).model_copy(update={"purpose": "replace"}),
        VerdictWord.REJECT,
    ),
    "liked replies changed unevenly": (evaluation(ratings=UNEVEN), VerdictWord.INCONCLUSIVE),
    "hardly any have a counterpart": (
        evaluation(ratings=[rating(n, 0.3, topic="of one kind") for n in range(0, 200, 2)] + LIKES[:30]),
        VerdictWord.INCONCLUSIVE,
    ),
    "too few ratings": (evaluation(ratings=LIKES[:99]), VerdictWord.INCONCLUSIVE),
    "ratings of one person each": (
        evaluation(ratings=[one.model_copy(update={"decides": False}) for one in LIKES]),
        VerdictWord.INCONCLUSIVE,
    ),
    "facts learned, liked replies less likely": (
        evaluation(LEARNED, ratings=[rating(n, -0.2 if n % 2 == 0 else 0.02 * (n % 3)) for n in range(40)]),
        VerdictWord.REJECT,
    ),
    "facts learned, choices equal": (evaluation(LEARNED, EQUAL_CHOICES), VerdictWord.PROMOTE),
    "facts learned, choices worse": (evaluation(LEARNED, DISLIKED), VerdictWord.REJECT),
    "key facts from one person only": (  # then recall doesn't decide; contrast does, and says no
        evaluation(
            [row(n, facts=n % 20 == 0, recalled=(n % 20 == 0, False), contrast=(-0.2, 0.1)) for n in range(400)]
        ),
        VerdictWord.REJECT,
    ),
    "no key facts, contrast decides": (
        evaluation([learned(n, facts=False) for n in range(80)]),
        VerdictWord.PROMOTE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdict(case: str) -> None:
    given, expected = CASES[case]
    verdict = judge(given, POLICY)
    assert verdict.verdict is expected, verdict.reasons
    assert verdict.reasons
    assert verdict.verdict.value in report(given, verdict, {"loss_history": []})


def test_little_data_states_what_it_could_have_shown() -> None:
    verdict = judge(evaluation(LEARNED[:30]), POLICY)
    assert verdict.reasons[0] == "Only 30 held-out corrections; 60 are needed to decide."
    assert "finds a change in key-fact recall of" in " ".join(verdict.reasons)


def test_alpha_is_split_over_the_families_that_decide() -> None:
    first = 0.05 * 6 / math.pi**2
    assert judge(evaluation(LEARNED), POLICY).statistics["alpha_per_family"] == pytest.approx(first)
    assert judge(evaluation(LEARNED, LIKED[:10]), POLICY).statistics["alpha_per_family"] == pytest.approx(first)
    assert judge(evaluation(LEARNED, LIKED), POLICY).statistics["alpha_per_family"] == pytest.approx(first / 2)


def test_each_candidate_held_against_one_baseline_may_err_less_often() -> None:
    third = evaluation(LEARNED).model_copy(update={"tries": 3})
    assert judge(third, POLICY).statistics["alpha_per_family"] == pytest.approx(0.05 * 6 / (3 * math.pi) ** 2)
    lucky = [row(n, recalled=(n % 7 == 0, False), contrast=(0.1, 0.0)) for n in range(90)]
    assert judge(evaluation(lucky), POLICY).verdict is VerdictWord.PROMOTE
    assert judge(evaluation(lucky).model_copy(update={"tries": 20}), POLICY).verdict is VerdictWord.INCONCLUSIVE


def test_a_version_that_takes_a_tainted_one_s_place_must_be_no_worse() -> None:
    def replacing(*given: Any) -> Evaluation:
        return evaluation(*given).model_copy(update={"purpose": "replace", "tries": 9})

    same = [row(n, recalled=(n % 3 > 0, n % 3 > 0), contrast=(0.2, 0.2)) for n in range(80)]
    assert judge(evaluation(same), POLICY).verdict is VerdictWord.REJECT
    kept = judge(replacing(same), POLICY)
    assert kept.verdict is VerdictWord.PROMOTE, kept.reasons
    assert "no worse (a fall of 0.1 is ruled out)" in kept.reasons[0]
    assert judge(replacing(FORGOT), POLICY).verdict is VerdictWord.REJECT
    assert judge(replacing(same, DISLIKED), POLICY).verdict is VerdictWord.REJECT
    assert judge(replacing(NOISE), POLICY).verdict is VerdictWord.INCONCLUSIVE


def test_a_family_too_small_to_speak_in_favour_speaks_against() -> None:
    lost = [pair(n, -1.0, 1.0) for n in range(49)]
    assert judge(evaluation(LEARNED, lost), POLICY).verdict is VerdictWord.REJECT


def test_trying_again_doesn_t_weaken_what_is_told_to_be_worse() -> None:
    worse = [pair(n, -1.0 if n % 8 == 0 else 1.0, 1.0) for n in range(80)]
    for tries in (1, 9):
        given = evaluation(LEARNED, worse).model_copy(update={"tries": tries})
        assert judge(given, POLICY).verdict is VerdictWord.REJECT


def test_what_nobody_is_named_for_convinces_nobody() -> None:
    """Twelve people for whom nothing changed, and many rows by who stays anonymous."""
    named = [pair(n, -1.0, -1.0).model_copy(update={"contributor": f"c{n}"}) for n in range(12)]
    nobodys = [pair(100 + n, 1.0 if n < 14 else -1.0, -1.0).model_copy(update={"contributor": None}) for n in range(40)]
    assert judge(evaluation(pairs=[*named, *nobodys]), POLICY).verdict is VerdictWord.INCONCLUSIVE


@pytest.mark.parametrize("others", [0, 2, 5])
def test_where_nearly_all_chose_the_longer_reply_choices_don_t_decide(others: int) -> None:
    longer = [pair(n, 1.0, 1.0 if n % 2 else -1.0).model_copy(update=LONGER) for n in range(100 - others)]
    shorter = [pair(200 + n, -1.0, 1.0).model_copy(update=SHORTER) for n in range(others)]
    verdict = judge(evaluation(pairs=[*longer, *shorter]), POLICY)
    assert verdict.verdict is not VerdictWord.PROMOTE
    assert "learned a length alone" in " ".join(verdict.reasons)


def test_a_required_guard_must_have_measured_all_that_it_asks() -> None:
    def measure(outcome: GuardOutcome, *, nothing_to_lose: bool = False) -> GuardMeasure:
        return GuardMeasure(
            what="x", unit="nats", items=9, candidate=0, baseline=0, difference=0, lower=0, upper=0, margin=0.1,
            nothing_to_lose=nothing_to_lose, outcome=outcome,
        )  # fmt: skip

    passed, unknown = measure(GuardOutcome.PASSED), measure(GuardOutcome.NOT_MEASURABLE)
    nothing = measure(GuardOutcome.NOT_MEASURABLE, nothing_to_lose=True)
    strict = POLICY.model_copy(update={"required_guards": ["sycophancy"]})
    for measures, expected in (
        ([passed, unknown], VerdictWord.BLOCKED),
        ([passed, nothing], VerdictWord.PROMOTE),
        ([], VerdictWord.BLOCKED),
    ):
        guard = GuardResult.of("sycophancy", measures, "nothing")
        assert judge(evaluation(LEARNED, guards=[guard]), strict).verdict is expected
    assert judge(evaluation(LEARNED), strict).verdict is VerdictWord.BLOCKED, "it wasn't asked"


def test_a_few_changes_count_as_the_exact_test_has_them() -> None:
    """Four gained and none lost have a p of 1/16; six have 1/64."""
    for gained, expected in ((4, VerdictWord.INCONCLUSIVE), (6, VerdictWord.PROMOTE)):
        rows = [row(n, recalled=(n < gained, False), contrast=(0.1, 0.0)) for n in range(60)]
        assert judge(evaluation(rows), VerdictPolicy(min_recall_gain=0.01)).verdict is expected


def test_a_candidate_that_learned_a_length_is_not_better() -> None:
    """Nine in ten chose the shorter reply, and it takes the shorter one always: better on those, worse on the rest."""
    shorter = [pair(n, 1.0, 1.0 if n % 2 else -1.0).model_copy(update=SHORTER) for n in range(180)]
    longer = [pair(n, -1.0, 1.0 if n % 2 else -1.0).model_copy(update=LONGER) for n in range(180, 200)]
    verdict = judge(evaluation(pairs=[*shorter, *longer]), POLICY)
    assert verdict.verdict is not VerdictWord.PROMOTE, verdict.reasons
    assert verdict.statistics["families"]["choices"]["measures"]["choice accuracy"]["mean"] == pytest.approx(0, abs=0.1)
    alike = [one.model_copy(update={"chosen_characters": 50, "rejected_characters": 50}) for one in [*shorter, *longer]]
    assert judge(evaluation(pairs=alike), POLICY).verdict is VerdictWord.PROMOTE


def test_a_guard_that_can_t_be_measured_blocks_where_it_is_required() -> None:
    unknown = GuardResult(name="sycophancy", outcome=GuardOutcome.NOT_MEASURABLE, detail="too few items")
    assert judge(evaluation(LEARNED, guards=[PASSED, unknown]), POLICY).verdict is VerdictWord.PROMOTE
    strict = VerdictPolicy(required_guards=["sycophancy"])
    verdict = judge(evaluation(LEARNED, guards=[PASSED, unknown]), strict)
    assert verdict.verdict is VerdictWord.BLOCKED
    assert "sycophancy is required" in verdict.reasons[0]


def test_recall_of_what_was_never_taught_is_told_apart_and_decides_nothing() -> None:
    rows = [item.model_copy(update={"topic_trained": n % 4 > 0}) for n, item in enumerate(LEARNED)]
    apart = judge(evaluation(rows), POLICY)
    assert apart.statistics["rows_of_untrained_topics"] == 20
    recalled = sum(bool(item.candidate.recalled) for item in rows[::4])
    assert apart.statistics["recall_of_untrained_topics"] == {"candidate": recalled / 20, "baseline": 0.0}
    assert apart.reasons == judge(evaluation(LEARNED), POLICY).reasons
    assert f"no training row teaches (reported only) | 20 | 0% | {recalled / 20:.0%} |" in report(
        evaluation(rows), apart, {"loss_history": []}
    )


def test_a_verdict_is_the_same_every_time() -> None:
    assert judge(evaluation(NOISE, LIKED), POLICY) == judge(evaluation(NOISE, LIKED), POLICY)


def test_anonymous_rows_are_no_independent_voices() -> None:
    anonymous = [item.model_copy(update={"contributor": None}) for item in LEARNED]
    assert judge(evaluation(anonymous), POLICY).verdict is VerdictWord.INCONCLUSIVE


@pytest.mark.parametrize("spread", [(1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)])
def test_equal_versions_are_rarely_called_different(spread: tuple[float, float, float]) -> None:
    """No true difference, noise shared within contributors and topics: lower > 0 in at most alpha of 400 worlds.

    The tolerance is two standard errors of 400 draws at 5%: 0.05 + 2·√(0.05·0.95/400) = 0.072.
    """
    random = np.random.default_rng(11)
    of_contributor, of_topic, of_row = spread
    contributors, topics = random.integers(0, 16, 64), random.integers(0, 24, 64)
    wrong = 0
    for _ in range(400):
        noise = (
            of_contributor * random.normal(size=16)[contributors]
            + of_topic * random.normal(size=24)[topics]
            + of_row * random.normal(size=64)
        )
        result = paired_difference(noise.tolist(), contributors.tolist(), topics.tolist(), alpha=0.05)
        wrong += result.lower > 0
    assert wrong / 400 <= 0.072


def test_an_equal_candidate_is_seldom_promoted_by_ratings() -> None:
    """People who like much, or little, and for whom all changed or nothing; all long replies became likelier."""
    chance = np.random.default_rng(7)
    promoted = 0
    for _ in range(300):
        sizes = chance.geometric(0.12, 40)
        who = np.repeat(np.arange(40), sizes)
        topics = chance.integers(0, 60, len(who))
        liked = chance.random(len(who)) < chance.uniform(0.2, 0.9, 40)[who]
        long = chance.random(len(who)) < 0.3 + 0.4 * liked
        spread = chance.normal(0, 0.05, 40)[who] + chance.normal(0, 0.05, 60)[topics] + chance.normal(0, 0.1, len(who))
        changes = 0.1 * long + spread
        ratings = [
            RatingResult(
                id=f"k{n}", contributor=f"c{who[n]}", topic=f"t{topics[n]}", liked=bool(liked[n]), decides=True,
                characters=400 if long[n] else 40, candidate=float(changes[n]), baseline=0.0,
            )
            for n in range(len(who))
        ]  # fmt: skip
        promoted += judge(evaluation(ratings=ratings), POLICY).verdict is VerdictWord.PROMOTE
    assert promoted <= 15
