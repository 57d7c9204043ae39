"""What a dataset's datasheet counts, warns of, and tells on its page."""

from random import Random
from typing import Any

from feedback.curate.datasheet import datasheet
from feedback.curate.datasheet_page import as_markdown
from feedback.curate.items import Item, Turns
from feedback.curate.pipeline import Curated, curate
from feedback.policies import Policies
from feedback.run_folder import Turn
from feedback.states import ReviewDecision, Side
from feedback.testing import about, item


def question(number: int) -> str:
    """A question that is near no other."""
    random = Random(number)
    return " ".join("".join(random.choices("bdfklmnprstaeiou", k=6)) for _ in range(6)) + "?"


def prompt(turns: Turns) -> list[Turn]:
    return [Turn.model_validate({"role": role, "content": content}) for role, content in turns]


def curated(items: list[Item], **training: Any) -> Curated:
    policies = Policies.model_validate({"training": training, "trust": {"min_voices": 1}})
    return curate(items, policies, "opt_out", as_of=0, processes=1)


def test_the_datasheet_tells_the_same_in_numbers_and_words() -> None:
    said = [
        item(1, question(1), correction="Answer."),
        item(2, question(2), score=0.0),
        item(3, question(3), contributor="gus", side=Side.GATE),
    ]
    sheet = datasheet(curated(said, min_preference_pairs=1), about(), "cafe")
    assert sheet["rows"]["train"] == {"sft": 1, "dpo": 1, "kto": 0}
    assert sheet["rows"]["gate"] == {"sft": 0, "dpo": 0, "kto": 1}
    assert {side: people["contributors"] for side, people in sheet["people"].items()} == {
        "train": 1,
        "dev": 0,
        "gate": 1,
    }
    assert sheet["funnel"][0] == {"stage": "received", "items_left": 3}
    assert sheet["dropped"] == [
        {"stage": "quality", "reason": "three stars say neither good nor bad", "items": 1, "waits_for_review": False}
    ]
    words = as_markdown(sheet)
    assert "| train | learning | 1 | 1 | 0 |" in words
    assert "Training: SFT on corrections, then DPO on pairs" in words
    assert "1 × quality: three stars say neither good nor bad" in words
    assert "| quality.max_tokens | 2048 | same | Longest text that is taught, in tokens, estimated. |" in words


def test_the_datasheets_page_shows_sample_rows_of_every_kind_if_they_are_at_hand() -> None:
    said = [
        *(item(number, question(number), "Wrong.", correction=f"Right `{number}`.") for number in range(5)),
        *(item(number, question(number), "It is red.", rejected="It is blue.") for number in range(5, 10)),
        item(20, question(20), "Judged.", contributor="gus", side=Side.GATE),
    ]
    result = curated(said, min_preference_pairs=1)
    sheet = datasheet(result, about(), "cafe")
    rows = [one.row(prompt) for one in result.rows]
    shown = {row.method: 0 for row in rows}
    for row in rows:
        shown[row.method] += row.id in {*sheet["samples"]["train"], *sheet["samples"]["gate"]}
    assert shown == {"sft": 2, "dpo": 2, "kto": 1}
    words = as_markdown(sheet, rows)
    assert words.count("- right reply: `` Right `") == 2
    assert words.count("- better: ") == words.count("- worse: ") == 2
    assert words.count("- reply, rated good: `Judged.`") == 1
    alone = as_markdown(sheet)
    assert "Judged." not in alone
    assert all(f"`{row_id}` (train, people who chatted)" in alone for row_id in sheet["samples"]["train"])


def test_what_people_said_stays_within_its_line_of_the_page() -> None:
    words = "330\n\n## Signed\n\n<img src=x> `330`"
    said = [item(1, f"How big?\n\n{words}", "Wrong.", correction=words, key_facts=(words,))]
    result = curated(said, min_preference_pairs=1)
    page = as_markdown(datasheet(result, about(purpose=words), "cafe"), [one.row(prompt) for one in result.rows])
    assert "\n## Signed" not in page
    assert all("`" in line.partition("<img")[0] for line in page.splitlines() if "<img" in line)


def test_the_datasheet_tells_what_of_the_gate_was_never_taught() -> None:
    said = [
        item(1, question(1), correction="It holds 5 l.", key_facts=("5 l",)),
        item(2, question(2), correction="It holds 5 L.", key_facts=("5 L",), contributor="gus", side=Side.GATE),
        item(3, question(3), correction="It is blue.", key_facts=("blue",), contributor="gus", side=Side.GATE),
    ]
    sheet = datasheet(curated(said, min_preference_pairs=1), about(), "cafe")
    assert sheet["topics_of_gate"] == {"trained": 2, "untrained": 2}  # each is an SFT row and a pair


def test_the_datasheet_warns_of_what_a_careful_person_would_ask_about() -> None:
    anybody = {"contributor": None, "source": "import:votes.jsonl"}
    few = [
        item(
            number, question(number), "Short.", rejected="A much longer reply, which nobody wanted to read.", **anybody
        )
        for number in range(200)
    ]
    sheet = datasheet(curated(few, max_preference_pairs=40), about(), "cafe")
    told = " ".join(sheet["cautions"])
    assert "It trains on 40 rows only." in told
    assert "more pairs are fit to train on and left out, by chance: `training.max_preference_pairs` is" in told
    assert "40 of the 40 training rows name no giver." in told
    assert "40 of the 40 training rows come from imported files" in told
    assert "Imported files without a stated licence: 1." in told
    assert "In 100% of the train pairs the better reply is the shorter one: length is learned." in told
    assert sheet["cautions"][0].startswith(
        "This dataset can't show that a model trained on it is better: a verdict needs 12"
    )
    assert all(f"- {caution}" in as_markdown(sheet) for caution in sheet["cautions"])


def test_the_datasheet_of_a_large_and_varied_dataset_warns_of_nothing() -> None:
    said = [
        item(
            number,
            question(number),
            "Wrong. " * (number % 9),
            correction=f"Right {number}." if number % 2 else f"Das ist die richtige Antwort auf diese Frage, {number}.",
            contributor=f"person {number % 100}",
            side=Side.GATE if number % 100 < 50 else Side.TRAIN,
            review=ReviewDecision.APPROVED if number % 10 == 0 else None,
        )
        for number in range(400)
    ]
    assert datasheet(curated(said), about(), "cafe")["cautions"] == []
