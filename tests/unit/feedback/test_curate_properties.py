"""What the curation promises whatever people say: nothing leaks, nothing is lost, order doesn't matter."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from feedback.contributors import side_of
from feedback.conversations import with_guidelines
from feedback.curate.datasheet import datasheet
from feedback.curate.items import Item, Turns
from feedback.curate.pipeline import Curated, curate
from feedback.curate.similarity import jaccard, shingles
from feedback.models import Guidelines
from feedback.policies import TrainingPolicy
from feedback.run_folder import Row, Turn
from feedback.states import FeedbackKind, MessageStatus, ReviewDecision, Side

SYSTEM_PROMPT = "Answer briefly."
START = datetime(2025, 1, 1, tzinfo=UTC)
POLICIES = st.builds(
    TrainingPolicy,
    gate_fraction=st.just(0.3),
    dev_fraction=st.just(0.2),
    near_duplicate_similarity=st.sampled_from([0.5, 0.8, 1.0]),
    max_preference_pairs=st.integers(0, 6),
    min_preference_pairs=st.integers(1, 4),
    min_ratings=st.integers(2, 4),
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
        made.append(
            Item(
                feedback_ids=(number,),
                kind=kind,
                history=(*before, ("user", draw(QUESTIONS))),
                reply=draw(SENTENCES),
                reply_version=draw(st.sampled_from(["base", "f00", None])),
                created_at=START + timedelta(minutes=draw(st.integers(0, 5))),
                contributor=contributor,
                side=side_of(contributor, TrainingPolicy(gate_fraction=0.3, dev_fraction=0.2)) if contributor else None,
                score=draw(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])) if kind == FeedbackKind.RATING else None,
                correction=correction,
                key_facts=(correction.split()[-1],) if correction and draw(st.booleans()) else (),
                rejected=draw(SENTENCES) if kind == FeedbackKind.PREFERENCE else None,
                rejected_version="base" if kind == FeedbackKind.PREFERENCE else None,
                store=draw(GRANT),
                training=draw(GRANT),
                review=draw(st.sampled_from([None, None, None, *ReviewDecision])),
                reply_status=draw(st.sampled_from([MessageStatus.COMPLETE] * 5 + [MessageStatus.STOPPED])),
            )
        )
    return made


def prompt(turns: Turns) -> list[Turn]:
    messages = [{"role": role, "content": content} for role, content in turns]
    guidelines = Guidelines(system_prompt=SYSTEM_PROMPT)
    return [Turn.model_validate(message) for message in with_guidelines(guidelines, messages)]


def run(said: list[Item], policy: TrainingPolicy) -> Curated:
    return curate(said, policy, "opt_out", prompt)


def asked(row: Row) -> str:
    return "\n".join(turn.content for turn in row.prompt if turn.role != "system")


@given(items(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(said: list[Item], policy: TrainingPolicy, random: st.randoms) -> None:
    shuffled = random.sample(said, len(said))
    one, other = run(said, policy), run(shuffled, policy)
    assert (one.rows, one.methods, one.funnel) == (other.rows, other.methods, other.funnel)
    assert Counter(one.dropped) == Counter(other.dropped)


@given(items(), POLICIES)
def test_no_row_is_near_a_stricter_sides_row(said: list[Item], policy: TrainingPolicy) -> None:
    strictness = [Side.TRAIN, Side.DEV, Side.GATE]
    rows = run(said, policy).rows
    for made in rows:
        for held_out in rows:
            if strictness.index(made.side) < strictness.index(held_out.side):
                similarity = jaccard(shingles(asked(made.row)), shingles(asked(held_out.row)))
                assert similarity < policy.near_duplicate_similarity


@given(items(), POLICIES)
def test_no_cluster_has_rows_on_two_sides(said: list[Item], policy: TrainingPolicy) -> None:
    sides: dict[str, set[Side]] = {}
    for made in run(said, policy).rows:
        sides.setdefault(made.row.cluster, set()).add(made.side)
    assert all(len(found) == 1 for found in sides.values())


@given(items(), POLICIES)
def test_every_contributors_rows_are_on_one_side(said: list[Item], policy: TrainingPolicy) -> None:
    sides = {(made.row.contributor, made.side) for made in run(said, policy).rows if made.row.contributor}
    assert all(side == side_of(who, policy) for who, side in sides)


@given(items(), POLICIES)
def test_every_item_is_in_a_row_or_dropped_with_a_reason_and_refused_ones_never_in_a_row(
    said: list[Item], policy: TrainingPolicy
) -> None:
    result = run(said, policy)
    used = {number for made in result.rows for number in made.feedback_ids}
    dropped = {number for out in result.dropped for number in out.feedback_ids}
    assert used | dropped == {number for one in said for number in one.feedback_ids}
    assert all(out.stage and out.reason for out in result.dropped)
    refused = {one.feedback_ids[0] for one in said if False in (one.store, one.training)}
    rejected = {one.feedback_ids[0] for one in said if one.review == ReviewDecision.REJECTED}
    assert not used & (refused | rejected)


@given(items(), POLICIES)
def test_the_datasheets_counts_add_up(said: list[Item], policy: TrainingPolicy) -> None:
    result = run(said, policy)
    sheet = datasheet(result, "support", policy, "cafe")
    assert sum(count for side in sheet["rows"].values() for count in side.values()) == len(result.rows)
    lost = Counter[str]()
    for out in sheet["dropped"]:
        lost[out["stage"]] += out["items"]
    left = len(said)
    for step in sheet["funnel"]:
        left -= lost[step["stage"]]
        assert step["items_left"] == left
    assert json.loads(json.dumps(sheet)) == sheet


@given(items(), POLICIES)
def test_rows_are_well_formed(said: list[Item], policy: TrainingPolicy) -> None:
    result = run(said, policy)
    assert len({made.row.id for made in result.rows}) == len(result.rows)
    for made in result.rows:
        assert Row.model_validate(made.row.model_dump(exclude_none=True)) == made.row
        assert made.row.prompt[0].role == "system"
        assert made.row.prompt[0].content.startswith(SYSTEM_PROMPT)
        assert made.row.prompt[-1].role == "user"
        given_fields = {
            name for name in ("completion", "chosen", "rejected", "label") if getattr(made.row, name) is not None
        }
        needed = {"sft": {"completion"}, "dpo": {"chosen", "rejected"}, "kto": {"completion", "label"}}
        assert given_fields == needed[made.row.method]
        assert made.side == Side.GATE or made.row.method in result.methods


@given(items(), POLICIES)
def test_pairs_are_capped_and_choices_come_first(said: list[Item], policy: TrainingPolicy) -> None:
    result = run(said, policy)
    pairs = [made.row.source for made in result.rows if made.row.method == "dpo" and made.side == Side.TRAIN]
    assert len(pairs) <= policy.max_preference_pairs
    choices = {one.feedback_ids[0] for one in said if one.kind == FeedbackKind.PREFERENCE}
    capped = {out.feedback_ids[0] for out in result.dropped if "over max_preference_pairs" in out.reason}
    if capped & choices:
        assert "correction" not in pairs
