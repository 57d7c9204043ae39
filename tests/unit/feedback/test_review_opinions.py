"""What several reviewers' decisions come to, for any sequence of them."""

from hypothesis import given
from hypothesis import strategies as st

from feedback.review.opinions import Opinion, State, Words, agree, learns, standing
from feedback.states import ReviewDecision

APPROVED, EDITED, REJECTED = ReviewDecision.APPROVED, ReviewDecision.EDITED, ReviewDecision.REJECTED
WORDS = st.sampled_from(
    [None, Words("It is red."), Words("It is 330 m tall.", ("330 m",)), Words("It is 324 m tall.", ("324 m",))]
)
OPINIONS = st.builds(Opinion, st.sampled_from("abc"), st.sampled_from(ReviewDecision), WORDS, st.booleans())
SAID = st.lists(OPINIONS, max_size=7)


@given(SAID, st.booleans())
def test_what_counts_is_clear_exactly_when_it_is_settled(said: list[Opinion], second_wanted: bool) -> None:
    now = standing(said, second_wanted=second_wanted)
    assert (now.counts is not None) == (now.state == State.SETTLED)
    assert (len(now.between) == 2) == (now.state == State.DISPUTED)
    assert (now.state == State.UNREVIEWED) == (not said)


@given(SAID, st.booleans())
def test_awaiting_means_one_person_so_far_and_is_only_where_two_are_wanted(
    said: list[Opinion], second_wanted: bool
) -> None:
    if standing(said, second_wanted=second_wanted).state == State.AWAITING_SECOND:
        assert second_wanted
        assert len({one.reviewer for one in said}) == 1


@given(SAID, st.booleans())
def test_a_dispute_is_between_two_who_disagree(said: list[Opinion], second_wanted: bool) -> None:
    now = standing(said, second_wanted=second_wanted)
    if now.state == State.DISPUTED:
        one, other = ([said for said in said if said.reviewer == who][-1] for who in sorted(now.between))
        assert not agree(one, other)


@given(SAID, OPINIONS, st.booleans())
def test_a_final_word_settles_everything_and_only_another_one_changes_it(
    said: list[Opinion], later: Opinion, second_wanted: bool
) -> None:
    final = Opinion("operator", REJECTED, final=True)
    now = standing([*said, final], second_wanted=second_wanted)
    assert now.counts == len(said)
    after = standing([*said, final, later], second_wanted=second_wanted)
    assert after.counts == (len(said) + 1 if later.final else len(said))


@given(OPINIONS, OPINIONS)
def test_agreeing_is_mutual_and_never_between_a_yes_and_a_no(one: Opinion, other: Opinion) -> None:
    assert agree(one, other) == agree(other, one)
    if agree(one, other):
        assert learns(one.decision) == learns(other.decision)


def test_one_decision_is_enough_unless_two_are_wanted() -> None:
    yes, no = Opinion("ada", APPROVED), Opinion("ada", REJECTED)
    assert standing([yes], second_wanted=False).counts == 0
    assert standing([yes, no], second_wanted=False).counts == 1  # on second thoughts
    assert standing([yes, no], second_wanted=True).state == State.AWAITING_SECOND  # still one person


def test_two_who_agree_settle_it_and_the_mended_words_count() -> None:
    right = Words("It is red.")
    approved, edited = Opinion("ada", APPROVED, right), Opinion("bob", EDITED, Words("It's red."))
    assert standing([approved, edited], second_wanted=True).counts == 1
    assert standing([edited, approved], second_wanted=True).counts == 0
    assert standing([Opinion("ada", EDITED, right), edited], second_wanted=True).counts == 1


def test_a_dispute_is_settled_by_a_third_or_by_one_who_comes_round() -> None:
    ada, bob = Opinion("ada", APPROVED), Opinion("bob", REJECTED)
    for second_wanted in (True, False):
        assert standing([ada, bob], second_wanted=second_wanted).state == State.DISPUTED
        assert standing([ada, bob, Opinion("cyd", APPROVED)], second_wanted=second_wanted).counts == 2
        assert standing([ada, bob, Opinion("ada", REJECTED)], second_wanted=second_wanted).counts == 2
        still = standing([ada, bob, Opinion("ada", EDITED)], second_wanted=second_wanted)
        assert still.state == State.DISPUTED
