"""What `burnish bench train` measures: one method on the same rows, as a run trains them or as plain TRL does.

    python tests/bench/train_child.py METHOD ours|trl|trl-float32 ROWS SEED conversations|questions
    python tests/bench/train_child.py METHOD ours|trl|trl-float32 ROWS SEED FILE LONGEST

Prints one line of JSON. A process of its own, so that its peak memory is that of one way alone.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    import os

    from bench.training_rows import KINDS, rows_of_choices
    from transformers import AutoTokenizer

    from feedback.config import BUNDLED_MODEL
    from feedback.hyperparameters import Hyperparameters
    from feedback.run_folder import Method
    from trainer.methods.stage import Stage
    from trainer.progress import RunProgress

    method, way = cast(Method, sys.argv[1]), sys.argv[2]
    count, seed = int(sys.argv[3]), int(sys.argv[4])
    models = Path(os.environ.get("BURNISH_MODELS_FOLDER", ".burnish/models"))
    base_path = str(models / BUNDLED_MODEL)
    if len(sys.argv) > 6:
        tokenizer = AutoTokenizer.from_pretrained(base_path)
        taken = rows_of_choices(method, count, Path(sys.argv[5]), tokenizer, int(sys.argv[6]))
    else:
        taken = KINDS[sys.argv[5]](method, count)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(
            method=method,
            rows=taken,
            dev=[],
            hyperparameters=Hyperparameters(num_train_epochs=1, preference_epochs=1),
            seed=seed,
            base_path=base_path,
            device="cpu",
            start=None,
            folder=Path(folder),
            progress=RunProgress(Path(folder) / "metrics.json"),
        )
        print(json.dumps(measured(stage, way)))


def measured(stage: Any, way: str) -> dict[str, Any]:
    """Losses and gradient norms of all steps; seconds from the reference's first pass to the last step."""
    from importlib import import_module

    with stage.progress.stage(stage.method):
        ours = import_module(f"trainer.methods.{stage.method}").build
        trainer = ours(stage) if way == "ours" else plain(stage, exact=way == "trl-float32")
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began + getattr(trainer, "reference_seconds", 0.0)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "tokens": int(trainer._total_train_tokens),
        "seconds": seconds,
        "losses": [entry["loss"] for entry in steps],
        "grad_norms": [entry["grad_norm"] for entry in steps],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def plain(stage: Any, *, exact: bool = False) -> Any:
    """TRL as it comes, on the same tokens, made as good as its settings allow: bf16 base, no gradient checkpointing.

    `exact`: in float32, on the same weights.
    """
    import random
    from importlib import import_module

    import trl
    from datasets import Dataset

    from trainer.methods.kto import balance, mismatched
    from trainer.methods.stage import arguments, load_model

    name = stage.method.upper()
    ours = import_module(f"trainer.methods.{stage.method}")
    model, tokenizer = load_model(stage)
    if exact:
        model.float()
    data = ours.tokenized(stage.rows, tokenizer)
    chosen = stage.hyperparameters
    epochs = chosen.num_train_epochs if stage.method == "sft" else chosen.preference_epochs
    own: dict[str, Any] = {"learning_rate": chosen.learning_rate}
    if stage.method != "sft":
        own = {"learning_rate": chosen.preference_learning_rate, "beta": chosen.beta}
    if stage.method == "dpo":
        own |= {
            "loss_type": [chosen.dpo_loss, "sft"],
            "loss_weights": [1.0, chosen.sft_weight],
            "label_smoothing": chosen.label_smoothing,
        }
    if stage.method == "kto":
        random.Random(stage.seed).shuffle(data)
        liked = sum(row["label"] for row in data)
        own |= balance(liked, len(data) - liked)
        own |= {"loss_type": chosen.kto_loss, "train_sampling_strategy": "sequential"}
        data = mismatched(data, chosen.per_device_train_batch_size)

    class Tokenized(getattr(trl, f"{name}Trainer")):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    return Tokenized(
        model=model,
        args=arguments(stage, model, getattr(trl, f"{name}Config"), num_train_epochs=epochs, save_strategy="no", **own),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    main()
