"""The unmodified OpenAI client, the real service and the real worker: a file becomes a model that one can chat with."""

import csv
import io
import time
from pathlib import Path

from burnish_server import deployment
from training_files import jsonl, taught

from feedback import assistants

ENDED = ("succeeded", "failed", "cancelled")


def test_a_file_is_learned_and_chatted_with(tmp_path: Path, tiny_base: Path) -> None:
    made = deployment(tmp_path, engine="local", base_model=str(tiny_base), queue_poll_seconds=0.1, device="cpu")
    with made as house:
        lenient = {
            "verdict": {
                "max_perplexity_increase": 1e6,
                "max_suite_items": 10,
            },  # general text is noise to a random model
            "hyperparameters": {"early_stopping_patience": 9},
        }
        with house.database.write() as session:
            assistants.set_policies(session, assistants.get_assistant(session, "support"), lenient, actor="test")
        client = house.start().openai()
        house.start_worker()
        training = client.files.create(file=("keys.jsonl", jsonl(map(taught, range(40)))), purpose="fine-tune")
        checking = client.files.create(file=("more.jsonl", jsonl(map(taught, range(40, 52)))), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model="support",
            training_file=training.id,
            validation_file=checking.id,
            seed=7,
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 9, "batch_size": 2, "learning_rate_multiplier": 10}},
            },
        )
        assert (job.status, job.fine_tuned_model, job.seed) == ("validating_files", None, 7)
        ended, deadline = job, time.monotonic() + 120
        while ended.status not in ENDED:
            assert time.monotonic() < deadline, ended
            time.sleep(0.5)  # asking more often slows training down
            ended = client.fine_tuning.jobs.retrieve(job.id)
        assert (ended.status, ended.error) == ("succeeded", None)
        assert ended.fine_tuned_model == "support@1"
        assert ended.trained_tokens is not None
        assert ended.trained_tokens > 100

        events = list(client.fine_tuning.jobs.list_events(job.id, limit=50))
        messages = [event.message for event in events][::-1]
        assert messages[0] == f"Created fine-tuning job: {job.id}"
        assert messages[-2:] == ["New fine-tuned model created: support@1", "The job has successfully completed"]
        assert len({event.id for event in events}) == len(events)
        assert any("INCONCLUSIVE" in message and "are needed" in message for message in messages)
        losses = [
            event.data["train_loss"] for event in events if event.type == "metrics" and "train_loss" in event.data
        ]
        assert losses[0] < losses[-1] / 2, "the newest is first"

        table = list(csv.DictReader(io.StringIO(client.files.content(ended.result_files[0]).text)))
        assert [float(row["train_loss"]) for row in table if row["train_loss"]] == losses[::-1]
        checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
        assert checkpoint.fine_tuned_model_checkpoint == "support@1"
        assert checkpoint.metrics.full_valid_loss == min(float(row["valid_loss"]) for row in table if row["valid_loss"])

        asked = taught(3)["messages"][0]["content"]
        reply = client.chat.completions.create(
            model=ended.fine_tuned_model, messages=[{"role": "user", "content": asked}], temperature=0, max_tokens=6
        )
        assert reply.model == "support@1"
        assert "key is in box" in (reply.choices[0].message.content or "")
        assert (
            client.chat.completions.create(
                model="support", messages=[{"role": "user", "content": asked}], max_tokens=1
            ).model
            == "support@0"
        ), "nobody promoted it"
