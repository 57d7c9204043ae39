"""Conversations are found again by id or equal history; replies to one message are siblings."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlmodel import select

from feedback import assistants, conversations, releases
from feedback.errors import InvalidInput
from feedback.models import Conversation, Guidelines, Message
from feedback.states import MessageStatus
from feedback.testing import House

ASKED = [{"role": "user", "content": "Which colour?"}]
RULES = {"role": "system", "content": "Be kind."}


def begin(house: House, turn: conversations.Turn, completion_id: str, choices: int = 1) -> list[int]:
    with house.database.write() as session:
        return conversations.begin_replies(
            session,
            house.assistant,
            assistants.current_guidelines(session, house.assistant),
            [releases.live(session, house.assistant).version] * choices,
            turn,
            completion_id=completion_id,
            sampling={},
        )


def finish(house: House, message_id: int, content: str, status: MessageStatus = MessageStatus.COMPLETE) -> None:
    with house.database.write() as session:
        conversations.finish_reply(
            session, message_id, content, status, finish_reason="stop", prompt_tokens=1, completion_tokens=1
        )


def turn(house: House, messages: list[dict[str, str]], **more: Any) -> conversations.Turn:
    return conversations.Turn(messages, house.caller.api_key_id, **more)


def reply(house: House, messages: list[dict[str, str]], answer: str, **more: Any) -> Message:
    completion_id = f"c-{len(all_messages(house))}"
    (message_id,) = begin(house, turn(house, messages, **more), completion_id)
    finish(house, message_id, answer)
    return get(house, completion_id)


def get(house: House, completion_id: str, choice: int = 0) -> Message:
    with house.database.read() as session:
        return conversations.get_reply(session, None, completion_id, choice)[0]


def all_messages(house: House) -> list[Message]:
    with house.database.read() as session:
        return list(session.exec(select(Message)))


def history(house: House, message: Message) -> list[dict[str, str]]:
    with house.database.read() as session:
        return conversations.history(session, message)


def next_question(answer: str, question: str = "And why?") -> list[dict[str, str]]:
    return [*ASKED, {"role": "assistant", "content": answer}, {"role": "user", "content": question}]


def test_the_next_turn_joins_the_conversation_whose_history_it_repeats(house: House) -> None:
    first = reply(house, ASKED, "Red.")
    second = reply(house, next_question("Red."), "Because.")
    assert second.conversation_id == first.conversation_id
    assert history(house, second) == next_question("Red.")
    assert len(all_messages(house)) == 4  # nothing is stored twice


def test_another_history_key_or_person_begins_a_new_conversation(embedded: House) -> None:
    first = reply(embedded, ASKED, "Red.", contributor_id="ada")
    others = [
        reply(embedded, next_question("Blue."), "Because.", contributor_id="ada"),
        reply(embedded, next_question("Red."), "Because.", contributor_id="bob"),
        reply(embedded, next_question("Red."), "Because."),
    ]
    other_house = House(embedded.settings, embedded.database, "school")
    others.append(reply(other_house, next_question("Red."), "Because.", contributor_id="ada"))
    same = reply(embedded, next_question("Red."), "Because.", contributor_id="ada")
    assert same.conversation_id == first.conversation_id
    assert len({first.conversation_id, *(other.conversation_id for other in others)}) == 5


def test_a_conversation_id_is_enough_to_be_found_by(embedded: House) -> None:
    first = reply(embedded, ASKED, "Red.", external_id="c1")
    same = reply(embedded, [{"role": "user", "content": "Something else?"}], "Yes.", external_id="c1")
    other = reply(embedded, ASKED, "Red.", external_id="c2")
    assert same.conversation_id == first.conversation_id != other.conversation_id
    assert history(embedded, same) == [{"role": "user", "content": "Something else?"}]


def test_each_person_who_shares_a_conversation_id_has_a_conversation_of_their_own(house: House) -> None:
    people = ["ada", "bob", None]
    asked = [reply(house, ASKED, "Red.", external_id="room", contributor_id=one) for one in people]
    again = [reply(house, next_question("Red."), "So.", external_id="room", contributor_id=one) for one in people]
    assert len({one.conversation_id for one in asked}) == 3
    assert [one.conversation_id for one in again] == [one.conversation_id for one in asked]
    assert [history(house, one) for one in again] == [next_question("Red.")] * 3


def test_a_shared_system_message_alone_never_joins_two_conversations(embedded: House) -> None:
    first = reply(embedded, [RULES, *ASKED], "Red.")
    other = reply(embedded, [RULES, {"role": "user", "content": "Which size?"}], "Tall.")
    assert other.conversation_id != first.conversation_id


def test_regenerating_makes_siblings(house: House) -> None:
    begin(house, turn(house, ASKED), "two", choices=2)
    for choice in range(2):
        finish(house, get(house, "two", choice).id, f"Answer {choice}.")
    again = reply(house, ASKED, "Answer 0.")
    siblings = [get(house, "two"), get(house, "two", 1), again]
    assert len({sibling.parent_id for sibling in siblings}) == 1
    assert history(house, again) == ASKED


def test_a_reply_that_died_or_is_still_written_is_no_part_of_anyones_history(house: House) -> None:
    begin(house, turn(house, ASKED), "dead")
    with house.database.write() as session:
        assert conversations.fail_abandoned(session, older_than_seconds=-1) == 1
    assert get(house, "dead").status == MessageStatus.FAILED
    begin(house, turn(house, ASKED), "writing")
    again = reply(house, ASKED, "Red.")
    assert history(house, again) == ASKED
    assert again.parent_id == get(house, "dead").parent_id == get(house, "writing").parent_id
    assert get(house, "writing").status == MessageStatus.WRITING


def test_only_old_unfinished_replies_are_given_up(embedded: House) -> None:
    reply(embedded, ASKED, "Red.")
    begin(embedded, turn(embedded, ASKED), "young")
    with embedded.database.write() as session:
        assert conversations.fail_abandoned(session, older_than_seconds=60) == 0


def test_a_stopped_reply_can_be_gone_on_from(embedded: House) -> None:
    (message_id,) = begin(embedded, turn(embedded, ASKED), "stopped")
    finish(embedded, message_id, "Re", MessageStatus.STOPPED)
    second = reply(embedded, next_question("Re"), "d.")
    assert second.conversation_id == get(embedded, "stopped").conversation_id
    assert [message["content"] for message in history(embedded, second)] == ["Which colour?", "Re", "And why?"]


def test_no_messages_are_refused(embedded: House) -> None:
    with pytest.raises(InvalidInput) as refused:
        begin(embedded, turn(embedded, []), "none")
    assert refused.value.param == "messages"


@pytest.mark.parametrize("content", ["a\0b", "\ud800"])
def test_text_that_no_database_can_hold_is_refused(embedded: House, content: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        begin(embedded, turn(embedded, [{"role": "user", "content": content}]), "odd")
    assert refused.value.param == "messages"


@pytest.mark.parametrize("external_id", [None, "c1"])
def test_regenerating_at_once_makes_siblings_too(house: House, external_id: str | None) -> None:
    reply(house, ASKED, "Red.", external_id=external_id)
    start = Barrier(4)

    def regenerate(number: int) -> None:
        start.wait()
        begin(house, turn(house, next_question("Red."), external_id=external_id), f"again-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(regenerate, range(4)))
    assert len({get(house, f"again-{number}").parent_id for number in range(4)}) == 1


def test_one_conversation_id_begun_at_once_is_one_conversation(house: House) -> None:
    start = Barrier(4)

    def chat(number: int) -> None:
        start.wait()
        begin(house, turn(house, ASKED, external_id="c1"), f"first-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(chat, range(4)))
    with house.database.read() as session:
        assert len(session.exec(select(Conversation)).all()) == 1
    assert len({get(house, f"first-{number}").parent_id for number in range(4)}) == 1


def test_people_who_begin_one_conversation_id_at_once_have_one_each(house: House) -> None:
    start = Barrier(6)

    def chat(number: int) -> None:
        start.wait()
        begin(house, turn(house, ASKED, external_id="room", contributor_id=f"person-{number % 3}"), f"first-{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(chat, range(6)))
    with house.database.read() as session:
        people = session.exec(select(Conversation.contributor_id)).all()
    assert sorted(str(one) for one in people) == ["person-0", "person-1", "person-2"]


def test_guidelines_come_first_joined_with_the_clients_own_system_message() -> None:
    guidelines = Guidelines(system_prompt="Answer briefly.")
    assert conversations.with_guidelines(guidelines, [RULES, *ASKED]) == [
        {"role": "system", "content": "Answer briefly.\n\nBe kind."},
        *ASKED,
    ]
    assert conversations.with_guidelines(Guidelines(), ASKED) == ASKED


def test_what_was_once_kept_from_training_is_not_taught_by_a_later_turn(house: House) -> None:
    """A reply's row holds all that led to it."""
    first = reply(house, ASKED, "Red.", store=False)
    later = [reply(house, next_question("Red.", question), "So.", store=store) for question, store in
             (("Why?", None), ("And how?", True))]  # fmt: skip
    assert {one.conversation_id for one in later} == {first.conversation_id}
    assert [one.store for one in later] == [False, False]
    assert reply(house, [{"role": "user", "content": "Which size?"}], "Big.", store=True).store is True
