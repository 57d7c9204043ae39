"""Surveys: answers to the assistant's questions about a conversation. Nothing is trained on them."""

from collections.abc import Sequence
from typing import Any

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput
from feedback.policies import SurveyQuestion


def parse(questions: Sequence[SurveyQuestion], conversation_id: int, value: Any) -> Parsed:
    """`value`: `{question id: answer}`; who doesn't want to answer a question leaves it out.

    >>> asked = [SurveyQuestion(id="csat", text="How was it?", kind="csat")]
    >>> parse(asked, 7, {"csat": 4}).about
    'conversation 7'
    """
    if not questions:
        raise InvalidInput("This assistant asks no survey.", param="kind")
    known = {question.id: question for question in questions}
    if not isinstance(value, dict) or not value or not value.keys() <= known.keys():
        raise InvalidInput(
            f"A survey's `value` is {{question id: answer}} with one answer or more; the questions are "
            f"{', '.join(known)}.",
            param="value",
        )
    return Parsed({name: _answer(known[name], answer) for name, answer in value.items()}, about=about(conversation_id))


def about(conversation_id: int) -> str:
    """What a giver has one current survey on."""
    return f"conversation {conversation_id}"


def _answer(question: SurveyQuestion, answer: Any) -> int | str:
    match question.kind:
        case "csat" if type(answer) is int and 1 <= answer <= 5:
            return answer
        case "text" if isinstance(answer, str) and answer.strip():
            return answer.strip()
        case "choice" if isinstance(answer, str) and answer in question.options:
            return answer
    wanted = {"csat": "a whole number from 1 to 5", "text": "words", "choice": f"one of {', '.join(question.options)}"}
    raise InvalidInput(f"The answer to '{question.id}' is {wanted[question.kind]}.", param="value")
