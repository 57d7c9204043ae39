"""The exam: every fact in phrasings that nobody asked before, answered greedily by one version, over the API."""

from dataclasses import dataclass

from rich.console import Console

from feedback.demo.product import Fact, Product
from feedback.demo.stage import Stage
from feedback.demo.together import together
from feedback.key_facts import contains_facts


@dataclass(frozen=True)
class Answer:
    question: str
    expected: str
    reply: str
    right: bool


@dataclass(frozen=True)
class Exam:
    answers: list[Answer]

    @property
    def recall(self) -> float:
        return sum(answer.right for answer in self.answers) / len(self.answers)


def sit_exam(stage: Stage, product: Product, *, version: int, console: Console) -> Exam:
    asked = [(fact, text) for fact in product.facts for text in fact.kept]

    def answer(question: tuple[Fact, str]) -> Answer:
        fact, text = question
        reply = stage.chat(
            model=f"{stage.name}@{version}",
            messages=[{"role": "user", "content": text}],
            temperature=0,
            max_tokens=32,
            store=False,
        )
        words = reply["choices"][0]["message"]["content"]
        return Answer(text, fact.answers[0], words, contains_facts(words, fact.key_facts))

    return Exam(together(answer, asked, f"Exam of {stage.name}@{version}, unseen phrasings", console))
