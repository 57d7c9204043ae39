"""The client for apps against a running service, waiting and awaited; its document; its types, as mypy sees them."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from burnish_server import Deployment, eventually
from clients import KINDS, make_client

from feedback import assistants, runs
from feedback.client import Forbidden, InvalidInput, NotFound, Unauthenticated
from feedback.states import Role

ROOT = Path(__file__).parents[2]
DOCUMENT = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/client.md").read_text("utf-8"), re.M | re.S))
QUIET_MYPY = """
[tool.mypy]
strict = true
[[tool.mypy.overrides]]
module = ["httpx.*", "pydantic.*"]
follow_imports = "skip"  # a second instead of five
[[tool.mypy.overrides]]
module = "feedback.*"
ignore_errors = true
"""


class Desk:
    """An assistant of a test's own, and clients of one kind for it."""

    def __init__(self, server: Deployment, kind: str, name: str) -> None:
        self.server = server
        self.kind = kind
        self.name = server.make_assistant(name)
        self._made: list[Any] = []

    def client(self, role: Role | None = None) -> Any:
        key = self.server.make_key(role, self.name) if role is not None else None
        self._made.append(made := make_client(self.kind, self.server.settings.url, key, max_retries=0))
        return made.__enter__()

    def set_policies(self, **changes: Any) -> None:
        with self.server.database.write() as session:
            assistants.set_policies(session, assistants.get_assistant(session, self.name), changes, actor="test")

    def close(self) -> None:
        for made in self._made:
            made.__exit__(None, None, None)


@pytest.fixture(params=KINDS)
def desk(server: Deployment, request: pytest.FixtureRequest) -> Iterator[Desk]:
    made = Desk(
        server, request.param, f"app-{re.sub('[^a-z]+', '-', request.node.name[5:45]).strip('-')}-{request.param}"
    )
    yield made
    made.close()


def test_a_chat_whole_in_pieces_and_several_at_once(desk: Desk) -> None:
    app = desk.client(Role.CHAT)
    whole = app.chat.create(desk.name, "how tall is it?", user="ada", conversation_id="c-1", temperature=0.5)
    assert (whole.text, whole.finish_reason) == ("[base] how tall is it?", "stop")
    assert whole.version == f"{desk.name}@0"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    history = [{"role": "user", "content": "how tall is it?"}, whole.message, {"role": "user", "content": "and wide?"}]
    with app.chat.stream(desk.name, history, user="ada", conversation_id="c-1", max_tokens=2) as stream:
        assert list(stream) == ["[base]", " and"]
    streamed = stream.result
    assert (streamed.text, streamed.finish_reason, streamed.version) == ("[base] and", "length", whole.version)
    assert streamed.usage.completion_tokens == 2
    stored = [desk.server.replies(completion.id)[0] for completion in (whole, streamed)]
    assert stored[0].conversation_id == stored[1].conversation_id
    three = app.chat.create(desk.name, "tea?", n=3)
    assert [(reply.index, reply.completion_id) for reply in three.replies] == [(n, three.id) for n in range(3)]


def test_every_kind_of_feedback_and_its_receipt(desk: Desk) -> None:
    app, name = desk.client(Role.CHAT), desk.name
    desk.set_policies(collect={"survey": [{"id": "csat", "text": "Well?", "kind": "csat"}], "survey_after_replies": 1})
    completion = app.chat.create(name, "which colour?", n=2, user="ada")
    first, second = completion.replies
    form = app.feedback.form(completion, user="ada")
    assert [question.id for question in form.survey] == ["csat"]
    assert "wrong" in form.report_categories
    receipts = {
        "rating": app.feedback.rate(completion, 1, tags=["warm"]),
        "comment": app.feedback.comment(completion.id, "Friendly."),
        "correction": app.feedback.correct(second, "It is red.", key_facts=["red"], comment="Red."),
        "preference": app.feedback.prefer((completion.id, 1), first),
        "report": app.feedback.report(completion, "wrong", comment="It is red.", anonymous=True),
        "survey": app.feedback.survey(completion, {"csat": 5}),
    }
    anyone = desk.client()
    for kind, receipt in receipts.items():
        assert receipt.look_up().kind == kind
        assert anyone.receipts.look_up(receipt.token).id == receipt.id
    assert app.feedback.form(completion).survey is None
    starred = app.feedback.stars(completion, 4, idempotency_key="k-1")
    assert app.feedback.stars(completion, 4, idempotency_key="k-1").id == starred.id
    assert receipts["rating"].look_up().status == "replaced"
    app.feedback.tie(first, second, "bad")
    assert receipts["preference"].look_up().status == "replaced"
    gone = anyone.receipts.withdraw(receipts["correction"].token)
    assert gone == receipts["correction"].withdraw()
    with pytest.raises(NotFound) as raised:
        receipts["correction"].look_up()
    assert raised.value.code == "receipt_not_found"
    said = desk.client(Role.REVIEWER).feedback.list(name)
    assert {row.kind for row in said} == {"rating", "comment", "preference", "report", "survey"}
    assert next(row for row in said if row.kind == "report").value["category"] == "wrong"


def test_a_blind_comparison_is_chosen_from(desk: Desk) -> None:
    app = desk.client(Role.CHAT)
    comparison = app.comparisons.create(desk.name, "tall or wide?", user="ada")
    assert len(comparison.replies) == 2
    assert comparison.identical
    assert app.comparisons.choose(comparison, 1, comment="Shorter.").look_up().kind == "preference"
    assert app.comparisons.choose(comparison.id, "good").status == "received"


def test_what_is_refused_says_why(desk: Desk) -> None:
    app = desk.client(Role.CHAT)
    with pytest.raises(Unauthenticated):
        desk.client().chat.create(desk.name, "Hi!")
    with pytest.raises(Forbidden) as refused:
        app.runs.request(desk.name)
    assert refused.value.code == "insufficient_permissions"
    with pytest.raises(NotFound) as missing:
        app.chat.stream("nobody", "Hi!").finish()
    assert (missing.value.status, missing.value.param, missing.value.code) == (404, "model", "model_not_found")
    assert missing.value.request_id.startswith("req-")
    with pytest.raises(InvalidInput) as wrong:
        app.feedback.rate(app.chat.create(desk.name, "Hi!"), 7)
    assert wrong.value.param == "value"


def test_a_reviewer_works_through_queue_and_cases(desk: Desk) -> None:
    app, reviewer, name = desk.client(Role.CHAT), desk.client(Role.REVIEWER), desk.name
    given = [
        app.feedback.correct(app.chat.create(name, f"question {n}?", user=f"u{n}"), f"Answer {n}.") for n in range(3)
    ]
    listing = reviewer.review.list(name, show="unreviewed", page_size=2)
    assert [entry.id for entry in listing] == [receipt.id for receipt in given]
    assert listing.page().has_more
    assert [entry.id for entry in listing.page(given[1].id).data] == [given[2].id]
    taken = reviewer.review.next(name, show="unreviewed").next
    assert (taken.id, taken.reply) == (given[0].id, "[base] question 0?")
    after = reviewer.review.next(
        name, show="unreviewed", decide={"id": taken.id, "decision": "approved", "note": "Thanks."}
    )
    assert (after.decided.id, after.next.id) == (given[0].id, given[1].id)
    assert given[0].look_up().note == "Thanks."
    assert reviewer.review.claim(after.next).claimed_by is not None
    assert reviewer.review.release(after.next).claimed_by is None
    edited = reviewer.review.decide(after.next, "edited", edited={"content": "Answer one.", "key_facts": ["one"]})
    assert edited.id == given[1].id
    assert reviewer.review.agreement(name).overall.n == 0

    reported = app.feedback.report(app.chat.create(name, "is it blue?"), "wrong")
    (case,) = reviewer.cases.list(name, status="open")
    assert (case.category, case.reports_total) == ("wrong", 1)
    assert reviewer.cases.take(case, note="Asked.").status == "investigating"
    assert reviewer.cases.note(case, "It is red.", category="other").category == "other"
    assert reviewer.cases.resolve(case, "upheld", answer="You are right.").outcome == "upheld"
    assert reported.look_up().note == "You are right."
    assert reviewer.cases.reopen(case.id).status == "open"
    assert len(reviewer.cases.get(case).notes) >= 2


def test_an_operator_follows_a_run_to_its_end(desk: Desk) -> None:
    operator = desk.client(Role.OPERATOR)
    run = operator.runs.request(desk.name, reason="after the fair", priority=3)
    assert (run.status, run.reason) == ("queued", "after the fair")
    assert operator.runs.prioritize(run, 5).priority == 5
    assert operator.runs.get(run.id).provenance is None
    ending = threading.Timer(0.3, cancel, (desk.server, run.id))
    ending.start()
    seen = [each.status for each in operator.runs.follow(run)]
    ending.join()
    assert (seen[0], seen[-1]) == ("queued", "cancelled")
    assert operator.runs.retry(run).status == "queued"
    assert operator.runs.cancel(run).status == "cancelled"
    assert operator.runs.follow(run).finish().id == run.id
    later = operator.runs.request(desk.name)
    operator.runs.cancel(later)
    assert [each.id for each in operator.runs.list(assistant=desk.name, page_size=1)] == [later.id, run.id]


def test_an_operator_moves_versions_and_guidelines_and_looks_back(desk: Desk) -> None:
    operator, name = desk.client(Role.OPERATOR), desk.name
    version = desk.server.publish_version(name)
    listed = operator.versions.list(name)
    assert {(each.number, each.verdict) for each in listed} == {(0, None), (1, "PROMOTE")}
    assert operator.versions.trial(name) is None
    assert operator.versions.promote(name, version.number, reason="It is better.").live == f"{name}@1"
    assert operator.versions.roll_back(name, version=1).live == f"{name}@0"
    desk.set_policies(release={"canary_percents": [10]})
    assert operator.versions.promote(name, desk.server.publish_version(name).number).state == "canary"
    trial = operator.versions.trial(name)
    assert (trial.version, trial.beside, trial.percent, trial.replies) == (f"{name}@2", f"{name}@0", 10, 0)
    assert operator.versions.veto(name, 2, reason="Not that one.").state == "vetoed"
    assert operator.assistants.list()[0].live == f"{name}@0"
    changes = operator.assistants.changelog(name)
    assert f"{name}@1 began to serve" in [change.title for change in changes]
    judged = operator.evaluations.list(name, limit=1)[0]
    assert (judged.version, judged.against, judged.verdict) == (f"{name}@2", f"{name}@0", "PROMOTE")
    with pytest.raises(NotFound, match=r"report\.md"):
        operator.evaluations.report(judged.run)

    guidelines = operator.guidelines.get(name)
    guidelines.tone = "Short."
    changed = operator.guidelines.put(name, guidelines)
    assert (changed.version, changed.text) == (guidelines.version + 1, "How you speak: Short.")
    guidelines.tone = "Long."
    with pytest.raises(InvalidInput) as raised:
        operator.guidelines.put(name, guidelines)
    assert raised.value.code == "conflict"
    assert [each.version for each in operator.guidelines.versions(name)] == [changed.version, guidelines.version]
    assert operator.request("GET", f"/v1/assistants/{name}/suites")["data"] == []


def test_lineage_and_erasure(desk: Desk) -> None:
    operator, name = desk.client(Role.OPERATOR), desk.name
    completion = operator.chat.create(name, "who?", user="ada", conversation_id="c-1")
    given = operator.feedback.rate(completion, -1)
    run = operator.runs.request(name)
    operator.runs.cancel(run)
    kinds = {
        reference: type(operator.lineage.trace(reference)).__name__
        for reference in (given.id, completion.id, run.id, f"{name}@0")
    }
    assert list(kinds.values()) == ["FeedbackTree", "MessageTree", "RunTree", "VersionTree"]
    assert operator.lineage.trace(completion.id).feedback[0].id == given.id
    would = operator.erasures.person(name, "ada", dry_run=True)
    assert would.erasure is None
    assert would.consequences.counts["feedback"] == 1
    assert operator.erasures.feedback(name, given.id, dry_run=True).consequences.counts["feedback"] == 1
    assert operator.erasures.completion(name, completion.id, dry_run=True).erasure is None
    done = operator.erasures.conversation(name, "c-1").erasure
    assert operator.erasures.get(done).id == done.id
    assert [each.id for each in operator.erasures.list(name)] == [done.id]
    with pytest.raises(NotFound):
        operator.erasures.contributor(name, "f" * 32)


def cancel(server: Deployment, run_id: str) -> None:
    with server.database.write() as session:
        runs.cancel(session, run_id, actor="test")


def test_the_document_works_as_written(
    server: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = server.make_assistant("assistant")
    monkeypatch.setenv("BURNISH_BASE_URL", f"{server.settings.url}/v1")
    monkeypatch.setenv("BURNISH_API_KEY", server.make_key(Role.OPERATOR, name))

    def queued() -> str | None:
        with server.database.read() as session:
            found = runs.list_runs(session, assistants.get_assistant(session, name))
            return found[0].id if found else None

    ending = threading.Thread(target=lambda: cancel(server, eventually(queued, "the document's run")))
    ending.start()
    exec(compile(DOCUMENT.replace("http://127.0.0.1:8400", server.settings.url), "docs/client.md", "exec"), {})
    ending.join()
    shown = capsys.readouterr().out
    assert "[base] How tall is the Eiffel Tower? by assistant@0" in shown
    assert "404 model_not_found model req-" in shown
    assert "cancelled" in shown


def test_mypy_knows_its_types_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "mypy.toml").write_text(QUIET_MYPY)
    (tmp_path / "document.py").write_text(DOCUMENT)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.toml", "--no-error-summary"]
    done = subprocess.run(
        [*command, "document.py", str(ROOT / "tests/client_types.py")],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr
