"""What an assistant asks and allows: tags, names, surveys, ties; the form that says so, and what receipts tell."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlmodel import select

from feedback import assistants, datasets, review, runs
from feedback.collect import comparisons, form, receipts
from feedback.collect.intake import Accepted
from feedback.errors import InvalidInput, NotFound
from feedback.gather import gather
from feedback.models import Feedback
from feedback.states import LEARNABLE, FeedbackKind, FeedbackStatus, ReviewDecision
from feedback.testing import SECRET, House

CSAT = {"id": "csat", "text": "How did it go?", "kind": "csat"}
WHY = {"id": "why", "text": "Why?", "kind": "text"}
FOUND = {"id": "found", "text": "Did you find it?", "kind": "choice", "options": ["yes", "no"]}


def set_collect(house: House, **policy: Any) -> None:
    with house.database.write() as session:
        assistants.set_policies(session, house.reload(), {"collect": policy}, actor="test")


def stored(house: House) -> list[Feedback]:
    with house.database.read() as session:
        return list(session.exec(select(Feedback).order_by(Feedback.id)))


def told(house: House, accepted: Accepted) -> tuple[str, str]:
    with house.database.read() as session:
        receipt = receipts.look_up(session, accepted.receipt)
    return receipt.status, receipt.detail


def form_of(house: House, completion_id: str, **more: Any) -> form.Form:
    with house.database.read() as session:
        return form.draw(session, SECRET, house.caller, completion_id, more.pop("choice", 0), **more)


def next_question(question: str, answer: str, then: str) -> list[dict[str, str]]:
    turns = [("user", question), ("assistant", answer), ("user", then)]
    return [{"role": role, "content": content} for role, content in turns]


# ── the policy ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"tags": ["slow", "slow"]}, "collect.tags: 'slow' is there twice"),
        ({"tags": [""]}, "collect.tags.0"),
        ({"tags": ["x" * 51]}, "collect.tags.0"),
        ({"survey": [CSAT, CSAT]}, "collect.survey: 'csat' is there twice"),
        ({"survey": [{**WHY, "options": ["a", "b"]}]}, "collect.survey.0: 'why' is no choice"),
        ({"survey": [{**FOUND, "options": ["yes"]}]}, "collect.survey.0: 'found' is a choice"),
        ({"survey": [{**FOUND, "options": ["yes", "yes"]}]}, "'yes' is there twice"),
        ({"survey": [{**CSAT, "id": "How?"}]}, "collect.survey.0.id"),
        ({"survey": [{**CSAT, "kind": "stars"}]}, "collect.survey.0.kind"),
        ({"survey_after_replies": 0}, "collect.survey_after_replies"),
        ({"comparison": "both"}, "collect.comparison"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_in_words(embedded: House, policy: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        set_collect(embedded, **policy)
    assert words in refused.value.message


def test_changes_of_several_policies_at_once_all_hold(house: House) -> None:
    changes: list[dict[str, dict[str, Any]]] = [
        {"collect": {"anonymous": False}},
        {"collect": {"tags": ["warm"]}},
        {"collect": {"survey_after_replies": 7}},
        {"age": {"rating_days": 9}},
        {"training": {"min_new_feedback": 11}},
        {"review": {"claim_seconds": 13}},
    ]
    start = Barrier(len(changes))

    def change(wanted: dict[str, dict[str, Any]]) -> None:
        with house.database.write() as session:
            assistant = assistants.get_assistant(session, house.name)
            if not house.database.is_sqlite:  # there, one writes at a time from the beginning
                start.wait()
            assistants.set_policies(session, assistant, wanted, actor="test")

    with ThreadPoolExecutor(len(changes)) as pool:
        list(pool.map(change, changes))
    held = assistants.policies(house.reload()).model_dump()
    for (section, settings), *_ in (one.items() for one in changes):
        assert held[section] | settings == held[section]


def test_only_the_assistants_tags_are_taken(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user="ada")
    house.say(completion, "rating", 1, tags=("anything",))
    set_collect(house, tags=["slow", "wrong"])
    house.say(completion, "rating", 1, tags=("wrong", "slow"))
    with pytest.raises(InvalidInput, match="slow, wrong") as refused:
        house.say(completion, "rating", 1, tags=("slow", "rude"))
    assert refused.value.param == "tags"
    assert [one.tags for one in stored(house)] == [["anything"], ["wrong", "slow"]]


def test_an_assistant_may_refuse_anonymous_givers(house: House) -> None:
    completion = house.reply("Which colour?", "Red.", user="ada")
    first = house.say(completion, "comment", "Hm.", anonymous=True, idempotency_key="k")
    set_collect(house, anonymous=False)
    with pytest.raises(InvalidInput) as refused:
        house.say(completion, "comment", "Hm.", anonymous=True)
    assert refused.value.param == "anonymous"
    assert house.say(completion, "comment", "Hm.", anonymous=True, idempotency_key="k") == first
    house.say(completion, "comment", "Hm.")


# ── surveys ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_survey_is_one_current_answer_per_giver_and_conversation(house: House) -> None:
    set_collect(house, survey=[CSAT, WHY, FOUND])
    first = house.reply("Which colour?", "Red.", user="ada")
    later = house.reply(next_question("Which colour?", "Red.", "Why?"), "It is late.", user="ada")
    elsewhere = house.reply("Which size?", "Tall.", user="ada")
    old = house.say(first, "survey", {"csat": 2, "why": " too slow "})
    new = house.say(later, "survey", {"csat": 5, "found": "yes"})
    house.say(later, "survey", {"csat": 1}, user="bob")
    house.say(elsewhere, "survey", {"why": "Nice."})
    house.say(later, "survey", {"csat": 3}, anonymous=True)
    said = [(one.value, one.status) for one in stored(house)]
    received = FeedbackStatus.RECEIVED
    assert said == [
        ({"csat": 2, "why": "too slow"}, FeedbackStatus.REPLACED),
        ({"csat": 5, "found": "yes"}, received),
        ({"csat": 1}, received),
        ({"why": "Nice."}, received),
        ({"csat": 3}, received),
    ]
    assert told(house, old) == ("replaced", "You have answered this survey anew.")
    assert told(house, new)[0] == "received"
    assert "nothing is trained" in told(house, new)[1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [],
        {},
        {"mood": 5},
        {"csat": 5, "mood": 5},
        {"csat": 0},
        {"csat": 6},
        {"csat": True},
        {"csat": "5"},
        {"csat": None},
        {"why": ""},
        {"why": 5},
        {"found": "maybe"},
        {"found": ["yes"]},
        {"why": "a\0b"},
        {"why": "x" * 20_001},
    ],
)
def test_other_answers_are_refused(embedded: House, value: Any) -> None:
    set_collect(embedded, survey=[CSAT, WHY, FOUND])
    completion = embedded.reply("Which colour?", "Red.")
    with pytest.raises(InvalidInput) as refused:
        embedded.say(completion, "survey", value)
    assert refused.value.param == "value"
    assert stored(embedded) == []


def test_an_assistant_without_questions_takes_no_survey(embedded: House) -> None:
    with pytest.raises(InvalidInput, match="no survey"):
        embedded.say(embedded.reply("Which colour?", "Red."), "survey", {"csat": 5})


def test_surveys_never_train_and_make_no_run_due(embedded: House) -> None:
    set_collect(embedded, survey=[CSAT])
    with embedded.database.write() as session:
        assistants.set_policies(session, embedded.reload(), {"training": {"min_new_feedback": 1}}, actor="test")
    embedded.say(embedded.reply("Which colour?", "Red."), "survey", {"csat": 5}, training=True)
    with embedded.database.read() as session:
        assert gather(session, embedded.assistant) == []
        assert runs.list_runs(session) == []


# ── the form ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_form_says_what_may_be_said(house: House) -> None:
    completion = house.reply("Which colour?", "Red.")
    drawn = form_of(house, completion)
    assert set(drawn.kinds) == set(FeedbackKind) - {FeedbackKind.PREFERENCE, FeedbackKind.SURVEY}
    assert (drawn.tags, drawn.anonymous, drawn.survey) == ((), True, None)
    assert drawn.report_categories == ("abuse", "bias", "privacy", "wrong", "other")
    set_collect(house, tags=["slow"], anonymous=False, survey=[CSAT], survey_after_replies=2)
    house.reply("Which colour?", "Blue.")
    drawn = form_of(house, completion)
    assert set(drawn.kinds) == set(FeedbackKind)
    assert (drawn.tags, drawn.anonymous) == (("slow",), False)
    with pytest.raises(NotFound):
        form_of(house, "chatcmpl-none")


def test_the_survey_is_due_after_enough_replies_until_it_is_answered(house: House) -> None:
    set_collect(house, survey=[CSAT], survey_after_replies=2)
    first = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    house.reply("Which colour?", "Green.", user="ada")
    assert form_of(house, first).survey is None  # regenerated replies count once
    second = house.reply(next_question("Which colour?", "Red.", "Why?"), "It is late.", user="ada")
    for completion, choice in ((first, 1), (second, 0)):
        due = form_of(house, completion, choice=choice).survey
        assert due is not None
        assert [question.text for question in due] == ["How did it go?"]
    house.say(first, "survey", {"csat": 4})
    assert form_of(house, second).survey is None
    assert form_of(house, second, user="ada").survey is None
    assert form_of(house, second, user="bob").survey is not None
    set_collect(house, survey=[])
    assert form_of(house, second, user="bob").survey is None


# ── ties and comparisons ─────────────────────────────────────────────────────────────────────────────────────


def test_a_tie_is_a_preference_of_its_own_shape_in_the_same_slot(house: House) -> None:
    both = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    again = house.reply("Which colour?", "Green.", user="ada")
    house.say(both, "preference", {"tie": "good", "other": {"choice": 1}})
    worse = house.say(again, "preference", {"tie": "bad", "other": {"completion_id": both, "choice": 1}})
    first, second = stored(house)
    assert (first.status, first.score) == (FeedbackStatus.REPLACED, 1.0)
    assert (second.status, second.score) == (FeedbackStatus.RECEIVED, -1.0)
    assert second.value == {"tie": "bad", "other_message_id": first.value["other_message_id"]}
    assert told(house, worse) == ("received", "Stored; it will be looked at when the next dataset is made.")
    house.say(again, "preference", {"rejected": {"completion_id": both}})
    assert [one.status for one in stored(house)][1:] == [FeedbackStatus.REPLACED, FeedbackStatus.RECEIVED]


@pytest.mark.parametrize(
    "value",
    [
        {"tie": "good"},
        {"tie": "fine", "other": {"choice": 1}},
        {"tie": ["good"], "other": {"choice": 1}},
        {"tie": "good", "other": {"choice": 0}},
        {"tie": "good", "other": {"choice": 7}},
        {"tie": "good", "other": {"choice": True}},
        {"tie": "good", "other": 1},
        {"tie": "good", "other": {"choice": 1}, "rejected": {"choice": 1}},
    ],
)
def test_other_ties_are_refused(embedded: House, value: Any) -> None:
    completion = embedded.reply("Which colour?", ["Red.", "Blue."])
    with pytest.raises(InvalidInput) as refused:
        embedded.say(completion, "preference", value)
    assert refused.value.param == "value"


def test_a_tie_is_gathered_as_no_choice_and_makes_no_run_due(house: House) -> None:
    with house.database.write() as session:
        policy = {"min_new_feedback": 1, "min_ratings": 2, "dev_fraction": 0}
        assistants.set_policies(session, house.reload(), {"training": policy}, actor="test")
    both = house.reply("Which colour?", ["Red.", "Blue."], user="ada")
    house.say(both, "preference", {"tie": "good", "other": {"choice": 1}})
    with house.database.read() as session:
        (tie,) = gather(session, house.assistant)
        curated = datasets.preview(session, house.reload()).curated
        assert runs.list_runs(session) == []
    assert tie.rejected is not None
    assert (tie.kind, tie.tie, tie.exchange.reply, tie.rejected.reply) == ("preference", "good", "Red.", "Blue.")
    rows = [planned.row(lambda turns: []) for planned in curated.rows]
    rated = {row.completion[0].content: row.label for row in rows if row.completion}
    assert ({row.method for row in rows}, rated) == ({"kto"}, {"Red.": True, "Blue.": True})
    house.say(both, "preference", {"rejected": {"choice": 1}}, user="bob")
    with house.database.read() as session:
        assert [item.tie for item in gather(session, house.assistant)] == ["good", None]
        assert len(runs.list_runs(session)) == 1


@pytest.mark.parametrize("comparison_id", ["cmp-none", "chatcmpl-none", ""])
def test_a_choice_in_no_comparison_is_not_found(embedded: House, comparison_id: str) -> None:
    ordinary = embedded.reply("Which colour?", ["Red.", "Blue."])
    for name in (comparison_id, ordinary):
        with pytest.raises(NotFound) as missing:
            comparisons.choose(embedded.database, SECRET, embedded.caller, name, 1)
        assert missing.value.code == "comparison_not_found"


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────

VALUES = {
    FeedbackKind.RATING: 1,
    FeedbackKind.COMMENT: "Hm.",
    FeedbackKind.CORRECTION: "Blue.",
    FeedbackKind.PREFERENCE: {"rejected": {"choice": 1}},
    FeedbackKind.REPORT: "abuse",
    FeedbackKind.SURVEY: {"csat": 5},
}


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("kind", FeedbackKind)
def test_a_receipt_tells_of_every_state_of_every_kind(embedded: House, kind: FeedbackKind, anonymous: bool) -> None:
    set_collect(embedded, survey=[CSAT])
    both = embedded.reply("Which colour?", ["Red.", "Green."], user="ada")
    accepted = embedded.say(both, kind, VALUES[kind], anonymous=anonymous)
    states = [told(embedded, accepted)]
    assert states[0][0] == ("in_review" if kind == FeedbackKind.REPORT else "received")
    for decision in (ReviewDecision.APPROVED, ReviewDecision.REJECTED):
        with embedded.database.write() as session:
            feedback = review.get_feedback(session, accepted.id)
            review.decide(session, feedback, decision, note="Looked at it.", actor="test")
        states.append(told(embedded, accepted))
    assert [status for status, _ in states[1:]] == [
        "resolved" if kind == FeedbackKind.REPORT else "received",
        "declined",
    ]
    for _, detail in states:
        assert detail.count(" ") >= 3, "a sentence for people"
        assert "None" not in detail
    learns = kind in LEARNABLE
    assert ("dataset" in states[1][1]) == learns
    assert ("learned" in states[2][1]) == learns


def test_a_giver_who_refused_training_is_told_so(embedded: House) -> None:
    completion = embedded.reply("Which colour?", "Red.")
    assert "as you wished" in told(embedded, embedded.say(completion, "rating", 1, training=False))[1]
