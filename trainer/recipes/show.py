"""What a recipe's runs found: a table for people, one object for programs.

Promises that every number is a mean over the seeds with its range beside it. Leaves out measuring.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trainer.evaluation.record import RowResult
from trainer.recipes.recipe import Loaded
from trainer.recipes.run import Scores, SeedResult

LANGUAGES = {"en": "English", "zh": "Chinese"}
SAMPLES_PER_LANGUAGE = 2
_PIPED_COLUMNS = 200
_WHOLE = 2.0
"""Metrics above it (BLEU, perplexity) are shown with one digit, shares with two."""


def findings(loaded: Loaded, base_model: str, results: Sequence[SeedResult]) -> dict[str, Any]:
    """Everything, as plain values for JSON."""
    return {
        "recipe": loaded.name,
        "title": loaded.recipe.title,
        "base_model": base_model,
        "sizes": loaded.sizes(),
        "metrics": [
            {
                "metric": metric,
                "language": language,
                "lower_is_better": metric in loaded.recipe.lower_is_better,
                "before": spread([one.before for one in results], language, metric),
                "after": spread([one.after for one in results], language, metric),
            }
            for language, scores in results[0].after.items()
            for metric in scores
        ],
        "seeds": [
            {
                "seed": one.seed,
                "general_perplexity": dict(zip(("before", "after"), one.general_perplexity, strict=True)),
                "seconds": one.seconds,
                "folder": str(one.folder),
            }
            for one in results
        ],
        "samples": [
            {
                "prompt": row.question,
                "expected": row.expected,
                "before": row.baseline.reply,
                "after": row.candidate.reply,
            }
            for row in samples(loaded, results[0].rows)
        ],
    }


def spread(scores: Sequence[Scores], language: str, metric: str) -> dict[str, float]:
    values = [one[language][metric] for one in scores]
    return {"mean": fmean(values), "min": min(values), "max": max(values)}


def samples(loaded: Loaded, rows: Sequence[RowResult]) -> list[RowResult]:
    """The first held-out rows in each language, whatever became of them: chosen by nobody."""
    chosen: list[RowResult] = []
    language_of = {example.id: example.language for example in loaded.sides["gate"]}
    for language in dict.fromkeys(language_of.values()):
        chosen += [row for row in rows if language_of[row.id] == language][:SAMPLES_PER_LANGUAGE]
    return chosen


def print_findings(found: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_COLUMNS)
    sizes = "; ".join(
        f"{side.replace('_', ' ')} " + ", ".join(f"{count} {name(language)}" for language, count in counted.items())
        for side, counted in found["sizes"].items()
    )
    console.print(f"[bold]{escape(found['title'])}[/bold]\n{escape(found['base_model'])}; {sizes}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, justify in (("metric", "left"), ("language", "left"), ("before", "right"), ("after", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for one in found["metrics"]:
        label = one["metric"] + (" (lower is better)" if one["lower_is_better"] else "")
        table.add_row(label, name(one["language"]), figure(one["before"]), figure(one["after"]))
    console.print(table)
    for one in found["seeds"]:
        took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in one["seconds"].items())
        general = "perplexity of general text {before:.1f} → {after:.1f}".format(**one["general_perplexity"])
        line = f"seed {one['seed']}: {took}; {general}; {escape(one['folder'])}"
        console.print(line, highlight=False, soft_wrap=True)
    for one in found["samples"]:
        console.print()
        for label in ("prompt", "before", "after"):
            console.print(f"[dim]{label:>6}[/dim]  {escape(one[label].strip())}", highlight=False)


def figure(value: dict[str, float]) -> str:
    """
    >>> figure({"mean": 0.5, "min": 0.25, "max": 0.75}), figure({"mean": 31.25, "min": 31.25, "max": 31.25})
    ('0.50 (0.25–0.75)', '31.2')
    """
    digits = 1 if abs(value["mean"]) > _WHOLE else 2
    if value["min"] == value["max"]:
        return f"{value['mean']:.{digits}f}"
    return f"{value['mean']:.{digits}f} ({value['min']:.{digits}f}–{value['max']:.{digits}f})"


def name(language: str) -> str:
    return LANGUAGES.get(language, language)
