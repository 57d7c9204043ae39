"""Planted liars: how many of their rows the curation catches, how many it misses, and what honest people lose by it.

Promises: a made-up stream (bench/stream.py) in which a share of the contributors are trolls, a third each: `random`
(any answer), `inverted` (the opposite of the truth) and `coordinated` (a few targets, again and again, all of them,
with false facts of their own). A lie is missed if it passes trust and conflicts; a true row is lost if one of these two
stages dropped it. Honest people are wrong, too, one time in ten. Leaves out what the remaining lies do to an adapter.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

from bench.figures import Result, Row
from bench.stream import TROLLS, Said, Shape, Stream

from feedback.contributors import side_of
from feedback.curate.items import Exchange, Item
from feedback.curate.pipeline import Curated, curate
from feedback.policies import Policies
from feedback.states import FeedbackKind

SUSPECTING = ("trust", "conflicts")
_NOT_SUSPICIOUS = (
    "the reply was corrected, which counts for more than praise",
    "the same person said something newer about the same question",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=20_000, help="pieces of feedback")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.1, 0.3], help="trolls among contributors")
    parser.add_argument("--seeds", type=int, default=5, help="streams for each share")


def measure(options: argparse.Namespace, models: Path) -> Result:
    rows = [_measure(share, options.rows, options.seeds) for share in options.shares]
    return {"rows": [row for some in rows for row in some], "streams": options.seeds}


def _measure(share: float, rows: int, seeds: int) -> list[Row]:
    counts: dict[str, list[Counter[str]]] = {kind: [] for kind in ("honest", *TROLLS)}
    for seed in range(seeds):
        stream = Stream(Shape(rows, rows // 6, trolls=share, anonymous=0.0, private=0.0, near_duplicates=0.0), seed)
        said = list(stream.said())
        curated = curate(as_items(stream, said), Policies(), "opt_out", as_of=0)
        for kind, found in _count(stream, said, curated).items():
            counts[kind].append(found)
    return [_told(share, kind, found) for kind, found in counts.items() if found]


def _told(share: float, kind: str, streams: list[Counter[str]]) -> Row:
    """Over all streams, and of the stream where it is worst."""
    found = sum(streams, Counter[str]())
    figures: Row = {"trolls": share, "contributors": kind, "rows": found["rows"], "lies": found["lies"]}
    for name, part, whole in (("lies_missed", "missed", "lies"), ("true_rows_lost", "lost", "true")):
        figures[name] = found[part] / found[whole] if found[whole] else None
        figures[f"{name}_worst"] = max((one[part] / one[whole] for one in streams if one[whole]), default=None)
    figures["held_back_for_review"] = found["review"] / found["rows"]
    return figures


def _count(stream: Stream, said: list[Said], curated: Curated) -> dict[str, Counter[str]]:
    """By kind of contributor."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    suspected = {out.id: out for out in curated.dropped if out.stage in SUSPECTING}
    for number, one in enumerate(said, 1):
        if one.kind == "comment":
            continue
        found = counts[stream.trolls.get(one.contributor or 0, "honest")]
        wrong = one.lie if one.kind == "correction" else one.good != stream.exchanges[one.exchange].good
        found["rows"] += 1
        found["lies" if wrong else "true"] += 1
        out = suspected.get(number)
        found["missed"] += wrong and out is None
        found["lost"] += not wrong and out is not None and out.reason not in _NOT_SUSPICIOUS
        found["review"] += out is not None and out.to_review
    return counts


def as_items(stream: Stream, said: list[Said]) -> list[Item]:
    """What `gather` would read."""
    policy = Policies().training
    exchanges = {
        number: (
            _exchange(2 * number, one.question, one.reply),
            _exchange(2 * number + 1, one.question, one.other or ""),
        )
        for number, one in enumerate(stream.exchanges)
    }
    items = []
    for number, one in enumerate(said, 1):
        if one.kind == "comment":
            continue
        first, second = exchanges[one.exchange]
        choice = one.kind == "preference"
        items.append(
            Item(
                number,
                FeedbackKind(one.kind),
                first if one.good or not choice else second,
                created_at=60.0 * one.minute,
                contributor=f"person-{one.contributor}",
                side=side_of(f"person-{one.contributor}", policy),
                score=(1.0 if one.good else -1.0) if one.kind == "rating" else None,
                correction=one.text or None,
                key_facts=one.key_facts,
                rejected=(second if one.good else first) if choice else None,
            )
        )
    Random(0).shuffle(items)
    return items


def _exchange(number: int, question: str, reply: str) -> Exchange:
    return Exchange(number, number // 2, (("user", question),), reply, "base")
