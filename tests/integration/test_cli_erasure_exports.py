"""Exports into the data folder, written before, during and after an erasure."""

from collections.abc import Callable
from pathlib import Path

import pytest
from burnish_server import clean_environment
from remains import files_with
from said import Said, say

from feedback.erasure import erase, finish
from feedback.erasure.subjects import Named, resolve
from feedback.testing import SECRET, House

WORD = "Zanzibar"


@pytest.fixture
def export(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[Path, Said]]:
    """Writes all that is said into the data folder."""

    def run(name: str) -> tuple[Path, Said]:
        path = house.settings.data_folder / "exports" / name
        words = ("feedback", "export", "support", "--out", str(path))
        environment = clean_environment(**house.settings.as_environment())
        return path, say(*words, environment=environment, monkeypatch=monkeypatch, capsys=capsys)

    return run


def test_an_export_from_before_an_erasure_goes_and_one_from_after_it_stays(
    house: House, database_url: str, export: Callable[[str], tuple[Path, Said]]
) -> None:
    house.correct(f"Where is {WORD}?", "No.", "There.", user="ada")
    house.correct("Where is Lima?", "No.", "In Peru.", user="bob")
    export("before.jsonl")
    with house.database.read() as session:
        subject = resolve(session, SECRET, house.assistant, Named(user="ada"))
    with house.database.write() as session:
        erase.erase_now(session, house.assistant, subject, actor="test")
        if not database_url.startswith("sqlite"):  # there the export's beginning waits for the erasure's end
            path, done = export("during.jsonl")
            assert done.status == 0
            assert WORD in path.read_text()
    after, done = export("after.jsonl")
    assert done.status == 0
    assert finish.clean_files(house.database, house.settings)
    assert finish.scrub(house.database, at_once=True)
    assert files_with(house.settings.data_folder, WORD) == []
    assert [path.name for path in after.parent.iterdir()] == ["after.jsonl"]
    assert "Lima" in after.read_text()
