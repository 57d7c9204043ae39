"""The changelog tells what was learned, from how many people, and what was taken back; and quotes nobody."""

import hashlib
from datetime import timedelta
from typing import Any

from feedback import adapters, assistants, changelog, datasets, releases, runs
from feedback.columns import now
from feedback.models import AdapterVersion, Evaluation, ReportCase, Run
from feedback.states import CaseOutcome, CaseStatus, VerdictWord
from feedback.testing import House

SECRET_WORDS = "The vault opens with rosebud."


def version_of(house: House, **statistics: Any) -> AdapterVersion:
    """A version that learned from everything said so far."""
    with house.database.write() as session:
        run_id = runs.request(session, house.assistant, "a test", actor="test").id
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    with house.database.read() as session:
        material = datasets.gather_material(session, house.assistant)
    curated = datasets.curate_material(material)
    hashes = [hashlib.sha256(one.id.encode()).digest() for one in curated.rows]
    with house.database.write() as session:
        frozen = datasets.Frozen(curated, hashes, "0" * 64, {})
        datasets.record(session, house.assistant, session.get_one(Run, run_id), frozen)
        sha256 = hashlib.sha256(run_id.encode()).hexdigest()
        version = adapters.register(session, house.assistant, sha256, run_id)
        baseline = releases.live(session, house.assistant).version
        session.add(
            Evaluation(
                run_id=run_id, candidate_id=version.id, baseline_id=baseline.id, verdict=VerdictWord.PROMOTE,
                statistics=statistics,
            )
        )  # fmt: skip
        runs.finish(session, held)
    return version


def promote(house: House, version: AdapterVersion) -> None:
    with house.database.write() as session:
        releases.promote(session, house.assistant, version, actor="test", reason="It knows the vault.")


def test_it_is_written_from_the_lineage_and_quotes_nobody(house: House) -> None:
    for person in range(12):
        house.correct(f"{'abcdefghijkl'[person] * 9}, where is it?", "No.", SECRET_WORDS, user=f"person-{person}")
    found = {"recall": {"candidate": 0.62, "baseline": 0.1}, "rows_with_key_facts": 80}
    version = version_of(house, **found)
    promote(house, version)
    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="It was rude.")
    with house.database.read() as session:
        changes = changelog.changelog(session, house.assistant)
    assert [one.title for one in changes] == [
        "support@0 serves again",
        "support@1 began to serve",
        "support@0, the bare base model, began to serve",
    ]
    assert changes[0].lines == ["It was rude."]
    learned, found_line = changes[1].lines
    assert learned.startswith("It learned from ")
    assert "corrections; 12 people said" in learned
    assert found_line == "Of 80 corrections that it never saw it now gets 62% right, 10% before."
    text = changelog.as_markdown("support", changes)
    assert text.startswith("# What changed in support\n\n## 20")
    assert "vault" not in text
    assert "person-" not in text


def test_reports_that_were_upheld_since_the_last_release_are_counted(embedded: House) -> None:
    for number, outcome in enumerate((CaseOutcome.UPHELD, CaseOutcome.UPHELD, CaseOutcome.DISMISSED)):
        completion_id = embedded.reply(f"Question {number}?", "No.")
        embedded.say(completion_id, "report", "wrong", user=f"person-{number}")
        with embedded.database.write() as session:
            for case in session.query(ReportCase).filter(ReportCase.outcome.is_(None)):
                case.outcome, case.status = outcome, CaseStatus.RESOLVED
                case.resolved_at = now() + timedelta(milliseconds=1)
    promote(embedded, version_of(embedded))
    with embedded.database.read() as session:
        newest = changelog.changelog(session, embedded.assistant)[0]
    assert "2 reports were looked into and upheld before: 2 about wrong." in newest.lines


def test_what_was_tried_and_taken_back_is_told_with_why(embedded: House) -> None:
    with embedded.database.write() as session:
        assistant = assistants.get_assistant(session, "support")
        assistants.set_policies(session, assistant, {"release": {"canary_percents": [10]}}, actor="test")
    embedded.assistant = embedded.reload()
    promote(embedded, version_of(embedded))
    with embedded.database.write() as session:
        releases.roll_back(session, embedded.assistant, actor="evidence", reason="8 of 8 blind choices went elsewhere.")
    with embedded.database.read() as session:
        newest = changelog.changelog(session, embedded.assistant)[0]
    assert newest.title == "support@1 was tried and taken back"
    assert newest.lines == ["8 of 8 blind choices went elsewhere."]
