"""The console's runs and verdicts: what they show of a run while it goes and afterwards, what they do, and to whom."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, bearer, deployment
from judged_runs import ATTACK, METRICS, judged_version
from playwright.sync_api import Browser

from feedback import assistants, runs
from feedback.files import write_json
from feedback.run_folder import attempt_folder
from feedback.states import Role, RunStatus

SEEN = ("support", "teaching", "many", "going", "failing", "erased")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("runs")) as found:
        for name in (*SEEN[1:], "watched"):
            found.make_assistant(name)
        yield found.start()


@pytest.fixture(scope="module")
def judged(made: Deployment) -> str:
    """The run of a candidate that was judged."""
    return str(judged_version(made).run_id)


@pytest.fixture(scope="module")
def browser(made: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=made.settings.url, timeout=30) as client:
        token = token_of(client.get("/sign-in"))
        client.post("/sign-in", data={"form_token": token, "key": made.make_key(Role.OPERATOR, *SEEN)})
        yield client


def token_of(page: httpx.Response) -> str:
    return page.text.partition('name="form_token" value="')[2].partition('"')[0]


def send(browser: httpx.Client, path: str, shown_on: str | None = None, **values: str) -> httpx.Response:
    return browser.post(path, data={"form_token": token_of(browser.get(shown_on or path)), **values})


def request_run(made: Deployment, name: str, priority: int = 0) -> str:
    with made.database.write() as session:
        assistant = assistants.get_assistant(session, name)
        return runs.request(session, assistant, "a test", actor="test", priority=priority).id


def begin_run(made: Deployment, name: str) -> str:
    """A run under way, a third through its training."""
    run_id = request_run(made, name, priority=9)
    held = runs.claim(made.database, "test", 600)
    assert held is not None
    assert held.run_id == run_id
    going: dict[str, Any] = {"stage": "sft", "step": 40, "total_steps": 120, "eta_seconds": 95}
    folder = attempt_folder(made.settings.runs / run_id, 1)
    folder.mkdir(parents=True)
    write_json(folder / "metrics.json", METRICS | going | {"tokens_per_second": 2345.6, "written_at": time.time()})
    return run_id


def test_a_run_is_started_moved_cancelled_and_tried_again(made: Deployment, browser: httpx.Client) -> None:
    place = "/console/a/teaching/runs"
    answer = send(browser, place, reason="Monday's words <b>", priority="3", search_trials="")
    assert answer.status_code == 303, answer.text
    here = answer.headers["location"]
    page = browser.get(here)
    assert "The run is queued." in page.text
    assert "Monday&#39;s words &lt;b&gt;" in page.text
    assert "a worker: none was seen" in page.text
    assert "has an open run already" in send(browser, place, shown_on=here).text
    assert send(browser, f"{here}/priority", shown_on=here, priority="seven").status_code == 400
    assert send(browser, f"{here}/priority", shown_on=here, priority="7").status_code == 303
    asked = browser.get(f"{here}/cancel").text
    assert "goes on serving" in asked
    assert send(browser, f"{here}/cancel").status_code == 303
    assert "Try it again" in browser.get(here).text
    assert send(browser, f"{here}/retry", shown_on=here).status_code == 303
    told = made.http.get(f"/v1/runs/{here.rpartition('/')[2]}").json()
    assert (told["status"], told["priority"], told["search_trials"]) == ("queued", 7, None)
    assert send(browser, f"{here}/cancel").status_code == 303
    assert "It has ended already" in browser.get(f"{here}/cancel").text


def test_runs_are_paged_by_their_last(made: Deployment, browser: httpx.Client) -> None:
    for _ in range(21):
        run_id = request_run(made, "many")
        with made.database.write() as session:
            runs.cancel(session, run_id, actor="test")
    first = browser.get("/console/a/many/runs").text
    assert first.count('href="/console/runs/run-') == 20
    older = first.partition('href="/console/a/many/runs?after=')[2].partition('"')[0]
    assert browser.get(f"/console/a/many/runs?after={older}").text.count('href="/console/runs/run-') == 1


def test_a_run_that_goes_on_tells_how_far_it_is_and_stops_asking_at_its_end(
    made: Deployment, browser: httpx.Client
) -> None:
    run_id = begin_run(made, "going")
    page = browser.get(f"/console/runs/{run_id}").text
    assert 'hx-trigger="every 2s"' in page
    part = browser.get(f"/console/runs/{run_id}/now")
    assert "<html" not in part.text
    assert "hx-refresh" not in part.headers
    for told in ("33%", "40 / 120", "2,346", "<polyline"):
        assert told in part.text
    with made.database.write() as session:
        runs.cancel(session, run_id, actor="test")
    ended = browser.get(f"/console/runs/{run_id}/now")
    assert ended.headers["hx-refresh"] == "true"
    assert "every 2s" not in ended.text
    assert "every 2s" not in browser.get(f"/console/runs/{run_id}").text


def test_a_failed_run_says_why(made: Deployment, browser: httpx.Client) -> None:
    run_id = request_run(made, "failing")
    held = runs.claim(made.database, "test", 60)
    assert held is not None
    assert runs.fail_attempt(made.database, held, "Give it <more> memory.", final=True) == RunStatus.FAILED
    page = browser.get(f"/console/runs/{run_id}").text
    assert "Give it &lt;more&gt; memory." in page
    assert "Try it again" in page


def test_a_verdict_begins_with_what_to_do_and_shows_what_stands_behind_it(browser: httpx.Client, judged: str) -> None:
    listed = browser.get("/console/a/support/verdicts").text
    assert f"/console/runs/{judged}/verdict" in listed
    assert "+0.500" in listed
    page = browser.get(f"/console/runs/{judged}/verdict").text
    assert page.index("It can go live") < page.index("key-fact recall +0.500") < page.index("own work, English")
    assert "candidate number 2" in page
    assert f"of={judged}%20sft-3" in page
    assert "<script>alert" not in page
    ended = browser.get(f"/console/runs/{judged}").text
    assert "Still falling at the last epoch" in ended
    assert '"torch": "2.9"' in ended


def test_replies_stand_side_by_side_by_what_became_of_them(browser: httpx.Client, judged: str) -> None:
    here = f"/console/runs/{judged}/replies"
    won = browser.get(here, params={"outcome": "won"}).text
    assert won.count("<article") == 10
    assert won.index("The tank holds") > won.index("I think it is about")
    assert ATTACK not in won
    after = won.partition('rel="next"')[0].rpartition("after=")[2].partition('"')[0]
    assert "brewer 10 hold" in browser.get(here, params={"outcome": "won", "after": after}).text
    lost = browser.get(here, params={"outcome": "lost"}).text
    assert lost.count("lacks key facts") == 10
    assert browser.get(here, params={"outcome": "other"}).status_code == 400


def test_the_report_is_served_with_its_own_policy(made: Deployment, browser: httpx.Client, judged: str) -> None:
    answer = browser.get(f"/console/runs/{judged}/report")
    assert answer.text.endswith("The whole report.</p>")
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert json.loads(browser.get(f"/console/runs/{judged}/report?format=json").text)["run_id"] == judged


def test_the_same_is_told_over_http(made: Deployment, judged: str) -> None:
    verdict = made.http.get(f"/v1/runs/{judged}/verdict").json()
    assert (verdict["verdict"], verdict["version"], verdict["tries"]) == ("PROMOTE", "support@1", 2)
    assert verdict["replies"] == {"won": 50, "lost": 10, "alike": 20}
    assert {one["measure"]: one["upper"] for one in verdict["measures"]} == {"recall": 0.614, "contrast": None}
    assert [one["name"] for one in verdict["guards"]] == ["bias", "separate_data", "sycophancy"]
    assert verdict["losses"][0]["causes"] == [{"row_id": "sft-3", "influence": 0.71}]
    said = made.http.get(f"/v1/runs/{judged}/replies", params={"outcome": "lost", "limit": 7}).json()
    assert (len(said["data"]), said["has_more"]) == (7, True)
    rest = made.http.get(f"/v1/runs/{judged}/replies", params={"outcome": "lost", "after": said["last_id"]}).json()
    assert (len(rest["data"]), rest["has_more"]) == (3, False)
    training = made.http.get(f"/v1/runs/{judged}/training").json()
    assert [one["method"] for one in training["curves"]] == ["sft"]
    assert "Still falling" in training["words"][0]


def test_what_was_erased_is_not_shown(made: Deployment, browser: httpx.Client) -> None:
    run_id = str(judged_version(made, "erased").run_id)
    (attempt_folder(made.settings.runs / run_id, 1) / "evaluation.json").unlink()
    page = browser.get(f"/console/runs/{run_id}/verdict").text
    assert "No replies are kept here" in page
    assert "not measurable" in page  # the database still knows the guards' outcomes
    assert browser.get(f"/console/runs/{run_id}/replies").status_code == 404


def test_runs_are_for_their_assistant_s_operators(made: Deployment, browser: httpx.Client, judged: str) -> None:
    made.make_assistant("closed")
    run_id = request_run(made, "closed")
    for path in ("", "/now", "/cancel", "/verdict", "/replies", "/report"):
        assert browser.get(f"/console/runs/{run_id}{path}").status_code == 404
    for path in ("cancel", "retry", "priority"):
        assert send(browser, f"/console/runs/{run_id}/{path}", shown_on="/console").status_code == 404
    for place in ("runs", "verdicts", "releases"):
        assert browser.get(f"/console/a/closed/{place}").status_code == 404
    reviewer = bearer(made.make_key(Role.REVIEWER))
    for path in ("verdict", "replies", "training"):
        assert made.anyone.get(f"/v1/runs/{judged}/{path}", headers=reviewer).status_code == 403
    with httpx.Client(base_url=made.settings.url, timeout=30) as client:
        key = made.make_key(Role.REVIEWER)
        client.post("/sign-in", data={"form_token": token_of(client.get("/sign-in")), "key": key})
        assert client.get("/console/a/support/runs").status_code == 403
        assert client.get(f"/console/runs/{judged}/verdict").status_code == 403


@pytest.mark.chromium
def test_an_operator_follows_a_run_and_reads_its_verdict(made: Deployment, judged: str, chromium: Browser) -> None:
    run_id = begin_run(made, "watched")
    page = open_page(chromium, made, key=made.admin)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto("/console/a/watched/runs")
    page.get_by_role("link", name=run_id).click()
    page.get_by_text("40 / 120").wait_for()
    folder = attempt_folder(made.settings.runs / run_id, 1)
    going = json.loads((folder / "metrics.json").read_text())
    write_json(folder / "metrics.json", going | {"step": 90})
    page.get_by_text("90 / 120").wait_for()  # without a reload
    with made.database.write() as session:
        runs.cancel(session, run_id, actor="test")
    page.get_by_role("button", name="Try it again").wait_for()
    for language, theme in (("en", "light"), ("zh", "dark")):
        for path in (f"/console/runs/{run_id}", f"/console/runs/{judged}/verdict", "/console/a/support/verdicts"):
            page.goto(f"/preferences?language={language}&theme={theme}&next={path}")
            assert axe_violations(page) == []
    assert failures == []
    page.context.close()
