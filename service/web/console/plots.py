"""Numbers as points of inline SVG, 0 … 100 across and down: what templates can't work out themselves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feedback.curves import Curve
from feedback.evaluation_file import GuardMeasured
from feedback.evaluations import Judged
from feedback.verdict_report import Measured


@dataclass(frozen=True)
class Lines:
    """A training's curves."""

    method: str
    train: str
    dev: str
    low: float
    high: float
    epochs: float
    dev_points: list[tuple[float, float]]


@dataclass(frozen=True)
class Span:
    """A difference with its bounds on a line whose middle, 50, is none; `line`: what it is held against."""

    lower: float
    mean: float
    upper: float
    line: float


@dataclass(frozen=True)
class Dot:
    """One of several differences beside each other; down is worse."""

    across: float
    lower: float
    mean: float
    upper: float
    label: str


@dataclass(frozen=True)
class History:
    """How a measure's difference went, evaluation by evaluation."""

    measure: str
    zero: float
    highest: float
    lowest: float
    dots: list[Dot]


def lines(curve: Curve) -> Lines:
    train, dev = curve.scaled()
    return Lines(curve.method, _points(train), _points(dev), curve.low, curve.high, curve.epochs, curve.dev)


def spans(measures: Sequence[Measured]) -> list[Span]:
    """All on one scale, so that they can be compared.

    >>> found = dict(family="f", measure="m", decides=True, rows=1, contributors=1, tolerated=0.0)
    >>> spans([Measured(mean=0.1, lower=-0.2, upper=None, worthwhile=0.05, **found)])
    [Span(lower=0.0, mean=75.0, upper=100.0, line=62.5)]
    """
    against = [-one.tolerated if one.tolerated else one.worthwhile for one in measures]
    bounds = [bound for one in measures for bound in (one.lower, one.upper, one.mean) if bound is not None]
    most = max([0.05, *map(abs, bounds), *map(abs, against)])
    return [
        Span(_at(one.lower, most, -1), _at(one.mean, most, 0), _at(one.upper, most, 1), _at(line, most, 0))
        for one, line in zip(measures, against, strict=True)
    ]


def margin_span(measure: GuardMeasured) -> Span:
    """In margins, cut at two: a fall by one must be ruled out.

    >>> told = dict(what="", unit="", items=9, baseline=0.5, candidate=0.4, outcome="passed", margin=0.2)
    >>> margin_span(GuardMeasured(difference=-0.1, lower=-0.9, upper=0.1, **told))
    Span(lower=0.0, mean=37.5, upper=62.5, line=25.0)
    """
    most = 2 * measure.margin
    return Span(
        _at(measure.lower, most, -1),
        _at(measure.difference, most, 0),
        _at(measure.upper, most, 1),
        _at(-measure.margin, most, 0),
    )


def histories(judged: Iterable[Judged]) -> list[History]:
    """By measure, from the oldest to the newest; `judged` has the newest first."""
    found: dict[str, list[tuple[Judged, float, float, float]]] = {}
    for one in reversed(list(judged)):
        for name, told in one.measures.items():
            lower = told.mean if told.lower is None else told.lower
            upper = told.mean if told.upper is None else told.upper
            found.setdefault(name, []).append((one, lower, told.mean, upper))
    return [_history(name, told) for name, told in found.items()]


def _history(measure: str, told: Sequence[tuple[Judged, float, float, float]]) -> History:
    low = min(0.0, *(lower for _, lower, _, _ in told))
    high = max(0.0, *(upper for _, _, _, upper in told))
    spread = (high - low) or 1.0

    def down(value: float) -> float:
        return round(4 + 92 * (high - value) / spread, 2)

    dots = [
        Dot(
            across=round(100 * (place + 0.5) / len(told), 2),
            lower=down(lower),
            mean=down(mean),
            upper=down(upper),
            label=f"{one.version}: {mean:+.3f} ({lower:+.3f} … {upper:+.3f})",
        )
        for place, (one, lower, mean, upper) in enumerate(told)
    ]
    return History(measure, zero=down(0.0), highest=high, lowest=low, dots=dots)


def _points(points: Iterable[tuple[float, float]]) -> str:
    """
    >>> _points([(0.0, 1.0), (1.0, 0.0)])
    '0.0,4.0 100.0,96.0'
    """
    return " ".join(f"{100 * x:.1f},{4 + 92 * (1 - y):.1f}" for x, y in points)


def _at(value: float | None, most: float, otherwise: int) -> float:
    """0 … 100 of a line from -most to most; `otherwise`: the end that it goes to where it has no bound."""
    share = otherwise if value is None or math.isnan(value) else max(-1.0, min(1.0, value / most))
    return round(50.0 + 50 * share, 1)
