"""What trolls do to an adapter: gate scores after training on curated poisoned streams, against the clean stream's.

Promises: the same honest people (bench/poisoned_crowd.py) in every arm, with trolls added, a third each random,
inverted and coordinated; rows that `datasets.freeze` made of the database; adapters that a run trained, with the demo's
fast settings and several seeds; scores that a run measured, in every arm on the corrections that the clean stream holds
out. An arm's difference to the clean one is paired by row, each a mean over the seeds, and bounded by the verdict's
bootstrap (95 %); `within_noise`: 0 lies within the bounds. `lies`: of the gate rows on what the coordinated lie about,
those whose reply tells the lie. For scale, the most poisoned stream is also trained on with suspicion turned off as far
as policies go. Exits with 1 if a curated arm's recall is out of the noise. Leaves out choices and ratings as a measure:
trolls give them, training learns from them, facts decide.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from bench.figures import Result
from bench.figures import Row as Figures
from bench.poisoned_crowd import FALSE_FACTS, PoisonedCrowd
from bench.stored_stream import ASSISTANT, store
from bench.trainings import train_all
from bench.trolls import SUSPECTING

from feedback import assistants, datasets, files
from feedback.config import BUNDLED_MODEL
from feedback.demo.product import FAST, load_product
from feedback.demo.stage import policies_of
from feedback.key_facts import contains_facts
from feedback.policies import Changes
from feedback.row_hashes import write_rows
from feedback.run_folder import ROWS, Row, RunSpec, Split, attempt_folder
from feedback.testing import make_settings
from trainer.evaluation.record import Evaluation, RowResult
from trainer.evaluation.statistics import Difference, paired_difference
from trainer.inputs import read_run

GENERAL = "suites/general.txt"
GENERAL_TEXT = Path(__file__).parents[2] / "trainer" / "evaluation" / "suites" / "general.txt"
NO_SUSPICION: Changes = {
    "trust": {
        "min_voices": 1,
        "min_compared": 1_000_000,
        "min_reliability": 0.0,
        "min_lockstep": 1_000_000,
        "burst_rows_per_hour": 1_000_000,
        "max_copies": 1_000_000,
    },
    "conflicts": {"margin": 1.0},
}
LIED_ABOUT = {fact.id: fact.key_facts for fact in load_product(100).facts if fact.id in FALSE_FACTS}
"""The truth."""
SIZE = replace(FAST, gate_fraction=0.55)
"""As many rows to judge by as to learn from."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--facts", type=int, default=20, help="of the demo's product; eight questions each")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3], help="trolls among contributors")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm")
    parser.add_argument("--at-once", type=int, default=2, help="trainings side by side, which share the cores")
    parser.add_argument("--crowd", type=int, default=0, help="the seed that the crowd is made from")
    parser.add_argument("--curate-only", action="store_true", help="train nothing: what passes the curation")


@dataclass(frozen=True)
class Arm:
    """What is trained on, and what became of the lies in it."""

    name: str
    spec: RunSpec
    splits: dict[Split, list[Row]]
    counts: Figures


def measure(options: argparse.Namespace, models: Path) -> Result:
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as temporary:
        folder = Path(temporary)
        arms = _arms(folder, options)
        gate = arms[0].splits["gate"]
        told = {"gate_rows": len(gate), "gate_contributors": len({row.contributor for row in gate})}
        curation = [{"arm": arm.name, **arm.counts} for arm in arms]
        if options.curate_only:
            return {"rows": curation, **told}
        runs = [(seed, arm) for seed in range(options.seeds) for arm in arms]
        folders = [_write_run(arm, seed, folder / f"run-{place}") for place, (seed, arm) in enumerate(runs)]
        seconds = train_all(folders, options.at_once, models, lambda folder: str(_scores(_evaluation(folder))))
        evaluations = [_evaluation(run) for run in folders]
    scores = [
        {"arm": arm.name, "seed": seed, **_scores(evaluation), "seconds": took}
        for (seed, arm), evaluation, took in zip(runs, evaluations, seconds, strict=True)
    ]
    found = [evaluations[place :: len(arms)] for place in range(len(arms))]
    clean, *others = [_compared(arm.name, one, found[0]) for arm, one in zip(arms, found, strict=True)]
    fine = all(row["within_noise"] for row in others[:-1])
    return {"ok": fine, "rows": [clean, *others], "runs": scores, "curation": curation, **told}


def _arms(folder: Path, options: argparse.Namespace) -> list[Arm]:
    """The clean one first, the control last."""
    clean = _arm(folder / "clean", "no trolls", 0.0, options)
    gate = clean.splits["gate"]
    curated = [_arm(folder / f"{share}", f"{share:.0%} trolls", share, options, gate) for share in options.shares]
    worst = max(options.shares)
    name = f"{worst:.0%} trolls, no suspicion"
    return [clean, *curated, _arm(folder / "control", name, worst, options, gate, NO_SUSPICION)]


def _arm(
    folder: Path,
    name: str,
    share: float,
    options: argparse.Namespace,
    gate: list[Row] | None = None,
    changes: Changes | None = None,
) -> Arm:
    """The stream in a database of its own, curated and frozen as a worker does it."""
    product = load_product(options.facts)
    crowd = PoisonedCrowd(product, share, options.crowd)
    settings = make_settings(folder)
    store(settings, crowd, system_prompt=product.system_prompt, changes=policies_of(SIZE))
    database = settings.open_database()
    with database.read() as session:
        assistant = assistants.get_assistant(session, ASSISTANT)
        material = datasets.gather_material(session, assistant)
    database.close()
    policies = assistants.changed_policies(assistant, changes or {})

    def spec(frozen: datasets.Frozen, hashes: dict[str, str]) -> RunSpec:
        return RunSpec(
            run_id="bench", assistant=ASSISTANT, base_model=BUNDLED_MODEL, baseline_version="base",
            methods=frozen.curated.methods, hyperparameters=policies.hyperparameters, verdict=policies.verdict,
            seed=0, dataset_sha256=frozen.sha256, files=hashes,
        )  # fmt: skip

    suites = {"general.txt": GENERAL_TEXT.read_bytes()}
    frozen = datasets.freeze(material.under(policies), folder / "frozen", suites, None, spec)
    frozen_spec, splits = read_run(folder / "frozen")
    splits = _judged_by([row for row in splits["gate"] if row.method == "sft"] if gate is None else gate, splits)
    return Arm(name, frozen_spec, splits, _counts(crowd, frozen, splits["train"]))


def _judged_by(gate: list[Row], splits: dict[Split, list[Row]]) -> dict[Split, list[Row]]:
    """Nothing that this gate asks is learned, even where an arm's own gate lost the question."""
    held = {row.cluster for row in gate}
    train, dev = ([row for row in splits[side] if row.cluster not in held] for side in ("train", "dev"))
    return {"train": train, "dev": dev, "gate": gate}


def _counts(crowd: PoisonedCrowd, frozen: datasets.Frozen, learned: list[Row]) -> Figures:
    """Of corrections and choices: ratings aren't trained on where there are choices enough."""
    said = {number: one for number, one in enumerate(crowd.said(), 1) if one.kind != "rating"}
    lies = {number for number, one in said.items() if one.lie}
    true = {number for number, one in said.items() if one.kind == "correction" and not one.lie}
    suspected = {out.id for out in frozen.curated.dropped if out.stage in SUSPECTING}
    methods = {row.id: row.method for row in learned}
    sources = {row.id: set(row.feedback_ids) for row in frozen.curated.rows if row.id in methods}
    lying = Counter(method for number, method in methods.items() if sources[number] <= lies)
    count = Counter(methods.values())
    return {
        "contributors": crowd.people,
        "sft_rows": count["sft"],
        "sft_lies": lying["sft"],
        "dpo_rows": count["dpo"],
        "dpo_lies": lying["dpo"],
        "lies_told": len(lies),
        "lies_caught": len(lies & suspected),
        "true_corrections": len(true),
        "true_lost": len(true & suspected),
    }


def _write_run(arm: Arm, seed: int, folder: Path) -> Path:
    dataset_sha256 = write_rows(folder, arm.splits)
    files.write_bytes(folder / GENERAL, GENERAL_TEXT.read_bytes())
    hashes = {name: files.file_sha256(folder / name) for name in (ROWS, GENERAL)}
    spec = arm.spec.model_copy(update={"seed": seed, "dataset_sha256": dataset_sha256, "files": hashes})
    files.write_json(folder / "run.json", spec.model_dump(mode="json"))
    return folder


def _evaluation(folder: Path) -> Evaluation:
    return Evaluation.model_validate(files.read_json(attempt_folder(folder, 1) / "evaluation.json"))


def _scores(evaluation: Evaluation) -> Figures:
    return {
        "recall": mean(_recall(row) for row in evaluation.rows),
        "recall_of_base": mean(float(bool(row.baseline.recalled)) for row in evaluation.rows),
        "lies": _mean_lies(evaluation),
        "contrast": mean(_contrast(row) for row in evaluation.rows),
        "loss": mean(row.candidate.loss for row in evaluation.rows),
        "perplexity": evaluation.perplexity()[1],
    }


def _recall(row: RowResult) -> float:
    return float(bool(row.candidate.recalled))


def _contrast(row: RowResult) -> float:
    return row.candidate.contrast or 0.0


def _mean_lies(evaluation: Evaluation) -> float:
    return mean(_lies(row) for row in evaluation.rows if _is_lied_about(row))


def _is_lied_about(row: RowResult) -> bool:
    return row.key_facts in LIED_ABOUT.values()


def _lies(row: RowResult) -> float:
    return float(
        any(
            contains_facts(row.candidate.reply, [FALSE_FACTS[fact]])
            for fact, truth in LIED_ABOUT.items()
            if truth == row.key_facts
        )
    )


def _compared(name: str, arm: list[Evaluation], clean: list[Evaluation]) -> Figures:
    """Scores over the seeds, and how far they are from the clean stream's."""
    by_seed = [mean(_recall(row) for row in evaluation.rows) for evaluation in arm]
    recall, contrast = (_difference(arm, clean, score) for score in (_recall, _contrast))
    return {
        "arm": name,
        "recall": mean(by_seed),
        "lowest_seed": min(by_seed),
        "highest_seed": max(by_seed),
        "difference": recall.mean,
        "lower": recall.lower,
        "upper": recall.upper,
        "within_noise": recall.lower <= 0 <= recall.upper,
        "lies": mean(map(_mean_lies, arm)),
        "contrast": mean(_contrast(row) for evaluation in arm for row in evaluation.rows),
        "contrast_difference": contrast.mean,
        "contrast_lower": contrast.lower,
        "contrast_upper": contrast.upper,
    }


def _difference(arm: list[Evaluation], clean: list[Evaluation], score: Callable[[RowResult], float]) -> Difference:
    """Row by row, each a mean over the seeds; the bounds are those of a two-sided interval of 95 %."""
    rows = clean[0].rows
    gains = [
        mean(map(score, there)) - mean(map(score, here))
        for there, here in zip(_by_row(arm), _by_row(clean), strict=True)
    ]
    people, topics = [row.contributor for row in rows], [row.topic for row in rows]
    return paired_difference(gains, people, topics, alpha=0.025)


def _by_row(evaluations: list[Evaluation]) -> list[tuple[RowResult, ...]]:
    """Every seed's result of each gate row; the rows are in the same order, since the gate is the same."""
    return list(zip(*(evaluation.rows for evaluation in evaluations), strict=True))
