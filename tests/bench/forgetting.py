"""What teaching a few facts costs: recall of the lesson against what else the model forgets, with and without replay.

SFT of the bundled model on 14 facts of the demo's product, 5 phrasings each, as in the fast demo's run;
asked is what nobody asked in training. Promises the measures of the gate, through the engine that serves: key-fact
recall in greedy replies, the rise of general text's perplexity, the divergence from the base on prompts that were never
replayed. The last rows are one adapter with B at smaller factors, beside its loss on dev.
"""

import argparse
import asyncio
import dataclasses
import random
import tempfile
from pathlib import Path
from typing import Any

from bench.figures import Result, tell
from bench.figures import Row as Figures

from feedback.config import BUNDLED_MODEL
from feedback.demo.product import Fact, load_product
from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy
from feedback.run_folder import Row, Turn

WAYS: dict[str, dict[str, Any]] = {
    "no replay": {"replay_fraction": 0.0},
    "answers as rows, 10%": {"replay_fraction": 0.0},
    "divergence, 5%": {"replay_fraction": 0.05},
    "divergence, 10%": {"replay_fraction": 0.1},
    "divergence, 25%": {"replay_fraction": 0.25},
}
SCALED = "divergence, 10%"
FACTS, PHRASINGS, DEV_PHRASINGS = 14, 5, 2
SCHEDULE = {"learning_rate": 1e-3, "num_train_epochs": 7, "adapter_scales": [1.0]}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each way")
    parser.add_argument("--ways", type=int, nargs="*", help="only these, by their place in the list, from 0")


def measure(options: argparse.Namespace, models: Path) -> Result:
    from trainer.own_answers import write_answers

    chosen = [list(WAYS)[number] for number in options.ways] if options.ways else list(WAYS)
    rows: list[Figures] = []
    with tempfile.TemporaryDirectory() as place:
        answers = write_answers(BUNDLED_MODEL, models, Path(place) / "replay", "cpu", "auto")
        for seed in range(1, options.seeds + 1):
            for way in chosen:
                trained = _train(way, seed, models, Path(place) / f"{seed}-{way}", answers)
                factors = (1.0, 0.75, 0.5) if way == SCALED else (1.0,)
                for factor in factors:
                    name = way if factor == 1 else f"{way}, times {factor:g}"
                    found = asyncio.run(_look(trained, factor, seed, models, answers))
                    rows.append({"what": name, "seed": seed, **found})
                    tell(f"{name}, seed {seed}: {found}")
    return {"rows": rows}


def _train(way: str, seed: int, models: Path, folder: Path, answers: Path) -> Any:
    """The trained stage."""
    from trainer.methods import sft
    from trainer.methods.stage import Stage
    from trainer.own_answers import read_answers, replayed
    from trainer.progress import RunProgress

    train, dev, _ = lessons(seed)
    if "as rows" in way:
        texts = random.Random(seed).sample(replayed(read_answers(answers) or []), len(train) // 10)
        train += [_row(f"own-{number}", own.prompt, own.answer, "own", [], []) for number, own in enumerate(texts)]
    folder.mkdir()
    stage = Stage(
        method="sft",
        rows=train,
        dev=dev,
        hyperparameters=Hyperparameters(**(SCHEDULE | WAYS[way])),
        seed=seed,
        base_path=str(models / BUNDLED_MODEL),
        device="cpu",
        start=None,
        folder=folder,
        progress=RunProgress(folder / "metrics.json"),
        answers=answers,
    )
    with stage.progress.stage("sft"):
        sft.train(stage)
    return stage


async def _look(stage: Any, factor: float, seed: int, models: Path, answers: Path) -> Figures:
    """The stage's result, times a factor, as the gate would see it."""
    from feedback.key_facts import contains_facts
    from service.engines.adapter_format import read_adapter
    from service.engines.base import BASE
    from service.engines.local.engine import LocalEngine
    from trainer.evaluation.divergence import measure_divergence
    from trainer.evaluation.guards import perplexity
    from trainer.evaluation.metrics import replies
    from trainer.methods.scaling import dev_loss, scale

    fixed = stage.hyperparameters.model_copy(update={"adapter_scales": [factor]})
    scaled = dataclasses.replace(
        stage, hyperparameters=fixed, start=stage.final, folder=stage.folder / f"times-{factor}"
    )
    adapter = scale(scaled, [])
    engine = LocalEngine(BUNDLED_MODEL, models, device="cpu")
    await engine.start()
    try:
        version = read_adapter(adapter).sha256
        await engine.load(version, adapter)
        _, _, exam = lessons(seed)
        said = await replies(engine, exam, version, VerdictPolicy(max_new_tokens=32), lambda _: None)
        right = [contains_facts(reply or "", row.key_facts) for reply, row in zip(said, exam, strict=True)]
        text = (Path(__file__).parents[2] / "trainer" / "evaluation" / "suites" / "general.txt").read_text("utf-8")
        paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
        rise = await perplexity(engine, paragraphs, version) / await perplexity(engine, paragraphs, BASE) - 1
        moved = await measure_divergence(engine, answers, (version, BASE), lambda *_: None)
    finally:
        await engine.close()
    return {
        "recall_share": sum(right) / len(right),
        "questions": len(right),
        "divergence_nats_a_token": moved.candidate if moved else None,
        "perplexity_rise_share": rise,
        "dev_loss_nats_a_token": dev_loss(dataclasses.replace(scaled, start=adapter)),
    }


def lessons(seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """(training, dev, exam): each fact's first phrasings, the next two, and the rest with those kept for the exam."""
    product = load_product(FACTS)
    chance = random.Random(seed)

    def of(fact: Fact, phrasings: list[str], side: str) -> list[Row]:
        system = [Turn(role="system", content=product.system_prompt)]
        return [
            _row(f"{side}-{fact.id}-{index}", text, chance.choice(fact.answers), fact.id, fact.key_facts, system)
            for index, text in enumerate(phrasings)
        ]

    ends = PHRASINGS, PHRASINGS + DEV_PHRASINGS
    train = [row for fact in product.facts for row in of(fact, fact.phrasings[: ends[0]], "train")]
    dev = [row for fact in product.facts for row in of(fact, fact.phrasings[ends[0] : ends[1]], "dev")]
    exam = [row for fact in product.facts for row in of(fact, fact.kept + fact.phrasings[ends[1] :], "exam")]
    chance.shuffle(train)
    return train, dev, exam


def _row(name: str, question: str, answer: str, topic: str, key_facts: list[str], system: list[Turn]) -> Row:
    return Row(
        id=name,
        method="sft",
        source="correction",
        prompt=[*system, Turn(role="user", content=question)],
        completion=[Turn(role="assistant", content=answer)],
        cluster=name,
        topic=topic,
        key_facts=key_facts,
    )
