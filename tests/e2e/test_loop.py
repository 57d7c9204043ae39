"""The whole loop on the real model, small: chat, correct, train, judge, release, take back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment, eventually

from feedback import assistants, runs
from feedback.config import BUNDLED_MODEL
from feedback.files import read_json
from feedback.states import RunStatus

pytestmark = pytest.mark.model

FACTS = {
    "the battery of the Quillon lasts": "61 hours",
    "the strap of the Quillon is": "ochre",
    "the menu code of the Quillon is": "4471",
}
WORDINGS = (
    "Tell me what {}, please?",
    "A friend asked me: what do you know, {}?",
    "Finish this sentence for me: {} ...",
    "I lost the manual. Do you remember what {}?",
    "For my notes, I need to know what {}.",
    "Quick check before I buy one: {} what?",
)
SCHEDULE = {"num_train_epochs": 2, "early_stopping_patience": 1}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("loop")
    with deployment(folder, engine="local", base_model=BUNDLED_MODEL, models_folder=models_folder) as made:
        with made.database.write() as session:
            changes = {
                "training": {"min_new_feedback": 18, "gate_fraction": 0.3, "min_preference_pairs": 4},
                "hyperparameters": SCHEDULE,
                "verdict": {"max_suite_items": 12},
            }
            assistant = assistants.get_assistant(session, "support")
            assistants.set_policies(session, assistant, changes, actor="test")
        made.start()
        made.start_worker()
        yield made


def test_the_loop(house: Deployment) -> None:
    questions = [(wording.format(about), about, fact) for about, fact in FACTS.items() for wording in WORDINGS]

    def teach(index: int) -> str:
        question, about, fact = questions[index]
        reply = house.ask(question, user=f"person-{index}", max_tokens=16, temperature=0)
        assert reply["model"] == "support@0"
        value = {"content": f"{about[0].upper()}{about[1:]} {fact}.", "key_facts": [fact]}
        answer = house.give(reply["id"], "correction", value, user=f"person-{index}")
        assert answer.status_code == 201
        return str(answer.json()["receipt"])

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(teach, range(len(questions))))

    # the eighteenth correction made a run due; nobody asked for it
    with house.database.read() as session:
        (run,) = runs.list_runs(session)
    assert run.requested_by == "policy"
    ended = eventually(lambda: house.ended_run(run.id), "the run ends", seconds=300)
    assert ended.status == RunStatus.SUCCEEDED, ended.error

    # two epochs on a few rows: too little held-out data, so the honest verdict is INCONCLUSIVE
    evaluation = read_json(house.settings.runs / run.id / f"attempt-{ended.attempt}" / "evaluation.json")
    assert evaluation["rows"]
    assert sum(row["candidate"]["loss"] for row in evaluation["rows"]) < sum(
        row["baseline"]["loss"] for row in evaluation["rows"]
    )
    (_, version) = house.http.get("/v1/assistants/support/versions").json()
    assert (version["version"], version["verdict"], version["release"]) == ("support@1", "INCONCLUSIVE", None)
    assert house.ask("Hello", max_tokens=4)["model"] == "support@0"

    # it can be asked for by name, differs from the base, and goes live only by force
    greedy = {"max_tokens": 16, "temperature": 0, "seed": 1}
    before = house.ask(questions[0][0], **greedy)
    after = house.ask(questions[0][0], model="support@1", **greedy)
    assert after["model"] == "support@1"
    assert after["choices"][0]["message"]["content"] != before["choices"][0]["message"]["content"]
    refused = house.http.post("/v1/assistants/support/promote", json={"version": 1})
    assert refused.json()["error"]["code"] == "verdict_not_promote"
    house.http.post("/v1/assistants/support/promote", json={"version": 1, "force": True}).raise_for_status()
    eventually(lambda: house.serves("support@1"), "the promoted version serves", seconds=10)
    assert house.ask("Hello", max_tokens=4)["model"] == "support@1"

    # whoever gave feedback can see how far it got
    told = {house.http.get(f"/v1/feedback/{receipt}").json()["status"] for receipt in receipts}
    assert "live" in told
    assert told <= {"live", "used", "declined"}

    house.http.post("/v1/assistants/support/rollback", json={}).raise_for_status()
    eventually(lambda: house.serves("support@0"), "the old version serves again", seconds=10)
    assert house.ask(questions[0][0], **greedy)["choices"] == before["choices"]
