"""What the demo's crowd says, without the model: all of its lessons pass the curation, on both sides of the split."""

import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from sqlmodel import select

from feedback import datasets
from feedback.demo.crowd import Crowd
from feedback.demo.product import FAST, load_product
from feedback.demo.stage import policies_of
from feedback.models import Feedback
from feedback.states import FeedbackKind, Side
from feedback.testing import House, open_house

DEFAULT_TRUST = {"min_voices": 2}
GENERAL = Path(__file__).parents[2] / "trainer" / "evaluation" / "suites" / "general.txt"


class QuietStage:
    """The demo's stage as its crowd sees it: a model that knows nothing, and the real intake."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.settings = house.settings
        self.assistant = house.reload()
        self.key = SimpleNamespace(id=house.caller.api_key_id)
        self._lock = threading.Lock()

    def chat(self, messages: list[dict[str, str]], user: str, n: int, **sampling: Any) -> dict[str, Any]:
        words = messages[-1]["content"]
        texts = [f"{words} I don't know.", f"Nobody told me, I am afraid, and so I can't say: {words}"][:n]
        with self._lock:
            completion_id = self._house.reply(messages, texts, user=user)
        return {
            "id": completion_id,
            "choices": [{"index": index, "message": {"content": text}} for index, text in enumerate(texts)],
        }

    def feedback(self, completion_id: str, kind: str, value: Any, **more: Any) -> None:
        with self._lock:
            self._house.say(completion_id, kind, value, **more)


@pytest.mark.parametrize("control", [False, True])
def test_every_lesson_of_the_crowd_is_used(tmp_path: Path, *, control: bool) -> None:
    size, console = FAST, Console(quiet=True)
    with open_house(tmp_path, trust=DEFAULT_TRUST, **policies_of(size)) as house:
        crowd = Crowd(QuietStage(house), load_product(size.facts), size, control=control)  # type: ignore[arg-type]
        crowd.ask(console)
        crowd.give_feedback(console)
        with house.database.read() as session:
            said = Counter(session.exec(select(Feedback.kind)).all())
            material = datasets.gather_material(session, house.reload())
    assert said == {
        FeedbackKind.CORRECTION: len(crowd.questions),
        FeedbackKind.RATING: len(crowd.questions),
        FeedbackKind.PREFERENCE: size.choosers,
    }
    assert crowd.lessons == len(crowd.questions) + size.choosers
    curated = datasets.curate_material(material, GENERAL.read_text("utf-8").split("\n\n"))
    assert {out.stage for out in curated.dropped} <= {"compile"}, "only ratings and surplus pairs are left out"
    taught = Counter(planned.side for planned in curated.rows if planned.method == "sft")
    assert sum(taught.values()) == len(crowd.questions)
    assert min(taught[Side.TRAIN], taught[Side.GATE]) > len(crowd.questions) / 4
    assert curated.methods == ["sft", "dpo"]
