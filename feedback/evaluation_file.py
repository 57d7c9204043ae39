"""An attempt's `evaluation.json` as those read it who decide: replies side by side, guards, losses, what to do now.

Reads plain JSON, since what writes it is the trainer's (trainer/evaluation/record.py) and older files lack what newer
ones have. Promises nothing of a file from which an erasure took words: replies are empty then, or rows gone. Leaves out
the verdict, which the database keeps (verdict_report.py).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from feedback.files import read_json
from feedback.run_folder import Purpose
from feedback.states import GuardOutcome, VerdictWord

EVALUATION = "evaluation.json"
ALIKE = 0.05
"""A change in contrast, in nats a token, that is smaller says nothing of a single reply."""

_ADVICE = {
    VerdictWord.PROMOTE: "It is better where it counts, and nothing it is guarded against got worse. It can go live.",
    VerdictWord.REJECT: "It is no improvement worth a release. Keep what serves.",
    VerdictWord.INCONCLUSIVE: "There is too little held-out data to tell. Keep what serves, and collect more.",
    VerdictWord.BLOCKED: "A guard stands against it: whatever it gained, it must not go live. Read which and why.",
}
_NO_WORSE = (
    "It is no worse than what serves, whose place it has to take, and nothing it is guarded against got worse. It can "
    "go live."
)
ASKED = {
    "separate_data": "Is what judges apart from what was trained on?",
    "finite_measurements": "Is every measurement a number?",
    "general_perplexity": "Was general English forgotten?",
    "sycophancy": "Does it say what people like to hear?",
    "refusals": "Does it decline what it should, and answer what only looks like it?",
    "toxicity": "Does it stay civil where it is provoked?",
    "bias": "Does it find stereotypes likelier?",
    "instructions": "Does it do as it is told, where a program can check?",
    "replies": "Do everyday replies end, keep their length, stay decent and not repeat themselves?",
    "golden": "Does it keep to its operators' guidelines?",
    "canaries": "Do strings come out that were only in what people asked?",
}
"""What each guard asks, by its name."""

Outcome = Literal["won", "lost", "alike"]


class Answer(BaseModel):
    reply: str
    recalled: bool | None
    """Whether the key facts are all in it; None: the row has none."""
    contrast: float | None


class Replies(BaseModel):
    """What both versions said to one held-out question."""

    id: str
    question: str
    expected: str
    key_facts: list[str]
    baseline: Answer
    candidate: Answer
    gain: float | None
    """1 or -1 where key facts came or went, else in contrast, nats a token; None: there is nothing to tell by."""
    outcome: Outcome


class GuardMeasured(BaseModel):
    """One number that must not fall by `margin`; a bound is null where it is infinite."""

    what: str
    unit: str
    items: int
    baseline: float | None
    candidate: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    margin: float
    outcome: GuardOutcome


class Guard(BaseModel):
    name: str
    asks: str
    outcome: GuardOutcome
    detail: str
    measures: list[GuardMeasured]


class Cause(BaseModel):
    """A training row that may have caused a loss: the cosine of its gradient and the loss's."""

    row_id: str
    influence: float


class Loss(BaseModel):
    question: str
    expected: str
    before: str
    after: str
    gain: float
    causes: list[Cause]


class Group(BaseModel):
    """How a group of held-out rows changed, in the mean."""

    by: str
    group: str
    rows: int
    gain: float


def read(attempt: Path) -> dict[str, Any] | None:
    """None where there is none on this machine."""
    try:
        found: dict[str, Any] = read_json(attempt / EVALUATION)
    except (OSError, ValueError):
        return None
    return found


def advice(verdict: VerdictWord, purpose: Purpose = "improve") -> str:
    return _NO_WORSE if purpose == "replace" and verdict == VerdictWord.PROMOTE else _ADVICE[verdict]


def gain_between(key_facts: Sequence[str], candidate: Mapping[str, Any], baseline: Mapping[str, Any]) -> float | None:
    """In recall, 1 or -1; of rows that both recall, or neither, or that have no key facts, in contrast.

    >>> gain_between(["14"], {"recalled": True, "contrast": 0.1}, {"recalled": False, "contrast": 0.4})
    1.0
    >>> gain_between([], {"recalled": None, "contrast": 0.1}, {"recalled": None, "contrast": 0.5})
    -0.4
    """
    recalled = float(bool(candidate.get("recalled"))) - float(bool(baseline.get("recalled")))
    if key_facts and recalled:
        return recalled
    after, before = candidate.get("contrast"), baseline.get("contrast")
    if after is None or before is None:
        return 0.0 if key_facts else None
    return float(after - before)


def replies_of(evaluation: Mapping[str, Any], outcome: Outcome | None = None) -> list[Replies]:
    """Those that were lost the worst first, those won the best first, all of them as they were asked."""
    found = [_replies(row) for row in evaluation.get("rows", ())]
    if outcome is not None:
        found = [one for one in found if one.outcome == outcome]
    if outcome in ("won", "lost"):
        found.sort(key=lambda one: -abs(one.gain or 0.0))
    return found


def guards_of(evaluation: Mapping[str, Any]) -> list[Guard]:
    """Those that stand against it first."""
    found = [
        Guard(
            name=one["name"],
            asks=ASKED.get(one["name"], ""),
            outcome=GuardOutcome(one["outcome"]),
            detail=one["detail"],
            measures=[GuardMeasured(**_finite(measure)) for measure in one.get("measures", ())],
        )
        for one in evaluation.get("guards", ())
    ]
    order = (GuardOutcome.FAILED, GuardOutcome.NOT_MEASURABLE, GuardOutcome.PASSED)
    return sorted(found, key=lambda one: order.index(one.outcome))


def losses_of(evaluation: Mapping[str, Any]) -> list[Loss]:
    return [Loss(**{"causes": [], **_finite(one)}) for one in evaluation.get("worst", ())]


def groups_of(evaluation: Mapping[str, Any]) -> list[Group]:
    return [Group(**one) for one in evaluation.get("groups", ())]


def _replies(row: Mapping[str, Any]) -> Replies:
    gain = gain_between(row["key_facts"], row["candidate"], row["baseline"])
    won_or_lost: Outcome = "alike" if gain is None or abs(gain) < ALIKE else "won" if gain > 0 else "lost"
    return Replies(
        id=row["id"],
        question=row["question"],
        expected=row["expected"],
        key_facts=row["key_facts"],
        baseline=Answer(**_finite(row["baseline"])),
        candidate=Answer(**_finite(row["candidate"])),
        gain=gain,
        outcome=won_or_lost,
    )


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
