"""Guidelines: the prompt that they make, their versions, and the day on which they are read again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from feedback import assistants, doctor, guidelines
from feedback.columns import now
from feedback.conversations import with_guidelines
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.guidelines import Draft
from feedback.models import AuditEntry, Guidelines
from feedback.testing import House

TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}), max_size=4
)


@given(st.text(), TURNS)
def test_free_words_alone_make_the_very_prompt_that_they_are(words: str, turns: list[dict[str, str]]) -> None:
    """What trained under a system prompt alone must read the same bytes for ever."""
    own = [turn["content"] for turn in turns if turn["role"] == "system"]
    system = "\n\n".join(part for part in [words, *own] if part)
    rest = [turn for turn in turns if turn["role"] != "system"]
    expected = [{"role": "system", "content": system}, *rest] if system else rest
    assert with_guidelines(Guidelines(system_prompt=words), turns) == expected


def test_every_part_is_in_the_prompt_in_plain_order() -> None:
    made = Guidelines(
        system_prompt="You are Ada.",
        purpose="You help with tents.",
        tone="Short and warm.",
        boundaries=["Never quote prices.", "Never promise dates."],
        sensitive_topics=["Storms: tell people to leave the tent."],
        disclaimer="I am a program.",
    )
    assert guidelines.system_prompt_of(made) == (
        "You are Ada.\n\n"
        "Your purpose: You help with tents.\n\n"
        "How you speak: Short and warm.\n\n"
        "What you never do:\n- Never quote prices.\n- Never promise dates.\n\n"
        "What you handle with care:\n- Storms: tell people to leave the tent.\n\n"
        "What you say where it applies: I am a program."
    )


def revise(house: House, **fields: object) -> Guidelines:
    with house.database.write() as session:
        current = guidelines.draft_of(assistants.current_guidelines(session, house.assistant)).model_dump()
        draft = guidelines.checked(current | fields)
        return guidelines.revise(session, house.assistant, draft, actor="test")


def test_a_change_is_a_new_version_and_no_change_is_none(house: House) -> None:
    assert revise(house, tone="Warm.").version == 2
    assert revise(house, tone="Warm.").version == 2
    assert revise(house, boundaries=[" Never guess. "]).version == 3
    assert revise(house, boundaries=["Never guess."]).version == 3
    with house.database.read() as session:
        found = guidelines.versions(session, house.assistant)
        assert [(one.version, one.tone, one.boundaries) for one in found] == [
            (3, "Warm.", ["Never guess."]),
            (2, "Warm.", []),
            (1, "", []),
        ]
        assert guidelines.get_version(session, house.assistant, 1).system_prompt == "Answer briefly."
        for missing in (4, 2**70):
            with pytest.raises(NotFound, match="--history"):
                guidelines.get_version(session, house.assistant, missing)
        noted = session.exec(select(AuditEntry).where(AuditEntry.action == "assistant.guidelines")).all()
    assert [entry.details for entry in noted] == [
        {"version": 2, "changed": ["tone"]},
        {"version": 3, "changed": ["boundaries"]},
    ]


def test_who_changes_an_outdated_version_is_told_unless_it_says_the_same(embedded: House) -> None:
    revise(embedded, tone="Warm.")
    with embedded.database.write() as session:
        with pytest.raises(Conflict, match="version 2 is current"):
            guidelines.revise(session, embedded.assistant, Draft(tone="Cold."), actor="test", made_from=1)
        same = Draft(system_prompt="Answer briefly.", tone="Warm.")
        assert guidelines.revise(session, embedded.assistant, same, actor="test", made_from=1).version == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tone": 3}, "tone"),
        ({"boundaries": ["", "x"]}, "boundaries.0"),
        ({"boundaries": "Never guess."}, "boundaries"),
        ({"review_due": "soon"}, "review_due"),
        ({"mood": "good"}, "mood"),
        ({"sensitive_topics": ["x" * 501]}, "sensitive_topics.0"),
    ],
)
def test_a_draft_out_of_form_names_the_field(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        guidelines.checked(fields)
    assert refused.value.param == param


def test_the_base_follows_none(embedded: House) -> None:
    with embedded.database.read() as session:
        base = assistants.get_assistant(session, "base")
    with embedded.database.write() as session, pytest.raises(InvalidInput, match="bare model"):
        guidelines.revise(session, base, Draft(tone="Warm."), actor="test")


def test_a_review_falls_due_on_its_day_and_the_doctor_says_so(embedded: House) -> None:
    today = now().date()
    for days, due in ((1, False), (0, True), (-30, True)):
        made = revise(embedded, review_due=today + timedelta(days=days))
        assert guidelines.is_review_due(made) is due
        (told,) = [found for found in doctor.examine(embedded.settings) if found.check == "guidelines"]
        assert told.ok  # a reminder is no reason not to run
        assert (f"support's should be read again since {made.review_due}" in told.finding) is due
