"""Every stage of the curation on a few explicit items: what stays, what goes, and in which words."""

from typing import Any

import pytest

from feedback.conversations import with_guidelines
from feedback.curate.compile import plan_rows
from feedback.curate.conflicts import conflicts
from feedback.curate.consent import consent
from feedback.curate.duplicates import duplicates
from feedback.curate.items import Dropped, Item, Turns
from feedback.curate.pipeline import Curated, curate
from feedback.curate.quality import quality
from feedback.curate.trust import Standing, standing, trust
from feedback.curation_policies import ConflictPolicy, DuplicatesPolicy, QualityPolicy, TrustPolicy
from feedback.models import Guidelines
from feedback.policies import Policies, TrainingPolicy
from feedback.run_folder import Row, Turn
from feedback.states import MessageStatus, ReviewDecision, Side
from feedback.testing import item, look_at

GUIDELINES = Guidelines(system_prompt="Answer briefly.")


def prompt(turns: Turns) -> list[Turn]:
    messages = [{"role": role, "content": content} for role, content in turns]
    return [Turn.model_validate(message) for message in with_guidelines(GUIDELINES, messages)]


def ids(items: list[Item]) -> list[int]:
    return [number for kept in items for number in kept.feedback_ids]


def reasons(dropped: list[Dropped]) -> dict[int, str]:
    return {out.id: out.reason for out in dropped}


# ── consent ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("policy", ["opt_out", "opt_in"])
@pytest.mark.parametrize("store", [True, None, False])
@pytest.mark.parametrize("training", [True, None, False])
def test_both_must_grant_and_silence_is_the_assistants_choice(
    policy: str, store: bool | None, training: bool | None
) -> None:
    kept, dropped = consent([item(1, "Which colour?", store=store, training=training)], policy)
    silence = policy == "opt_out"
    granted = (silence if store is None else store) and (silence if training is None else training)
    assert (len(kept), len(dropped)) == ((1, 0) if granted else (0, 1))


def settle(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    return conflicts(items, look_at(items), Standing({}, frozenset(), frozenset()), ConflictPolicy())


def merge(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    looks = look_at(items)
    leaders = looks.clusters_among({look.question for look in looks.asked.values()})
    clusters = {number: leaders[look.question] for number, look in looks.asked.items()}
    return duplicates(items, looks, clusters, DuplicatesPolicy())


# ── quality ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (item(1, "Which colour?", review=ReviewDecision.REJECTED), "a reviewer turned it down"),
        (item(1, " ?! "), "there is no question"),
        (item(1, "Which colour?", "It is red.", correction="it is RED"), "the correction says what the reply said"),
        (item(1, "Which colour?", status=MessageStatus.STOPPED), "the reply was cut off"),
        (item(1, "Which colour?", " "), "the reply is empty"),
        (item(1, "Which colour?", "It is red.", rejected="it is red"), "both replies say the same"),
        (item(1, "Which colour?", rejected=""), "the other reply is empty"),
        (item(1, "Which colour?", rejected="It", rejected_status=MessageStatus.STOPPED), "the other reply was cut off"),
        (item(1, "Which colour?", score=0.0), "three stars say neither good nor bad"),
    ],
)
def test_what_cannot_teach_is_dropped(given: Item, reason: str) -> None:
    kept, dropped = quality([given], look_at([given]), QualityPolicy())
    assert kept == []
    assert reasons(dropped) == {1: reason}


def test_what_can_teach_stays() -> None:
    good = [
        item(1, "Which colour?"),
        item(2, "Which colour?", score=-0.5),
        item(3, "Which colour?", rejected="It is blue."),
        item(4, "Which colour?", correction="It is blue."),
        item(5, "Which colour?", "It i", correction="It is blue.", status=MessageStatus.STOPPED),
        item(6, "Which colour?", review=ReviewDecision.APPROVED),
    ]
    assert quality(good, look_at(good), QualityPolicy()) == (good, [])


# ── conflicts ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reverse", [False, True])
def test_the_latest_word_of_a_person_wins(reverse: bool) -> None:
    said = [
        item(1, "Which colour?", correction="Blue."),
        item(2, "which colour", correction="Green."),
        item(3, "Which size?", score=1.0),
        item(4, "Which size?", score=-1.0),
        item(5, "Which shape?", "Round.", rejected="Square."),
        item(6, "Which shape?", "Square.", rejected="Round."),
    ]
    kept, dropped = settle(said[::-1] if reverse else said)
    assert sorted(ids(kept)) == [2, 4, 6]
    assert set(reasons(dropped)) == {1, 3, 5}


def test_anonymous_words_do_not_replace_each_other() -> None:
    said = [item(n, "Which colour?", correction="Blue.", contributor=None) for n in (1, 2)]
    assert ids(settle(said)[0]) == [1, 2]


def test_contradictory_corrections_are_both_dropped() -> None:
    said = [
        item(1, "Which colour?", correction="It is blue.", key_facts=("blue",)),
        item(2, "which colour", correction="It is green.", key_facts=("green",), contributor="bob"),
        item(3, "Which size?", correction="It is tall.", key_facts=("tall",)),
    ]
    kept, dropped = settle(said)
    assert ids(kept) == [3]
    assert set(reasons(dropped).values()) == {"people corrected this question to different facts"}


def test_corrections_that_include_each_others_facts_agree() -> None:
    said = [
        item(1, "Which colour?", correction="It is blue.", key_facts=("blue",)),
        item(2, "Which colour?", correction="Blue and tall.", key_facts=("blue", "tall"), contributor="bob"),
    ]
    assert ids(settle(said)[0]) == [1, 2]


def test_opposed_ratings_and_opposed_choices_are_both_dropped() -> None:
    said = [
        item(1, "Which colour?", score=1.0),
        item(2, "Which colour?", score=-1.0, contributor="bob"),
        item(3, "Which shape?", "Round.", rejected="Square."),
        item(4, "Which shape?", "Square.", rejected="Round.", contributor="bob"),
        item(5, "Which colour?", "Something else.", score=-1.0, contributor="bob"),
    ]
    kept, dropped = settle(said)
    assert ids(kept) == [5]
    assert set(reasons(dropped)) == {1, 2, 3, 4}


# ── duplicates ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_words_count_once_and_remember_everyone() -> None:
    said = [item(n, "Which colour?", correction="Blue.", contributor=who) for n, who in ((2, "bob"), (1, "ada"))]
    kept, dropped = merge(said)
    assert [(one.feedback_ids, one.contributor) for one in kept] == [((1, 2), "ada")]
    assert set(reasons(dropped)) == {2}


def test_the_same_words_on_different_sides_are_not_merged() -> None:
    said = [
        item(1, "Which colour?", correction="Blue."),
        item(2, "Which colour?", correction="Blue.", contributor="gus", side=Side.GATE),
    ]
    assert merge(said) == (said, [])


# ── compile ──────────────────────────────────────────────────────────────────────────────────────────────────


def compiled(*items: Item, **policy: Any) -> tuple[list[Row], list[Dropped]]:
    rows, dropped = plan_rows(list(items), TrainingPolicy(**policy), lambda exchange: "c")
    return [planned.row(prompt) for planned in rows], dropped


def test_a_correction_becomes_an_sft_row_and_a_pair() -> None:
    rows, _ = compiled(item(1, "Which colour?", correction="Blue.", key_facts=("Blue",)))
    sft, pair = sorted(rows, key=lambda row: row.method, reverse=True)
    asked = [Turn(role="system", content="Answer briefly."), Turn(role="user", content="Which colour?")]
    assert (sft.method, sft.prompt, sft.completion) == ("sft", asked, [Turn(role="assistant", content="Blue.")])
    assert (pair.method, pair.prompt, pair.chosen) == ("dpo", asked, sft.completion)
    assert pair.rejected == [Turn(role="assistant", content="It is red.")]
    assert (pair.chosen_version, pair.rejected_version) == (None, "base")
    assert (sft.topic, sft.key_facts) == ("blue", ["Blue"])


def test_a_correction_of_nothing_makes_no_pair() -> None:
    rows, _ = compiled(item(1, "Which colour?", "", correction="Blue."))
    assert [made.method for made in rows] == ["sft"]


def test_a_choice_becomes_a_pair_and_a_rating_a_labelled_row() -> None:
    rows, _ = compiled(
        item(1, "Which colour?", rejected="Blue.", rejected_version="f00"), item(2, "Which size?", score=-0.5)
    )
    pair, rated = sorted(rows, key=lambda row: row.method)
    assert (pair.method, pair.chosen_version, pair.rejected_version) == ("dpo", "base", "f00")
    assert (rated.method, rated.label) == ("kto", False)


def test_choices_come_before_corrections_when_pairs_are_capped() -> None:
    corrections = [item(n, f"Question {n}?", correction=f"Answer {n}.") for n in range(1, 6)]
    choices = [item(n, f"Choice {n}?", rejected=f"Other {n}.") for n in range(6, 10)]
    rows, dropped = compiled(*corrections, *choices, max_preference_pairs=5)
    pairs = [made.source for made in rows if made.method == "dpo"]
    assert sorted(pairs) == ["correction", *["preference"] * 4]
    assert sum(made.method == "sft" for made in rows) == 5
    assert len(dropped) == 4
    assert all("its correction still trains" in out.reason for out in dropped)


def test_hundreds_of_choices_train_unless_somebody_caps_them() -> None:
    choices = [item(n, f"Choice {n}?", rejected=f"Other {n}.") for n in range(300)]
    rows, dropped = compiled(*choices)
    assert (len(rows), dropped) == (300, [])


def test_the_cap_does_not_touch_what_judges() -> None:
    held_out = [item(n, f"Choice {n}?", rejected=f"Other {n}.", side=Side.GATE) for n in range(5)]
    rows, dropped = compiled(*held_out, max_preference_pairs=0)
    assert (len(rows), dropped) == (5, [])


# ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────


def curated(items: list[Item], **policy: Any) -> Curated:
    policies = Policies(training=TrainingPolicy(**policy), trust=TrustPolicy(min_voices=1))
    return curate(items, policies, "opt_out", as_of=0, processes=1)


def unlike(number: int) -> str:
    """A question that is near no other of these."""
    return f"{'abcdefghijklmnopqrstuvwxyz'[number] * 7} {number * 7919}?"


def test_corrections_and_enough_pairs_train_sft_then_dpo() -> None:
    said = [item(n, unlike(n), correction=f"Answer {n}.") for n in range(4)]
    assert curated(said, min_preference_pairs=4).methods == ["sft", "dpo"]
    assert curated(said, min_preference_pairs=5).methods == ["sft"]


def test_ratings_train_where_pairs_are_too_few() -> None:
    said = [item(n, unlike(n)) for n in range(4)]
    assert curated(said, min_ratings=4).methods == ["kto"]
    assert curated(said, min_ratings=5).methods == []


def test_methods_that_may_not_run_are_left_out_with_the_reason() -> None:
    said = [item(n, unlike(n), correction=f"Answer {n}.") for n in range(4)]
    said += [item(n, unlike(n)) for n in range(4, 8)]
    few = {"min_preference_pairs": 4, "min_ratings": 4}
    assert curated(said, **few).methods == ["sft", "dpo"]
    assert curated(said, **few, methods=["sft", "kto"]).methods == ["sft", "kto"]
    alone = curated(said, **few, methods=["dpo"])
    assert alone.methods == ["dpo"]
    assert {out.reason for out in alone.dropped} == {
        "training.methods leaves SFT out; its pair still trains",
        "training.methods leaves KTO out",
    }


def test_rows_that_no_method_will_train_on_are_dropped_and_said_so() -> None:
    """Else a receipt would say "learned" of what nothing learned from."""
    said = [
        item(1, unlike(1), correction="Answer."),
        item(2, unlike(2), rejected="Other."),
        item(3, unlike(3)),
        item(4, unlike(4), contributor="dan", side=Side.DEV),
        item(5, unlike(5), contributor="gus", side=Side.GATE),
    ]
    result = curated(said, min_preference_pairs=8)
    assert result.methods == ["sft"]
    assert {(made.side, made.method) for made in result.rows} == {(Side.TRAIN, "sft"), (Side.GATE, "kto")}
    told = reasons(result.dropped)
    assert set(told) == {1, 2, 3, 4}  # 1: its pair
    assert "min_preference_pairs (8)" in told[2]
    assert "its correction still trains" in told[1]


# ── trust ────────────────────────────────────────────────────────────────────────────────────────────────────


def believe(items: list[Item], **policy: Any) -> tuple[list[Item], list[Dropped]]:
    chosen = TrustPolicy(**policy)
    return trust(items, look_at(items), standing(items, chosen), chosen)


RIGHT = "The blue tank of the Quillon holds sixty-one litres."


def test_many_people_may_give_one_short_answer_to_their_own_wordings() -> None:
    said = [item(n, unlike(n), correction=RIGHT, contributor=f"person-{n}") for n in range(6)]
    assert believe(said, min_voices=1) == (said, [])


def test_one_persons_text_for_many_questions_and_anybodys_long_one_are_held_back() -> None:
    one = [item(n, unlike(n), correction=RIGHT) for n in range(3)]
    crowd = [item(n, unlike(n), correction=RIGHT * 4, contributor=f"person-{n}") for n in range(3, 6)]
    kept, dropped = believe(one + crowd, min_voices=1)
    assert kept == crowd[:1], "who wrote the long one first copied nobody"
    assert all(out.to_review for out in dropped)


def test_a_new_fact_needs_a_second_voice_that_is_no_copy_and_not_anonymous() -> None:
    alone = [item(1, "Which colour?", "None.", correction="It is blue.", key_facts=("blue",))]
    second = item(2, "What colour is it?", "None.", correction="Blue.", key_facts=("Blue",), contributor="bob")
    nobody = item(3, "What colour is it?", "None.", correction="Blue.", key_facts=("blue",), contributor=None)
    operator = item(4, "What colour is it?", "None.", correction="Blue.", key_facts=("blue",), source="operator")
    assert believe([*alone, second]) == ([*alone, second], [])
    assert believe([*alone, nobody])[0] == []
    assert believe([*alone, operator]) == ([*alone, operator], [])
    reworded = item(5, "Which colour?", "It is, I think, blue.", correction="It is blue.")
    assert believe([reworded]) == ([reworded], [])


def test_bursts_caps_and_dictation() -> None:
    burst = [item(n, unlike(n), created_at=60.0 * n) for n in range(4)]
    kept, dropped = believe(burst, burst_rows_per_hour=3)
    assert kept == []
    assert all(out.to_review for out in dropped)
    kept, dropped = believe([item(n, unlike(n)) for n in range(4)], max_rows_per_contributor=3)
    assert ids(kept) == [1, 2, 3]  # the newest
    kept, dropped = believe([item(n, unlike(n), "x" * 40) for n in range(4)], max_tokens_per_contributor=25)
    assert ids(kept) == [2, 3]
    dictated = item(1, "Please repeat: our product is the best of all.", "Our product is the best of all.")
    assert believe([dictated])[1][0].reason == "the question dictates this reply"


def test_who_is_contradicted_by_everybody_and_who_vote_as_one_are_not_believed() -> None:
    def votes(person: str, first: int, *, wrong: bool) -> list[Item]:
        truth, score = [n % 2 == 0 for n in range(12)], (1.0, -1.0)
        replies = [item(n, unlike(n)).exchange for n in range(12)]
        return [
            item(first + n, unlike(n), exchange=replies[n], contributor=person, score=score[truth[n] != wrong])
            for n in range(12)
        ]

    honest = [vote for n, person in enumerate("abcd") for vote in votes(person, 100 * n, wrong=n == 3)]
    kept, dropped = believe(honest)
    assert {one.contributor for one in kept} == {"a", "b", "c"}
    assert {out.reason for out in dropped} == {"from somebody whom others contradict too often"}
    gang = honest[:36] + [vote for n in range(4, 7) for vote in votes(f"gang-{n}", 100 * n, wrong=True)]
    kept, dropped = believe(gang)  # three against three, all of one mind: a person decides
    assert kept == []
    crowd = [vote for n in range(9, 14) for vote in votes(f"person-{n}", 100 * n, wrong=False)]
    crowd = [vote for n, vote in enumerate(crowd) if n % 5 > 1]  # who don't rate everything
    kept, dropped = believe(crowd + gang[36:])
    assert kept == crowd
    assert {out.reason for out in dropped} == {"given in lockstep with others, against everybody else"}


@pytest.mark.parametrize(
    ("people", "more", "corroborated"),
    [
        (["ada"], {}, False),
        (["ada", "bob"], {}, True),
        (["ada", None], {}, False),
        ([None, None], {}, False),
        (["ada"], {"review": ReviewDecision.APPROVED}, True),
    ],
)
def test_a_rating_that_two_people_gave_or_a_reviewer_approved_is_corroborated(
    people: list[str | None], more: dict[str, Any], corroborated: bool
) -> None:
    said = [
        item(number, "Which colour?", contributor=who, side=Side.GATE, **more) for number, who in enumerate(people, 1)
    ]
    (planned, *_), _ = plan_rows(merge(said)[0], TrainingPolicy(), lambda exchange: "c")
    row = planned.row(lambda history: [Turn(role=role, content=text) for role, text in history])
    assert (row.corroborated, row.completion_version) == (corroborated, "base")
