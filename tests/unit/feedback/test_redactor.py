"""A conversation without what identifies people: the same placeholder for the same value, and nothing else touched."""

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identifiers import MAKERS, make
from test_identifiers import TEXTS

from feedback.identifiers.find import Found, Kind, find
from feedback.identifiers.redactor import Redactor

PLACEHOLDER = re.compile(r"\[[A-Z_]+_[0-9]+\]")
CONVERSATIONS = st.lists(TEXTS, max_size=4)


def test_the_same_value_has_the_same_placeholder_in_all_texts() -> None:
    texts = [
        "I'm Ada@Example.org, phone +86 138-1234-5678.",
        "Hello! I'll write to ada@example.org and bob@example.org.",
        "打13812345678或者发邮件到bob@example.org。",
    ]
    redacted, counts = Redactor().redact(texts)
    assert redacted == [
        "I'm [EMAIL_1], phone [PHONE_1].",
        "Hello! I'll write to [EMAIL_1] and [EMAIL_2].",
        "打[PHONE_1]或者发邮件到[EMAIL_2]。",
    ]
    assert counts == Counter({Kind.EMAIL: 4, Kind.PHONE: 2})


def test_a_redactor_remembers_its_conversation() -> None:
    redactor = Redactor()
    assert redactor.redact(["ada@example.org"])[0] == ["[EMAIL_1]"]
    assert redactor.redact(["bob@example.org and ada@example.org"])[0] == ["[EMAIL_2] and [EMAIL_1]"]
    assert Redactor().redact(["bob@example.org"])[0] == ["[EMAIL_1]"]


def test_a_text_without_identifiers_is_returned_itself() -> None:
    text = "".join(["nothing ", "here, in 2003"])
    (redacted,), counts = Redactor().redact([text])
    assert redacted is text
    assert counts == Counter()


def test_placeholders_that_were_there_are_not_given_to_others() -> None:
    texts = ["Then [EMAIL_2] wrote", "to ada@example.org"]
    assert Redactor().redact(texts)[0] == ["Then [EMAIL_2] wrote", "to [EMAIL_3]"]


def test_secrets_keep_their_surroundings() -> None:
    text = "DB_PASSWORD=hunter2 at postgresql://app:hunter2@db.example.com/x"
    assert Redactor().redact([text])[0] == ["DB_PASSWORD=[SECRET_1] at postgresql://[SECRET_2]@db.example.com/x"]


def test_what_touched_another_is_found_once_that_is_gone() -> None:
    """The letter before a + makes it a sign; a bracket doesn't."""
    text = "ada@example.org+493012345678"
    assert [one.kind for one in find(text)] == [Kind.EMAIL]
    assert Redactor().redact([text])[0] == ["[EMAIL_1][PHONE_1]"]


def test_another_finder_can_add_kinds_and_never_reads_into_placeholders() -> None:
    def names(text: str) -> list[Found]:
        words = re.finditer("[A-Z][A-Za-z]+", text)
        return [Found(Kind.NAME, *match.span(), match[0].casefold()) for match in words]

    assert Redactor(names).redact(["then Ada said [EMAIL_1]", "hello Ada"])[0] == [
        "then [NAME_1] said [EMAIL_1]",
        "hello [NAME_1]",
    ]


@given(CONVERSATIONS)
def test_redacting_what_was_redacted_changes_nothing(texts: list[str]) -> None:
    redactor = Redactor()
    redacted, _ = redactor.redact(texts)
    for again in (redactor, Redactor()):
        assert again.redact(redacted) == (redacted, Counter())


@given(CONVERSATIONS)
def test_nothing_but_identifiers_changes(texts: list[str]) -> None:
    redacted, counts = Redactor().redact(texts)
    for before, after in zip(texts, redacted, strict=True):
        place = 0
        for left in PLACEHOLDER.split(after):
            place = before.index(left, place) + len(left)
        assert before is not after or not find(before)
        assert len(texts) > 1 or before is after or find(before)  # else another text may have told of it
    assert sum(counts.values()) == 0 or redacted != texts


@given(CONVERSATIONS, st.randoms(use_true_random=False))
def test_what_is_found_does_not_depend_on_the_order_of_the_texts(texts: list[str], random: Random) -> None:
    shuffled = random.sample(texts, len(texts))
    (one, counts), (other, same_counts) = Redactor().redact(texts), Redactor().redact(shuffled)

    def shapes(redacted: list[str]) -> list[str]:
        return sorted(re.sub(r"_[0-9]+\]", "]", text) for text in redacted)

    assert shapes(one) == shapes(other)
    assert counts == same_counts


@given(st.integers(0, 2**32), st.sampled_from(["email", "phone", "resident_id", "company_id", "card", "iban", "ip"]))
def test_an_identifier_has_one_placeholder_in_every_sentence(seed: int, kind: str) -> None:
    written = MAKERS[kind](Random(seed))
    framed = written.frame.format(written.text)
    texts = [f"({framed})", f"看{framed}", f"It was {framed}, I think."]
    redacted, _ = Redactor().redact(texts)
    if find(texts[0]):
        assert {mark for text in redacted for mark in PLACEHOLDER.findall(text)} == {f"[{kind.upper()}_1]"}


def test_ten_thousand_sentences_lose_their_identifiers() -> None:
    """End to end: what was set into a sentence isn't in the redacted one."""
    random = Random(0)
    sentences = [make(kind, random) for kind in MAKERS for _ in range(200)]
    redacted = [Redactor().redact([sentence.text])[0][0] for sentence in sentences]
    left = [s.text for s, text in zip(sentences, redacted, strict=True) if s.text[s.start : s.end] in text]
    assert len(left) <= len(sentences) / 100, left


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ("Call me at 5551234.", "555-1234, right?"),
        ("My password is hunter2!x", "I noted hunter2!x."),
        ("My address is 12 maple street", "So it's 12 Maple Street then."),
        ("my SSN is 123 45 6789", "123456789 it is"),
    ],
)
def test_what_one_text_tells_is_replaced_where_another_only_repeats_it(told: str, again: str) -> None:
    """In whatever order they come."""
    one, other = Redactor().redact([told, again])[0]
    assert PLACEHOLDER.findall(one) == PLACEHOLDER.findall(other) != []
    assert not find(again), "the words beside it tell nothing"
    assert sorted(Redactor().redact([again, told])[0]) == sorted([one, other])


@pytest.mark.parametrize(
    "texts",
    [
        ["86-136-4184-5391", "186-136-4184-5391"],
        ["+40(0)215165198", "++40(0)215165198"],
        ["Call me at 5551234 or 15551234.", "5551234"],
        ["my password is hunter2!x", "my password is correct-horse7!battery", "hunter2!x"],
    ],
)
def test_a_value_at_the_very_end_of_a_text_is_found_again(texts: list[str]) -> None:
    assert re.search(PLACEHOLDER.pattern + "$", Redactor().redact(texts)[0][-1])


def test_only_whole_repeats_are_replaced_and_plain_words_keep_their_meaning() -> None:
    texts = ["Call me at 5551234.", "95551234 or 5551234x", "the password is 'water'", "Drink more water."]
    redacted = Redactor().redact(texts)[0]
    assert (redacted[1], redacted[3]) == (texts[1], texts[3])


@pytest.mark.parametrize("typed", ["[PHONE_999999]", "[PHONE_1000000]", "[PHONE_999999999]", "[CARD_9999999999]"])
def test_no_typed_placeholder_keeps_a_redactor_busy_for_ever(typed: str) -> None:
    text = f"{typed} call +44 20 7946 0958 or pay 4111 1111 1111 1111"
    (redacted,), _ = Redactor().redact([text])
    assert "7946" not in redacted
    assert "4111" not in redacted
    assert Redactor().redact([redacted]) == ([redacted], Counter())


def test_a_long_row_of_identifiers_that_hide_each_other_takes_no_longer_than_its_length() -> None:
    calls = 0

    def finder(text: str) -> list[Found]:
        nonlocal calls
        calls += 1
        return find(text)

    (redacted,), _ = Redactor(finder).redact(["123-45-6789 " * 500])
    assert calls < 50
    assert "6789" not in redacted
