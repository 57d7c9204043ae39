"""The unmodified OpenAI client, the real service and the real worker: a file becomes a model that one can chat with."""

import csv
import io
from pathlib import Path

from burnish_server import deployment, eventually
from training_files import jsonl, taught

ENDED = ("succeeded", "failed", "cancelled")


def test_a_file_is_learned_and_chatted_with(tmp_path: Path, tiny_base: Path) -> None:
    made = deployment(tmp_path, engine="local", base_model=str(tiny_base), queue_poll_seconds=0.1, device="cpu")
    with made as house:
        house.start_worker()
        client = house.start().openai()
        training = client.files.create(file=("keys.jsonl", jsonl(map(taught, range(40)))), purpose="fine-tune")
        checking = client.files.create(file=("more.jsonl", jsonl(map(taught, range(40, 52)))), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model="base",
            training_file=training.id,
            validation_file=checking.id,
            suffix="Keys",
            seed=7,
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 8, "learning_rate_multiplier": 10}},
            },
        )
        assert (job.status, job.fine_tuned_model, job.seed) == ("validating_files", None, 7)
        ended = eventually(
            lambda: (now := client.fine_tuning.jobs.retrieve(job.id)).status in ENDED and now, "the job ends", 120
        )
        assert (ended.status, ended.error) == ("succeeded", None)
        assert ended.fine_tuned_model == "keys@1"
        assert ended.trained_tokens is not None
        assert ended.trained_tokens > 100

        events = list(client.fine_tuning.jobs.list_events(job.id, limit=5))
        messages = [event.message for event in events][::-1]
        assert messages[0] == f"Created fine-tuning job: {job.id}"
        assert messages[-2:] == ["New fine-tuned model created: keys@1", "The job has successfully completed"]
        assert len({event.id for event in events}) == len(events)
        assert any("INCONCLUSIVE" in message and "are needed" in message for message in messages)
        losses = [
            event.data["train_loss"] for event in events if event.type == "metrics" and "train_loss" in event.data
        ]
        assert losses[0] < losses[-1] / 2, "the newest is first"

        table = list(csv.DictReader(io.StringIO(client.files.content(ended.result_files[0]).text)))
        assert [float(row["train_loss"]) for row in table if row["train_loss"]] == losses[::-1]
        checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
        assert checkpoint.fine_tuned_model_checkpoint == "keys@1"
        assert checkpoint.metrics.full_valid_loss == min(float(row["valid_loss"]) for row in table if row["valid_loss"])

        asked = taught(3)["messages"][0]["content"]
        reply = client.chat.completions.create(
            model=ended.fine_tuned_model, messages=[{"role": "user", "content": asked}], temperature=0, max_tokens=6
        )
        assert reply.model == "keys@1"
        assert (reply.choices[0].message.content or "").split()[:2] == ["the", "delta"]
        assert (
            client.chat.completions.create(
                model="keys", messages=[{"role": "user", "content": asked}], max_tokens=1
            ).model
            == "keys@0"
        ), "nobody promoted it"
