"""The people: each asks in words of their own, rates what comes, corrects it, and some choose between two replies.

Nobody asks what another one asked in the same words, and nobody asks the exam's questions.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from feedback import contributors
from feedback.assistants import policies
from feedback.demo.product import Fact, Product, Size
from feedback.demo.stage import Stage
from feedback.demo.together import together
from feedback.key_facts import contains_facts
from feedback.states import Side


@dataclass
class Question:
    person: str
    fact: Fact
    text: str
    two_replies: bool = False
    reply: dict[str, Any] = field(default_factory=dict)
    lesson: tuple[str, list[str]] = ("", [])  # (what the person says is right, its key facts)


class Crowd:
    def __init__(self, stage: Stage, product: Product, size: Size, *, control: bool) -> None:
        self._stage = stage
        chance = random.Random(7)  # noqa: S311  a demo that can be repeated
        asked = [(fact, text) for fact in product.facts for text in fact.phrasings[: size.phrasings]]
        chance.shuffle(asked)
        self.questions = [
            Question(f"person-{index // size.questions_per_person}", fact, text)
            for index, (fact, text) in enumerate(asked)
        ]
        for question in self.questions:
            question.lesson = (chance.choice(question.fact.answers), question.fact.key_facts)
        for question in chance.sample(self.questions, size.choosers):
            question.two_replies = True
        if control:
            self._shuffle_lessons(chance)

    @property
    def people(self) -> int:
        return len({question.person for question in self.questions})

    @property
    def lessons(self) -> int:
        """Corrections and choices that will be given."""
        wrong = sum(not self._is_right(question) for question in self.questions)
        return wrong + sum(self._has_choice(question) for question in self.questions)

    def ask(self, console: Console) -> None:
        together(self._ask_one, self.questions, f"{self.people} people ask", console)

    def give_feedback(self, console: Console) -> None:
        together(self._answer_one, self.questions, "They rate, correct, choose", console)

    def _ask_one(self, question: Question) -> None:
        question.reply = self._stage.chat(
            messages=[{"role": "user", "content": question.text}],
            user=question.person,
            n=2 if question.two_replies else 1,
            temperature=0.8,
            seed=len(question.text),
            max_tokens=24,
        )

    def _answer_one(self, question: Question) -> None:
        about = {"completion_id": question.reply["id"], "user": question.person}
        right = self._is_right(question)
        self._stage.feedback(**about, kind="rating", value=1 if right else -1)
        if self._has_choice(question):
            # everybody in this crowd likes the shorter reply better
            better, worse = sorted(question.reply["choices"], key=lambda choice: len(choice["message"]["content"]))
            value = {"rejected": {"choice": worse["index"]}}
            self._stage.feedback(**about, kind="preference", choice=better["index"], value=value)
        if not right:
            content, key_facts = question.lesson
            self._stage.feedback(**about, kind="correction", value={"content": content, "key_facts": key_facts})

    def _is_right(self, question: Question) -> bool:
        return contains_facts(question.reply["choices"][0]["message"]["content"], question.fact.key_facts)

    def _has_choice(self, question: Question) -> bool:
        return len({choice["message"]["content"] for choice in question.reply["choices"]}) == 2

    def _shuffle_lessons(self, chance: random.Random) -> None:
        """Everybody but the gate's people gives somebody else's correction: right words, wrong question."""
        taught = [question for question in self.questions if self._side(question) != Side.GATE]
        lessons = [question.lesson for question in taught]
        while any(lesson[1] == question.fact.key_facts for lesson, question in zip(lessons, taught, strict=True)):
            chance.shuffle(lessons)
            _untangle(lessons, taught)
        for question, lesson in zip(taught, lessons, strict=True):
            question.lesson = lesson

    def _side(self, question: Question) -> Side:
        stage = self._stage
        identity = contributors.contributor_id(
            stage.settings.read_secret(), stage.assistant.id, stage.key.id, question.person
        )
        return contributors.side_of(identity, policies(stage.assistant).training)


def _untangle(lessons: list[tuple[str, list[str]]], taught: list[Question]) -> None:
    """Swap away the lessons that a shuffle left on their own question."""
    for index, question in enumerate(taught):
        if lessons[index][1] == question.fact.key_facts:
            other = (index + 1) % len(taught)
            lessons[index], lessons[other] = lessons[other], lessons[index]
