"""`burnish erase`, `erasures`, `retention`, `lineage` and `dataset verify`, as a person or a program has them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from burnish_server import Deployment, deployment
from pretended_training import Works
from remains import files_with, tables_with
from said import Said, assert_one_clear_line, say

from feedback import runs
from feedback.run_folder import attempt_folder
from feedback.testing import House

WORD = "Zanzibar"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose assistant `support` learned from eight people and from ada; its service doesn't run."""
    with deployment(tmp_path_factory.mktemp("shop")) as made:
        works = Works(House(made.settings, made.database))
        works.house.correct(f"Where is {WORD}?", "No.", f"{WORD} is in Tanzania.", user="ada")
        works.learn()
        yield made


class Command:
    """`burnish` on the shop."""

    def __init__(self, run: Callable[..., Said]) -> None:
        self._run = run

    def __call__(self, *arguments: str) -> Said:
        """What a person is shown."""
        return self._run(*arguments)

    def told(self, *arguments: str) -> Any:
        """What a program is told."""
        return self._run(*arguments, "--json").value


@pytest.fixture
def burnish(shop: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    environment = {**shop.environment, "COLUMNS": "200"}
    return Command(lambda *words: say(*words, environment=environment, monkeypatch=monkeypatch, capsys=capsys))


def test_a_changed_row_is_told(shop: Deployment, burnish: Command) -> None:
    with shop.database.read() as session:
        folder = shop.settings.runs / runs.list_runs(session)[0].id
    path = next(path for path in folder.glob("*.jsonl") if path.stat().st_size)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Yes", b"No", 1))
    done = burnish("dataset", "verify", "support", "1")
    assert (done.status, done.out) == (1, "")
    assert f"{path.name} was changed: line" in done.err
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[1:]))
    done = burnish("dataset", "verify", "support", "1")
    assert "lacks 1 rows that no erasure took" in done.err
    path.write_bytes(whole)


def test_a_datasheet_is_shown_with_sample_rows_where_the_runs_folder_is(shop: Deployment, burnish: Command) -> None:
    sheet = burnish.told("dataset", "show", "support", "1")
    row_id = next(row_id for some in sheet["samples"].values() for row_id in some)
    shown = burnish("dataset", "show", "support", "1").out
    assert f"`{row_id}` (" in shown
    assert "- user: `" in shown
    with shop.database.read() as session:
        folder = shop.settings.runs / runs.list_runs(session)[0].id
    folder.rename(folder.with_name("elsewhere"))
    try:
        alone = burnish("dataset", "show", "support", "1").out
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert f"`{row_id}` (" in alone
    assert "- user: `" not in alone


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "one of user"),
        ("--user ada --feedback fb-1", "one of user"),
        ("--user nobody", "Nothing of such a user"),
        ("--user ada --key nobody", "Nothing of such a user is here under a key called 'nobody'"),
        ("--contributor 0", "contributor '0'"),
        ("--conversation conv-999", "no conversation 'conv-999'"),
        ("--completion chatcmpl-0", "No completion"),
        ("--feedback fb-0", "No feedback 'fb-0'"),
    ],
)
def test_what_is_not_there_is_one_clear_line(burnish: Command, options: str, says: str) -> None:
    assert_one_clear_line(burnish("erase", "support", *options.split(), "--yes"), says)


def test_an_empty_name_erases_nobody(burnish: Command) -> None:
    assert_one_clear_line(burnish("erase", "support", "--user", "", "--yes"), "`user` is empty")


def test_retention_shows_what_would_go(burnish: Command) -> None:
    assert "keeps conversations for ever" in burnish("retention", "support").out
    assert burnish("assistant", "set", "support", "retention.message_days=30").status == 0
    assert burnish.told("retention", "support")["counts"] == {}
    assert "nothing" in burnish("retention", "support").out


def test_lineage_is_a_tree_in_the_terminal_and_json_for_programs(burnish: Command) -> None:
    tree = burnish("lineage", "support@1", "--limit", "2")
    assert tree.status == 0, tree.err
    for words in (
        "support@1",
        "guidelines 1",
        "dataset support v1",
        "9 contributors",
        "correction fb-",
        "… more: --after",
    ):
        assert words in tree.out
    version = burnish.told("lineage", "support@1")
    feedback = version["learned"]["sources"]["page"][0]["id"]
    assert burnish.told("lineage", feedback)["feedback"]["datasets"][0]["dataset"] == "support v1"
    for reference in (feedback, "dataset support v1", version["learned"]["run"]["run"]):
        shown = burnish("lineage", *reference.split())
        assert (shown.status, "support v1" in shown.out) == (0, True)
    completion = burnish.told("lineage", feedback)["message"]["completion_id"]
    assert "feedback on it: 1" in burnish("lineage", completion).out
    assert "written by support@0" in burnish("lineage", f"{completion}:0").out
    wrong = burnish("lineage", "my version")
    assert (wrong.status, "names nothing" in wrong.err) == (1, True)


def test_what_holds_an_erasure_up_is_told_beside_its_receipt(own_deployment: Deployment) -> None:
    works = Works(House(own_deployment.settings, own_deployment.database))
    works.house.correct(f"Where is {WORD}?", "No.", "There.", user="ada")
    folder = own_deployment.settings.runs / str(works.learn().run_id)
    (attempt_folder(folder, 1) / "evaluation.json").write_text("{")
    done = own_deployment.burnish("erase", "support", "--user", "ada", "--yes", "--json")
    assert (done.returncode, f"still in {folder}" in done.stderr) == (1, True)
    told = json.loads(done.stdout)
    assert (told["erasure"][:3], told["state"]) == ("er-", "rows_gone")


def test_an_operator_looks_before_erasing_and_follows_it_to_the_end(shop: Deployment, burnish: Command) -> None:
    would = burnish("erase", "support", "--user", "ada")
    assert "nothing is changed" in would.out
    assert "support@1" in would.out
    assert tables_with(shop.database, WORD)

    exported = shop.settings.data_folder / "out.jsonl"
    burnish.told("feedback", "export", "support", "--out", str(exported))
    done = burnish.told("erase", "support", "--user", "ada", "--yes")
    assert (done["state"], done["tainted"], done["retrain"]) == ("complete", ["support@1"], True)
    assert done["counts"]["message"] == 2
    assert not exported.exists()
    assert files_with(shop.settings.data_folder, WORD) == []
    (record,) = burnish.told("erasures")
    assert record == burnish.told("erasures", done["erasure"])
    assert record | {"state": "complete", "what": "contributor", "by": "cli"} == record
    shown = burnish("erasures")
    assert done["erasure"] in shown.out

    verified = burnish("dataset", "verify", "support", "1")
    rows = done["counts"]["dataset_rows"]
    assert (
        f"support v1 holds: {burnish.told('dataset', 'verify', 'support', '1')['rows']} rows there, {rows} erased"
        in (verified.out)
    )
    assert [one["tainted"] is not None for one in burnish.told("adapters", "list", "support")] == [False, True]
    refused = burnish("adapters", "promote", "support@1", "--force")
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    assert "support@1 is tainted" in refused.err
