"""What the curation promises whatever people say: nothing leaks, nothing is lost, order doesn't matter."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from feedback.contributors import side_of
from feedback.conversations import with_guidelines
from feedback.curate.compile import Planned
from feedback.curate.datasheet import datasheet
from feedback.curate.items import Exchange, Item, Turns
from feedback.curate.looks import question_key
from feedback.curate.pipeline import Curated, curate
from feedback.curate.similarity import jaccard, shingles
from feedback.curation_policies import AugmentPolicy, BalancePolicy, TrustPolicy
from feedback.models import Guidelines
from feedback.policies import Policies, TrainingPolicy
from feedback.run_folder import Row, Turn
from feedback.states import FeedbackKind, MessageStatus, ReviewDecision, Side
from feedback.testing import about

SYSTEM_PROMPT = "Answer briefly."
START = 1_735_689_600.0
TRAINING = st.builds(
    TrainingPolicy,
    gate_fraction=st.just(0.3),
    dev_fraction=st.just(0.2),
    near_duplicate_similarity=st.sampled_from([0.5, 0.8, 1.0]),
    max_preference_pairs=st.integers(0, 6),
    min_preference_pairs=st.integers(1, 4),
    min_ratings=st.integers(2, 4),
)
POLICIES = st.builds(
    Policies,
    training=TRAINING,
    trust=st.builds(TrustPolicy, min_voices=st.integers(1, 2), max_rows_per_contributor=st.integers(2, 9)),
    balance=st.builds(BalancePolicy, max_rows_per_question=st.integers(1, 9), min_rows=st.just(2)),
    augment=st.builds(AugmentPolicy, copies=st.integers(0, 2)),
)
QUESTIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "Please: ", "hello, "]),
    st.sampled_from(
        ["Which colour is the big tank", "which colour is the bigger tank", "How long is it", "Is it safe"]
    ),
    st.sampled_from(["", "?", " of yours?", "!!"]),
)
SENTENCES = st.sampled_from(["It is red.", "it is red", "It is blue.", "Two metres.", "Yes.", "No.", ""])
GRANT = st.sampled_from([None, None, True, False])


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    made = []
    for number in range(draw(st.integers(0, 16))):
        kind = draw(st.sampled_from([FeedbackKind.RATING, FeedbackKind.CORRECTION, FeedbackKind.PREFERENCE]))
        contributor = draw(st.sampled_from([None, *"abcdefghij"]))
        correction = draw(SENTENCES.filter(bool)) if kind == FeedbackKind.CORRECTION else None
        before = draw(st.sampled_from([(), (("system", "Be kind."),), (("user", "Hello."), ("assistant", "Hi."))]))
        history = (*before, ("user", draw(QUESTIONS)))
        replies = [
            Exchange(
                id=place,
                conversation=number,
                history=history,
                reply=draw(SENTENCES),
                version=draw(st.sampled_from(["base", "f00", None])),
                store=draw(GRANT),
                status=draw(st.sampled_from([MessageStatus.COMPLETE] * 5 + [MessageStatus.STOPPED])),
                cut_off=draw(st.sampled_from([False] * 5 + [True])),
            )
            for place in (2 * number, 2 * number + 1)
        ]
        made.append(
            Item(
                id=number,
                kind=kind,
                exchange=draw(st.sampled_from([replies[0], *(one.exchange for one in made)])),
                created_at=START + 60 * draw(st.integers(0, 5)),
                contributor=contributor,
                side=side_of(contributor, TrainingPolicy(gate_fraction=0.3, dev_fraction=0.2)) if contributor else None,
                score=draw(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])) if kind == FeedbackKind.RATING else None,
                correction=correction,
                key_facts=(correction.split()[-1],) if correction and draw(st.booleans()) else (),
                rejected=replies[1] if kind == FeedbackKind.PREFERENCE else None,
                tie=draw(st.sampled_from([None, None, "good", "bad"])) if kind == FeedbackKind.PREFERENCE else None,
                training=draw(GRANT),
                source=draw(st.sampled_from([None, None, "operator"])),
                review=draw(st.sampled_from([None, None, None, *ReviewDecision])),
            )
        )
    return made


def prompt(turns: Turns) -> list[Turn]:
    messages = [{"role": role, "content": content} for role, content in turns]
    guidelines = Guidelines(system_prompt=SYSTEM_PROMPT)
    return [Turn.model_validate(message) for message in with_guidelines(guidelines, messages)]


def run(said: list[Item], policies: Policies) -> Curated:
    return curate(said, policies, "opt_out", as_of=START, processes=1)


def rows_of(curated: Curated) -> list[Row]:
    return [planned.row(prompt) for planned in curated.rows]


def asked(planned: Planned) -> str:
    return question_key(planned.item.exchange.history)


@given(items(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(said: list[Item], policies: Policies, random: st.randoms) -> None:
    shuffled = random.sample(said, len(said))
    one, other = run(said, policies), run(shuffled, policies)
    assert (rows_of(one), one.methods, one.funnel) == (rows_of(other), other.methods, other.funnel)
    assert Counter(one.dropped) == Counter(other.dropped)


@given(items(), POLICIES)
def test_no_row_is_near_a_stricter_sides_row(said: list[Item], policies: Policies) -> None:
    strictness = [Side.TRAIN, Side.DEV, Side.GATE]
    rows = run(said, policies).rows
    for planned in rows:
        for held_out in rows:
            if strictness.index(planned.side) < strictness.index(held_out.side):
                similarity = jaccard(shingles(asked(planned)), shingles(asked(held_out)))
                assert similarity < policies.training.near_duplicate_similarity


@given(items(), POLICIES)
def test_no_cluster_has_rows_on_two_sides(said: list[Item], policies: Policies) -> None:
    sides: dict[str, set[Side]] = {}
    for planned in run(said, policies).rows:
        sides.setdefault(planned.cluster, set()).add(planned.side)
    assert all(len(found) == 1 for found in sides.values())


@given(items(), POLICIES)
def test_every_contributors_rows_are_on_one_side(said: list[Item], policies: Policies) -> None:
    rows = run(said, policies).rows
    sides = {(planned.item.contributor, planned.side) for planned in rows if planned.item.contributor}
    assert all(side == side_of(who, policies.training) for who, side in sides)


@given(items(), POLICIES)
def test_every_item_is_in_a_row_or_dropped_with_a_reason_and_refused_ones_never_in_a_row(
    said: list[Item], policies: Policies
) -> None:
    result = run(said, policies)
    used = {number for planned in result.rows for number in planned.feedback_ids}
    assert used | {out.id for out in result.dropped} == {one.id for one in said}
    assert all(out.stage and out.reason for out in result.dropped)
    refused = {one.id for one in said if False in (one.exchange.store, one.training)}
    refused |= {one.id for one in said if one.rejected is not None and one.rejected.store is False}
    rejected = {one.id for one in said if one.review == ReviewDecision.REJECTED}
    assert not used & (refused | rejected)


@given(items(), POLICIES)
def test_the_datasheets_counts_add_up(said: list[Item], policies: Policies) -> None:
    result = run(said, policies)
    sheet = datasheet(result, about(policies), "cafe")
    assert sum(count for side in sheet["rows"].values() for count in side.values()) == len(result.rows)
    lost = Counter[str]()
    for out in sheet["dropped"]:
        if not out["reason"].endswith("still trains"):
            lost[out["stage"]] += out["items"]
    left = len(said)
    for step in sheet["funnel"]:
        left -= lost[step["stage"]]
        assert step["items_left"] == left
    assert left == len({planned.item.id for planned in result.rows})
    assert json.loads(json.dumps(sheet)) == sheet


@given(items(), POLICIES)
def test_rows_are_well_formed(said: list[Item], policies: Policies) -> None:
    result = run(said, policies)
    rows = rows_of(result)
    assert len({row.id for row in rows}) == len(rows)
    for planned, row in zip(result.rows, rows, strict=True):
        assert Row.model_validate(row.model_dump(exclude_none=True)) == row
        assert row.prompt[0].role == "system"
        assert row.prompt[0].content.startswith(SYSTEM_PROMPT)
        assert row.prompt[-1].role == "user"
        given_fields = {
            name for name in ("completion", "chosen", "rejected", "label") if getattr(row, name) is not None
        }
        needed = {"sft": {"completion"}, "dpo": {"chosen", "rejected"}, "kto": {"completion", "label"}}
        assert given_fields == needed[row.method]
        assert planned.side == Side.GATE or row.method in result.methods


@given(items(), POLICIES)
def test_pairs_are_capped_and_choices_come_first(said: list[Item], policies: Policies) -> None:
    result = run(said, policies)
    pairs = [one.source for one in result.rows if one.method == "dpo" and one.side == Side.TRAIN]
    assert len(pairs) <= policies.training.max_preference_pairs
    choices = {one.id for one in said if one.kind == FeedbackKind.PREFERENCE and one.tie is None}
    capped = {out.id for out in result.dropped if "over max_preference_pairs" in out.reason}
    if capped & choices:
        assert "correction" not in pairs


@given(items(), POLICIES)
def test_curating_again_gives_the_same(said: list[Item], policies: Policies) -> None:
    one, other = run(said, policies), run(said, policies)
    assert (rows_of(one), list(one.dropped), one.funnel) == (rows_of(other), list(other.dropped), other.funnel)
    sheets = [datasheet(result, about(policies), "cafe") for result in (one, other)]
    assert sheets[0] == sheets[1]


@given(items(), POLICIES)
def test_nothing_synthetic_judges(said: list[Item], policies: Policies) -> None:
    assert {one.side for one in run(said, policies).rows if one.item.synthetic} <= {Side.TRAIN}
