"""A small search for hyperparameters: so many trials, of which dev keeps the best (`search_trials`; 0: no search).

Corrections are searched for learning rate, epochs and rank by their loss on dev, with successive halving (Li et al.
2018, arXiv:1810.05934): after epochs 1, 2, 4 … a trial in the worse half of those that came as far is given up.
Choices are searched for learning rate, epochs and beta by how many dev gets right, for losses under different betas
can't be compared. The first trial is the settings as they are, so that a search never ends worse on dev than none.

Promises: every trial's settings, curve and result stay in the attempt's folder; after a kill or a full disk the search
goes on with the trial that was under way. Leaves out forgetting (the gate's guards block it) and ratings, whose loss
on dev says too little.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback.errors import RunFailedForGood
from feedback.files import publish_folder, write_json
from feedback.hyperparameters import Hyperparameters
from feedback.progress import dev_looks
from feedback.run_folder import Method
from service.engines.adapter_format import ADAPTER_FILES
from trainer import ranks
from trainer.progress import RunProgress

if TYPE_CHECKING:
    from trainer.methods.stage import Stage

log = logging.getLogger("trainer")

LEAST_DEV_ROWS = 16
JOURNAL = "journal.log"
STARTUP_TRIALS = 4
"""Trials drawn at random before the sampler (TPE, Bergstra et al. 2011) trusts what it saw."""


class TrialProgress(RunProgress):
    """A trial's own metrics.json; each epoch's dev loss goes to the search, which may give the trial up."""

    def __init__(self, path: Path, trial: Any) -> None:
        super().__init__(path)
        self._trial = trial

    def loss(self, step: int, epoch: float, *, dev_loss: float | None = None, **values: float | None) -> None:
        super().loss(step, epoch, dev_loss=dev_loss, **values)
        if dev_loss is None or epoch < 1 or self.data["stage"] != "sft":
            return
        from optuna import TrialPruned

        self._trial.report(dev_loss, round(epoch))
        if self._trial.should_prune():
            raise TrialPruned


def can_search(stage: "Stage") -> bool:
    if not stage.hyperparameters.search_trials:
        return False
    from service.engines.local.base_model import load_tokenizer
    from trainer.methods.stage import fitting

    tokenizer = load_tokenizer(stage.base_path)
    if not fitting(stage, stage.rows, tokenizer):
        return False  # there is nothing to train on either
    dev = fitting(stage, stage.dev, tokenizer)
    why_not = why_no_search(stage.method, stage.hyperparameters, len(dev), ranks.world_size())
    if why_not is not None:
        log.info("%s: no search: %s", stage.method, why_not)
    return why_not is None


def why_no_search(method: Method, chosen: Hyperparameters, dev_rows: int, processes: int) -> str | None:
    """None: there can be one. `dev_rows`: those that fit `max_length`."""
    if chosen.peft_type not in ("lora", "rslora"):
        return "it is for lora and rslora"
    if processes > 1:
        return "its trials don't train in several processes"
    if method == "kto" or dev_rows < LEAST_DEV_ROWS:
        found = 0 if method == "kto" else dev_rows
        return f"it needs {LEAST_DEV_ROWS} corrections or choices in dev, and there are {found}"
    return None


def most_epochs(own: int) -> int:
    """
    >>> most_epochs(6), most_epochs(1)
    (9, 2)
    """
    return own + max(1, own // 2)


def search(stage: "Stage", train: Callable[["Stage"], None]) -> Hyperparameters:
    """Run the trials that are left, publish the best one's adapter as the stage's result, and return its settings."""
    import optuna
    from optuna.trial import TrialState

    from trainer.methods.stage import end_reports

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stage.progress.step(0, stage.hyperparameters.search_trials, note="trials")
    folder = stage.folder / "search"
    study = _open(folder, stage)
    while (done := len(_finished(study))) < stage.hyperparameters.search_trials:
        # a sampler a trial: what it draws depends on the trials before it alone, not on a process that was killed
        study.sampler = optuna.samplers.TPESampler(seed=stage.seed + done, n_startup_trials=STARTUP_TRIALS)
        trial = study.ask()
        place = folder / f"trial-{trial.number}"
        tried = replace(
            stage,
            folder=place,
            hyperparameters=_suggested(trial, stage),
            progress=TrialProgress(place / "metrics.json", trial),
            run_id=f"{stage.run_id} trial {trial.number}",
        )
        try:
            with tried.progress.stage(stage.method):
                train(tried)
            study.tell(trial, _value(tried))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except RunFailedForGood as error:  # diverged, say: the next one may do better
            log.info("search: trial %d failed: %s", trial.number, error.message)
            study.tell(trial, state=TrialState.FAIL)
        end_reports(tried)
        for checkpoint in place.glob("checkpoint-*"):  # of one that was given up
            shutil.rmtree(checkpoint)
        _record(stage, study)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise RunFailedForGood(
            f"None of the search's {len(study.trials)} trials came to an end: train.log has their reasons."
        )
    best = min(complete, key=lambda trial: (trial.value, trial.number))
    place = folder / f"trial-{best.number}"
    _adopt(stage, RunProgress(place / "metrics.json"))
    publish_folder(place / "final", stage.final, ADAPTER_FILES)
    return _settings(stage, best.params)


def _open(folder: Path, stage: "Stage") -> Any:
    """The study, with what a killed process left unfinished queued again."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    # whoever is here holds the run's lock: a lock in here, and a line without an end, are a killed process'
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.is_file() and not (written := journal.read_bytes()).endswith(b"\n"):
        journal.write_bytes(written[: written.rfind(b"\n") + 1])
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(
        study_name=stage.method,
        storage=storage,
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    )
    if not study.trials:
        study.enqueue_trial(_as_they_are(stage))
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        storage.set_trial_user_attr(trial._trial_id, "killed", True)
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        study.enqueue_trial(trial.params or _as_they_are(stage))
        shutil.rmtree(folder / f"trial-{trial.number}", ignore_errors=True)
    return study


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.state.is_finished() and not trial.user_attrs.get("killed")]


def _as_they_are(stage: "Stage") -> dict[str, float | int]:
    chosen = stage.hyperparameters
    if stage.method == "sft":
        fitting = {} if stage.start else {"r": chosen.r}
        return {"learning_rate": chosen.learning_rate, "num_train_epochs": chosen.num_train_epochs, **fitting}
    return {
        "preference_learning_rate": chosen.preference_learning_rate,
        "preference_epochs": chosen.preference_epochs,
        "beta": chosen.beta,
    }


def _suggested(trial: Any, stage: "Stage") -> Hyperparameters:
    """Settings around those that are set: a search of a few trials finds no treasure far away."""
    for name, value in _as_they_are(stage).items():
        if name == "r":
            trial.suggest_categorical(name, sorted({max(1, value // 2), value, min(256, 2 * value)}))
        elif isinstance(value, int):
            trial.suggest_int(name, max(1, value // 2), most_epochs(value))
        else:
            trial.suggest_float(name, value / 4, value * 3, log=True)
    return _settings(stage, trial.params)


def _settings(stage: "Stage", found: dict[str, Any]) -> Hyperparameters:
    chosen = stage.hyperparameters
    if "r" in found:  # the scaling, lora_alpha / r, stays: the learning rate is what is searched
        found = found | {"lora_alpha": max(1, round(chosen.lora_alpha * found["r"] / chosen.r))}
    return chosen.model_copy(update=found)


def _value(tried: "Stage") -> float:
    if tried.method == "sft":
        return min(float(entry["dev_loss"]) for entry in dev_looks(tried.progress.data["loss_history"]))
    from trainer.methods.scaling import choices_wrong

    return choices_wrong(tried)


def _record(stage: "Stage", study: Any) -> None:
    """What every trial came to, beside the trials and among the run's metrics."""
    trials = [_told(trial) for trial in study.trials if trial.state.is_finished()]
    write_json(stage.folder / "search" / "trials.json", trials)
    stage.progress.data.setdefault("search", {})[stage.method] = trials
    stage.progress.step(len(_finished(study)), stage.hyperparameters.search_trials, note="trials")
    stage.progress.write()


def _told(trial: Any) -> dict[str, Any]:
    killed = bool(trial.user_attrs.get("killed"))
    outcome = "killed" if killed else {"COMPLETE": "complete", "PRUNED": "given up"}.get(trial.state.name, "failed")
    curve: Sequence[float] = [value for _, value in sorted(trial.intermediate_values.items())]
    return {
        "trial": trial.number,
        "outcome": outcome,
        "settings": trial.params,
        "value": trial.value if outcome == "complete" else None,
        "dev_losses": curve,
    }


def _adopt(stage: "Stage", best: RunProgress) -> None:
    """The best trial's curve is the stage's."""
    data = stage.progress.data
    others = [entry for entry in data["loss_history"] if entry["stage"] != stage.method]
    data["loss_history"] = others + best.data["loss_history"]
    data["dev_rows"] = data.get("dev_rows", {}) | best.data.get("dev_rows", {})
    stage.progress.tokens(best.data["trained_tokens"])
    stage.progress.write()
