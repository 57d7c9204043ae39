"""What `burnish bench curate` measures: gather, curate, freeze, record, on the database of the folder given."""

import json
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

GENERAL_TEXT = Path(__file__).parents[2] / "trainer" / "evaluation" / "suites" / "general.txt"


def main() -> None:
    # imported here, so that the processes that look at texts, which import this file, needn't hold them
    from bench.figures import tell
    from bench.stored_stream import ASSISTANT

    from feedback import assistants, datasets, runs
    from feedback.policies import Policies
    from feedback.run_folder import RunSpec
    from feedback.testing import make_settings

    settings = make_settings(Path(sys.argv[1]))
    database = settings.open_database()
    with database.write() as session:
        assistant = assistants.get_assistant(session, ASSISTANT)
        run = runs.request(session, assistant, "measured", actor="bench")
    seconds: dict[str, float] = {}
    began = last = perf_counter()

    def passed(stage: str, left: int | None = None) -> None:
        nonlocal last
        seconds[stage], last = perf_counter() - last, perf_counter()
        tell(f"{stage}: {seconds[stage]:.1f} s" + ("" if left is None else f", {left} left"))

    with database.read() as session:
        material = datasets.gather_material(session, assistant)
    passed("gather", len(material.items))

    def spec(frozen: datasets.Frozen, hashes: dict[str, str]) -> RunSpec:
        return RunSpec(
            run_id=run.id, assistant=ASSISTANT, base_model="base", baseline_version="base",
            methods=frozen.curated.methods, hyperparameters=Policies().hyperparameters, verdict=Policies().verdict,
            seed=0, dataset_sha256=frozen.sha256, files=hashes,
        )  # fmt: skip

    suites = {"general.txt": GENERAL_TEXT.read_bytes()}
    frozen = datasets.freeze(material, settings.runs / run.id, suites, None, spec, progress=passed)
    passed("write")
    del material
    datasets.tell_givers(database, frozen.curated)
    passed("tell givers")
    with database.write() as session:
        dataset = datasets.record(session, assistant, session.merge(run), frozen)
    passed("record")
    dropped: Counter[str] = Counter()
    for out in frozen.sheet["dropped"]:
        dropped[f"{out['stage']}: {out['reason']}"] += out["items"]
    print(
        json.dumps(
            {
                "seconds": perf_counter() - began,
                "kept": sum(count for side in frozen.sheet["rows"].values() for count in side.values()),
                "dropped": dropped,
                "stage_seconds": seconds,
                "dataset": dataset.number,
            }
        )
    )


if __name__ == "__main__":  # worker processes import this file
    main()
