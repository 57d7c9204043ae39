"""Which line through a conversation its page shows, and what there is to choose between."""

from typing import Any

from feedback.columns import now
from feedback.own_conversations import OwnFeedback, OwnMessage, OwnThread
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus
from service.web.chat.thread import find, history, line


class Talk:
    """A conversation in short: `talk.asks("hi")`, `talk.answers(1, "hello")`."""

    def __init__(self) -> None:
        self.messages: list[OwnMessage] = []

    def asks(self, words: str, parent: int | None = None) -> int:
        return self._add("user", words, parent)

    def answers(
        self, parent: int, words: str, *, completion: str | None = None, choice: int = 0, status: str = "complete"
    ) -> int:
        number = len(self.messages)
        return self._add(
            "assistant",
            words,
            parent,
            completion_id=completion or f"chatcmpl-{number}",
            choice=choice,
            status=MessageStatus(status),
        )

    def chooses(self, number: int, **value: Any) -> None:
        chosen = OwnFeedback(
            id="fb-1", kind=FeedbackKind.PREFERENCE, value=value, comment=None, tags=[],
            status=FeedbackStatus.RECEIVED, created_at=now(),
        )  # fmt: skip
        self.messages[number].feedback.append(chosen)

    @property
    def thread(self) -> OwnThread:
        return OwnThread(id="page-1", assistant="support", title="", created_at=now(), messages=self.messages)

    def _add(self, role: str, words: str, parent: int | None, **more: Any) -> int:
        fields = {"completion_id": None, "choice": 0, "status": MessageStatus.COMPLETE} | more
        number = len(self.messages)
        self.messages.append(
            OwnMessage(
                role=role, content=words, created_at=now(), parent=parent, number=number, model=None, learnable=True,
                feedback=[], **fields,
            )
        )  # fmt: skip
        return number


def told(talk: Talk) -> list[tuple[str, list[str], list[str]]]:
    return [
        (turn.question.content, [one.content for one in turn.replies], [one.content for one in turn.others])
        for turn in line(talk.thread)
    ]


def test_a_conversation_is_shown_from_its_first_message_on() -> None:
    talk = Talk()
    talk.answers(talk.asks("a"), "1")
    talk.answers(talk.asks("b", 1), "2")
    assert told(talk) == [("a", ["1"], []), ("b", ["2"], [])]


def test_two_answers_to_the_last_message_wait_for_a_choice() -> None:
    talk = Talk()
    asked = talk.asks("a")
    for words in ("1", "2", "3"):
        talk.answers(asked, words)
    assert told(talk) == [("a", ["2", "3"], ["1"])]
    assert line(talk.thread)[0].to_choose


def test_the_chosen_answer_is_shown_alone() -> None:
    talk = Talk()
    asked = talk.asks("a")
    first = talk.answers(asked, "1")
    talk.answers(asked, "2")
    talk.chooses(first)
    assert told(talk) == [("a", ["1"], ["2"])]


def test_a_conversation_that_went_on_from_an_answer_shows_that_one() -> None:
    talk = Talk()
    asked = talk.asks("a")
    first = talk.answers(asked, "1")
    talk.answers(asked, "2")
    talk.answers(talk.asks("b", first), "3")
    assert told(talk) == [("a", ["1"], ["2"]), ("b", ["3"], [])]


def test_an_answer_that_broke_off_is_not_chosen_between() -> None:
    talk = Talk()
    asked = talk.asks("a")
    talk.answers(asked, "1")
    talk.answers(asked, "", status="failed")
    assert told(talk) == [("a", [""], ["1"])]


def test_two_of_one_completion_are_blind() -> None:
    talk = Talk()
    asked = talk.asks("a")
    talk.answers(asked, "1", completion="cmp-1")
    talk.answers(asked, "2", completion="cmp-1", choice=1)
    (turn,) = line(talk.thread)
    assert turn.blind
    assert turn.to_choose


def test_a_question_without_an_answer_is_shown_too() -> None:
    talk = Talk()
    talk.asks("a")
    assert told(talk) == [("a", [], [])]


def test_a_history_leads_to_its_message_through_its_own_answers() -> None:
    talk = Talk()
    asked = talk.asks("a")
    first = talk.answers(asked, "1")
    talk.answers(asked, "2")
    last = talk.answers(talk.asks("b", first), "3")
    said = [message["content"] for message in history(talk.thread, talk.messages[last])]
    assert said == ["a", "1", "b", "3"]
    assert find(talk.thread, f"chatcmpl-{last}", 0) is talk.messages[last]
    assert find(talk.thread, "chatcmpl-9", 0) is None
