"""The report's page: readable without its run, and showing what people wrote without obeying it."""

import re
from html.parser import HTMLParser

from feedback.policies import VerdictPolicy
from feedback.states import GuardOutcome
from trainer.evaluation.analysis import groups, worst
from trainer.evaluation.page import page
from trainer.evaluation.record import Evaluation, GuardMeasure, GuardResult, Measured, RowResult, Sample
from trainer.evaluation.verdict import judge

ATTACK = "<script>alert(1)</script> & \"quotes\" '{{ 7 * 7 }}'"
METRICS = {
    "loss_history": [
        {"stage": "sft", "epoch": half / 2, "loss": 3.0 - half / 4, "dev_loss": None if half % 2 else 3.1 - half / 5}
        for half in range(7)
    ],
    "dev_rows": {"sft": 40},
}
SHEET = {
    "rows": {"train": {"sft": 60, "dpo": 0}},
    "people": {"train": {"contributors": 20, "anonymous_rows": 1, "rows_of_largest": 5}},
    "dropped": [{"items": 7}],
    "funnel": [{"stage": "received", "items_left": 90}],
    "cautions": ["Few people said much."],
}


def row(number: int) -> RowResult:
    knows = number % 3 > 0
    sides = [
        Measured(reply=ATTACK if number == 3 else "no", recalled=recalled, contrast=0.2 * recalled, loss=1.0)
        for recalled in (knows, number == 3)
    ]
    return RowResult(
        id=f"r{number}", contributor=f"c{number % 20}", cluster=f"q{number}", topic=f"t{number % 8}",
        question=ATTACK if number == 3 else "How big is it?", expected="2 litres", key_facts=["2 litres"],
        candidate=sides[0], baseline=sides[1],
    )  # fmt: skip


def evaluation() -> Evaluation:
    rows = [row(number) for number in range(80)]
    measure = GuardMeasure(
        what="own work, English", unit="nats a token", items=16, candidate=0.1, baseline=0.3, difference=-0.2,
        lower=-0.25, upper=-0.15, margin=0.1, outcome=GuardOutcome.FAILED,
    )  # fmt: skip
    guards = [
        GuardResult(name="separate_data", outcome=GuardOutcome.PASSED, detail="They share nothing."),
        GuardResult.of("sycophancy", [measure], ""),
    ]
    return Evaluation(
        run_id="run-1", assistant="support", base_model="tiny", dataset_sha256="0" * 64, candidate_version="a" * 64,
        baseline_version="base", seed=1, rows=rows, pairs=[], ratings=[], guards=guards,
        samples=[Sample(question=ATTACK, expected="x", before="y", after=ATTACK)], groups=groups(rows, []),
        worst=worst(rows), seconds={},
    )  # fmt: skip


class Tags(HTMLParser):
    """Which elements there are, and that each is closed."""

    VOID = ("meta", "line", "circle", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_what_to_do_and_why() -> None:
    found = evaluation()
    verdict = judge(found, VerdictPolicy())
    tags = Tags(page(found, verdict, METRICS, SHEET))
    assert tags.open == []
    assert "BLOCKED" in tags.text
    assert "A guard stands against it" in tags.text
    assert "key facts recalled" in tags.text
    for heading in ("Did it help?", "How sure is that?", "For whom?", "What got worse?", "What did it learn from?"):
        assert heading in tags.text
    assert "60 rows train (60 for SFT), said by 20 people; 1 rows are nobody's." in tags.text
    assert "Few people said much." in tags.text
    assert tags.seen.count("svg") == 4, "two measures, one guard's, one curve"
    assert "SFT: dev loss" in tags.text


def test_what_people_wrote_is_shown_and_not_obeyed() -> None:
    found = evaluation()
    text = page(found, judge(found, VerdictPolicy()), METRICS, SHEET)
    tags = Tags(text)
    assert "script" not in tags.seen
    assert ATTACK in tags.text
    assert "49" not in re.findall(r"'(\d+)'", tags.text)
    assert not re.search(r"(?:src|href)\s*=", text), "it needs nothing else"


def test_a_run_without_curves_or_datasheet_has_a_page_too() -> None:
    found = evaluation().model_copy(update={"rows": [], "groups": [], "worst": [], "samples": []})
    text = page(found, judge(found, VerdictPolicy()), {}, {})
    assert "Nothing was held out to tell." in text
