"""The exam: every fact in phrasings that nobody asked before, answered greedily by one version, over the API."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from feedback.curate.items import normalise
from feedback.demo.product import Product
from feedback.demo.stage import Stage


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


def knows(reply: str, key_facts: list[str]) -> bool:
    return all(f" {normalise(fact)} " in f" {normalise(reply)} " for fact in key_facts)


def sit_exam(stage: Stage, product: Product, *, version: int, console: Console) -> Exam:
    asked = [(fact, text) for fact in product.facts for text in fact.kept]

    def answer(index: int) -> Answer:
        fact, text = asked[index]
        reply = stage.chat(
            model=f"{stage.name}@{version}",
            messages=[{"role": "user", "content": text}],
            temperature=0,
            max_tokens=32,
            store=False,
        )
        words = reply["choices"][0]["message"]["content"]
        return Answer(text, fact.answers[0], words, knows(words, fact.key_facts))

    with ThreadPoolExecutor(16) as pool:
        done = pool.map(answer, range(len(asked)))
        what = f"Exam of {stage.name}@{version}, unseen phrasings"
        return Exam(list(track(done, what, total=len(asked), console=console)))
