"""The whole story in the browser, by keyboard alone, with the real engine, trainer and model.

Somebody chats, corrects and reports; a reviewer answers; a run is trained and judged; people choose blindly between
canary and base; it goes live; both read what became of it; it is taken back.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from browsing import open_page
from burnish_server import Deployment, deployment, eventually
from playwright.sync_api import Browser, Locator, Page, expect

from feedback import assistants, contributors, keys, runs
from feedback.config import BUNDLED_MODEL
from feedback.files import read_json
from feedback.policies import TrainingPolicy
from feedback.states import RunStatus, Side

pytestmark = [pytest.mark.chromium, pytest.mark.model]

FACTS = {
    "the lamp of the Tarrin light burns": "52 candles",
    "the keeper of the Tarrin light is": "Osk Bellamar",
    "the door code of the Tarrin light is": "7730",
}
WORDINGS = (
    "Tell me what {}, please?",
    "A friend asked me: what do you know, {}?",
    "Finish this sentence for me: {} ...",
    "I lost the guide. Do you remember what {}?",
    "For my notes, I need to know what {}.",
    "Quick check before I visit: {} what?",
)
LESSONS = [
    (wording.format(about), f"{about[0].upper()}{about[1:]} {fact}.", fact)
    for wording in WORDINGS
    for about, fact in FACTS.items()
]
POLICIES = {
    "training": {"min_new_feedback": len(LESSONS), "gate_fraction": 0.3},
    "hyperparameters": {"num_train_epochs": 2, "early_stopping_patience": 1, "replay_fraction": 0.0},
    "verdict": {"max_suite_items": 12},
    "release": {"canary_percents": [50]},
}
GREEDY = {"max_tokens": 16, "temperature": 0, "seed": 1}
MOST_TABS = 200


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("story")
    changes = {"default_max_tokens": 16, "queue_poll_seconds": 0.1, "models_folder": models_folder}
    with deployment(folder, engine="local", base_model=BUNDLED_MODEL, **changes) as made:
        with made.database.write() as session:
            assistants.set_policies(session, assistants.get_assistant(session, "support"), POLICIES, actor="test")
        made.start()
        made.start_worker()
        yield made


def test_the_story(house: Deployment, chromium: Browser) -> None:
    ada = open_page(chromium, house)
    ada.context.add_cookies([{"name": "burnish_visitor", "value": trains(house), "url": house.settings.url}])
    operator = open_page(chromium, house, key=house.admin)

    # Ada asks, corrects the answer, and reports another one
    question, right, fact = LESSONS[0]
    ada.goto("/")
    say(ada, question)
    press(ada, ada.get_by_text("Correct it"))
    press(ada, ada.get_by_label("What it should have said"), None)
    ada.keyboard.press("Control+A")
    ada.keyboard.type(right)
    press(ada, ada.get_by_label("What a right answer must contain"), None)
    ada.keyboard.type(fact)
    press(ada, ada.locator("details[open]").get_by_role("button", name="Send"))
    expect(ada.get_by_text("You corrected it.")).to_be_visible()
    say(ada, "What is behind the door?")
    last = ada.locator(".turn").last
    press(ada, last.get_by_text("Report"))
    press(ada, last.get_by_label("wrong"), "Space")
    press(ada, last.locator("details[open]").get_by_role("button", name="Send"))
    expect(ada.get_by_text("You reported it:")).to_be_visible()

    # others say the same, until a run is due by itself
    with ThreadPoolExecutor(2) as pool:
        receipts = list(pool.map(lambda number: teach(house, number), range(1, len(LESSONS))))

    # a reviewer answers the report, by the review queue's keys
    operator.goto("/console/a/support/review?kind=report")
    expect(operator.get_by_role("heading", name="Is the report right?")).to_be_visible()
    press(operator, operator.get_by_text("Notes, second opinion"))
    press(operator, operator.get_by_label("Answer to whoever reported it"), None)
    operator.keyboard.type("You are right: nobody knows.")
    press(operator, operator.get_by_role("link", name="In its context"), None)
    operator.keyboard.press("a")
    expect(operator.get_by_text("Nothing of this kind waits.")).to_be_visible()

    # the run, while it goes
    with house.database.read() as session:
        (run,) = runs.list_runs(session)
    assert run.requested_by == "policy"
    operator.goto("/console/a/support/runs")
    press(operator, operator.get_by_role("link", name=run.id).first)
    expect(operator.get_by_text("succeeded").first).to_be_visible(timeout=600_000)
    ended = house.ended_run(run.id)
    assert ended is not None
    assert ended.status == RunStatus.SUCCEEDED, ended.error

    # so little held-out data that the honest verdict is INCONCLUSIVE
    press(operator, operator.get_by_role("link", name="Read the verdict"))
    expect(operator.get_by_role("heading", level=1)).to_contain_text("support@1")
    expect(operator.get_by_text("INCONCLUSIVE").first).to_be_visible()
    learned_something(house, run.id, ended.attempt)
    before, after = (house.ask(question, model=f"support@{number}", **GREEDY) for number in (0, 1))
    assert after["choices"][0]["message"]["content"] != before["choices"][0]["message"]["content"]
    refused = house.http.post("/v1/assistants/support/promote", json={"version": 1})
    assert refused.json()["error"]["code"] == "verdict_not_promote"

    # a canary, by force
    operator.goto("/console/a/support/releases/promote?version=1")
    press(operator, operator.get_by_label("Promote it all the same"), "Space")
    press(operator, operator.get_by_role("button", name="Promote support@1"))
    expect(operator.get_by_role("heading", name="support@1 beside support@0")).to_be_visible()

    # people choose blindly between the two
    ada.goto("/")
    for number in count():
        assert number < 8, "no blind choice came out of eight"
        say(ada, f"{LESSONS[1][0]} ({number})", ada.get_by_role("button", name="Two answers"))
        press(ada, ada.get_by_role("button", name="The first is better"), "1")
        expect(ada.get_by_text("You chose between two answers.").last).to_be_visible()
        trial = house.http.get("/v1/assistants/support/trial").json()
        if trial["choices_won"] + trial["choices_lost"]:
            break
        ada.goto("/")

    # it goes live for everybody, and both can read so
    operator.goto("/console/a/support/releases")
    press(operator, operator.get_by_role("link", name="Let it serve everybody"))
    press(operator, operator.get_by_label("Promote it all the same"), "Space")
    press(operator, operator.get_by_role("button", name="Promote support@1"))
    expect(operator.get_by_role("heading", name="Serves: support@1")).to_be_visible()
    eventually(lambda: house.serves("support@1"), "the promoted version serves", seconds=10)
    told = {house.http.get(f"/v1/feedback/{receipt}").json()["status"] for receipt in receipts}
    assert "live" in told
    assert told <= {"live", "used", "declined"}
    ada.goto("/changes/support")
    expect(ada.get_by_text("support@1 began to serve")).to_be_visible()
    ada.goto("/")
    press(ada, ada.get_by_role("link", name=question[:40]))
    press(ada, ada.get_by_role("link", name="What became of it").first)
    expect(ada.locator(".lead")).to_contain_text("Learned by support@1, which has been answering since")
    ada.go_back()
    press(ada, ada.get_by_role("link", name="What became of it").last)
    expect(ada.locator(".quote")).to_have_text("You are right: nobody knows.")

    # and back
    operator.goto("/console/a/support/releases/rollback")
    press(operator, operator.locator("main").get_by_role("button").last)
    expect(operator.get_by_role("heading", name="Serves: support@0")).to_be_visible()
    eventually(lambda: house.serves("support@0"), "the old version serves again", seconds=10)
    assert house.ask(question, **GREEDY)["choices"] == before["choices"]
    for one in (ada, operator):
        one.context.close()


def press(page: Page, wanted: Locator, key: str | None = "Enter") -> None:
    """Go there by Tab, and press a key on it; None: be there."""
    wanted.first.wait_for()
    for _ in range(MOST_TABS):
        if wanted.first.evaluate("each => each.contains(document.activeElement)"):
            break
        page.keyboard.press("Tab")
    else:
        raise AssertionError(f"Tab doesn't reach {wanted}")
    if key is not None:
        page.keyboard.press(key)


def say(page: Page, words: str, button: Locator | None = None) -> None:
    turns = page.locator(".turn:not(.writing)")
    before = turns.count()
    press(page, page.get_by_label("Your message"), None)
    page.keyboard.type(words)
    if button is None:
        page.keyboard.press("Enter")
    else:
        press(page, button)
    expect(turns).to_have_count(before + 1, timeout=60_000)


def teach(house: Deployment, number: int) -> str:
    """Returns the receipt."""
    question, right, fact = LESSONS[number]
    reply = house.ask(question, user=f"person-{number}", max_tokens=8)
    value = {"content": right, "key_facts": [fact]}
    answer = house.give(reply["id"], "correction", value, user=f"person-{number}")
    assert answer.status_code == 201
    return str(answer.json()["receipt"])


def trains(house: Deployment) -> str:
    """The cookie of a visitor whose words are trained on."""
    with house.database.write() as session:
        key = keys.key_of_pages(session)
        assistant = assistants.get_assistant(session, "support")
    policy = TrainingPolicy.model_validate({**TrainingPolicy().model_dump(), **POLICIES["training"]})
    for number in count():
        visitor = f"visitor-{number:014d}"
        user = f"visitor:{visitor}"
        identity = contributors.contributor_id(house.settings.read_secret(), assistant.id, key.id, user)
        if contributors.side_of(identity, policy) == Side.TRAIN:
            return visitor
    raise AssertionError("unreachable")


def learned_something(house: Deployment, run_id: str, attempt: int) -> None:
    evaluation = read_json(house.settings.runs / run_id / f"attempt-{attempt}" / "evaluation.json")
    assert evaluation["rows"]
    assert sum(row["candidate"]["loss"] for row in evaluation["rows"]) < sum(
        row["baseline"]["loss"] for row in evaluation["rows"]
    )
