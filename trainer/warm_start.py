"""Where training begins: at the base, or, with `warm_start`, at the adapter that serves.

From the base each time is the default: what a run has learned is then what its dataset says, no more, so that erased
words are gone and a bad version leaves no trace in the next. Going on from the serving adapter takes fewer epochs, and
keeps what it learned whether or not the dataset still says so. Both are judged alike.
"""

from pathlib import Path

from feedback.errors import RunFailedForGood
from feedback.run_folder import RunSpec
from service.engines.adapter_format import AdapterFormat, read_adapter
from service.engines.base import BASE


def beginning(folder: Path, spec: RunSpec) -> Path | None:
    """The serving adapter to go on from; None: the base. Raises RunFailedForGood where that adapter is another kind."""
    chosen = spec.hyperparameters
    if not chosen.warm_start or spec.start_version == BASE:
        return None
    if spec.start_version != spec.baseline_version:
        raise RunFailedForGood(
            f"warm_start was to go on from {spec.start_version}, which serves no more: start a new run "
            "(`burnish train ASSISTANT`)."
        )
    serving = read_adapter(folder / "baseline", expected_sha256=spec.start_version)
    wanted = (chosen.r, float(chosen.lora_alpha), chosen.peft_type == "rslora")
    if (serving.r, serving.lora_alpha, serving.use_rslora) != wanted:
        raise RunFailedForGood(
            f"warm_start goes on from the serving adapter, which has {_described(serving)}; the settings ask for "
            f"r={chosen.r}, lora_alpha={chosen.lora_alpha}, peft_type={chosen.peft_type}. Set those as the serving "
            "adapter has them (`burnish assistant set ASSISTANT hyperparameters.r=…`), or warm_start=false."
        )
    return folder / "baseline"


def _described(serving: AdapterFormat) -> str:
    kind = "rslora" if serving.use_rslora else "lora"
    return f"r={serving.r}, lora_alpha={serving.lora_alpha:g}, peft_type={kind}"
