"""The pipeline: what people said in, rows for training and judging out, with a reason for everything dropped.

Pure: no database, no clock, no files. The same items and policy give the same rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from feedback.curate.compile import Compiled, Prompt, compile_rows, leave_out_untrained, methods_for
from feedback.curate.conflicts import conflicts
from feedback.curate.consent import consent
from feedback.curate.duplicates import duplicates
from feedback.curate.items import Dropped, Item, Stage
from feedback.curate.quality import quality
from feedback.curate.split import split
from feedback.policies import TrainingPolicy
from feedback.run_folder import Method


@dataclass(frozen=True)
class Curated:
    rows: list[Compiled]
    methods: list[Method]
    dropped: list[Dropped]
    funnel: list[tuple[str, int]]
    """(stage, items left after it), in order; the first is what came in."""


def curate(items: Iterable[Item], policy: TrainingPolicy, consent_policy: str, prompt: Prompt) -> Curated:
    stages: list[tuple[str, Stage]] = [
        ("consent", lambda items: consent(items, consent_policy)),
        ("quality", quality),
        ("conflicts", conflicts),
        ("duplicates", duplicates),
        ("split", lambda items: split(items, policy)),
    ]
    kept = list(items)
    dropped: list[Dropped] = []
    funnel = [("received", len(kept))]
    for name, stage in stages:
        kept, out = stage(kept)
        dropped += out
        funnel.append((name, len(kept)))
    rows, out = compile_rows(kept, policy, prompt)
    methods = methods_for(rows, policy)
    rows, untrained = leave_out_untrained(rows, methods, policy)
    return Curated(rows, methods, dropped + out + untrained, funnel)
