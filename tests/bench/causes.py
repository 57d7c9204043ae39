"""Whether the rows that taught a falsehood are named as its cause: planted ones, in an adapter that a run trained.

Promises the demo's product in its fast size, of which some facts are taught wrongly by every row about them; the
replies to held-out questions that then tell the falsehood; and where `causes_of` ranks the planted rows among all that
trained. For scale the same by words alone (TF-IDF). Exits with 1 if a planted row isn't among the first ten of nine in
ten losses.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from bench.candidates import SIZE, _frozen, _write_run
from bench.figures import Result, tell
from bench.poisoned_crowd import PoisonedCrowd
from bench.trainings import train_all

from feedback import files
from feedback.config import BUNDLED_MODEL
from feedback.demo.product import load_product
from feedback.run_folder import Row, Turn, attempt_folder
from service.engines.local.base_model import resolve_base_model
from trainer.evaluation.influence import NAMED, causes_of
from trainer.evaluation.record import Change, Evaluation
from trainer.own_suites import own_suites


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--facts", type=int, default=4, help="of the product's fourteen that are taught wrongly")
    parser.add_argument("--device", default="cpu")


def measure(options: argparse.Namespace, models: Path) -> Result:
    product = load_product(SIZE.facts)
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as temporary:
        folder = Path(temporary)
        spec, sides, _ = _frozen(folder / "product", PoisonedCrowd(product, 0.0), product.system_prompt)
        planted = {}
        topics = sorted({row.topic for row in sides["gate"] if row.method == "sft"})[: options.facts]
        for place, row in enumerate(sides["train"]):
            if row.method == "sft" and row.topic in topics:
                lie = f"The answer is {7 + topics.index(row.topic)} pink elephants."
                sides["train"][place] = row.model_copy(update={"completion": [Turn(role="assistant", content=lie)]})
                planted[row.id] = row.topic
        tell(f"{len(planted)} of {len(sides['train'])} rows are planted, about {len(topics)} facts")
        run = _write_run(folder / "run", spec, sides, {"general.txt": own_suites()["general.txt"]})
        train_all([run], 1, models)
        found = Evaluation.model_validate(files.read_json(attempt_folder(run, 1) / "evaluation.json"))
        told = [row for row in found.rows if row.topic in topics and "elephants" in row.candidate.reply]
        losses = [
            Change(
                id=row.id, question=row.question, expected=row.expected, before=row.baseline.reply,
                after=row.candidate.reply, gain=-1.0,
            )
            for row in told
        ]  # fmt: skip
        tell(f"{len(losses)} held-out replies tell a falsehood")
        causes = causes_of(
            losses, sides["gate"], sides["train"], resolve_base_model(BUNDLED_MODEL, models),
            attempt_folder(run, 1) / "adapter", options.device, spec.hyperparameters.max_length,
        )  # fmt: skip
        by_gradients = {name: [cause.row_id for cause in some] for name, some in causes.items()}
        by_words = {loss.id: _by_words(loss, sides["train"]) for loss in losses}
    topic_of = {row.id: row.topic for row in told}
    rows = [
        {
            "ranked_by": name,
            "losses": len(ranked),
            "planted_rows_of_a_fact": mean(list(planted.values()).count(topic) for topic in topics),
            "own_planted_in_the_first_ten": mean(
                sum(planted.get(row) == topic_of[loss] for row in some) for loss, some in ranked.items()
            ),
            "first_is_planted": mean(planted.get(some[0]) == topic_of[loss] for loss, some in ranked.items()),
            "losses_with_one_in_the_first_ten": mean(
                any(planted.get(row) == topic_of[loss] for row in some) for loss, some in ranked.items()
            ),
        }
        for name, ranked in (("gradients", by_gradients), ("words", by_words))
    ]
    return {"rows": rows, "ok": rows[0]["losses_with_one_in_the_first_ten"] >= 0.9}


def _by_words(loss: Change, train: Sequence[Row]) -> list[str]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [" ".join(t.content for t in [*row.prompt[-1:], *(row.completion or row.chosen or [])]) for row in train]
    words = TfidfVectorizer(sublinear_tf=True).fit(texts)
    likeness = (words.transform(texts) @ words.transform([f"{loss.question} {loss.after}"]).T).toarray().ravel()
    return [train[place].id for place in sorted(range(len(train)), key=lambda place: -likeness[place])[:NAMED]]
