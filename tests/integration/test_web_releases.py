"""The console's releases: what serves and what is tried, and each deed with what it says beforehand."""

import html
import re
from collections.abc import Iterator

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment, bearer, deployment
from judged_runs import judged_version
from playwright.sync_api import Browser
from sqlmodel import col, select

from feedback import adapters, assistants, releases
from feedback.columns import now
from feedback.models import AdapterVersion, AuditEntry, Evaluation
from feedback.states import Role, VerdictWord

CANARY = {"canary_percents": [10, 50], "canary_replies": 10_000}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("releases")) as found:
        yield found.start()


@pytest.fixture(scope="module")
def browser(made: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=made.settings.url, timeout=30) as client:
        token = token_of(client.get("/sign-in"))
        client.post("/sign-in", data={"form_token": token, "key": made.make_key(Role.OPERATOR)})
        yield client


def token_of(page: httpx.Response) -> str:
    return page.text.partition('name="form_token" value="')[2].partition('"')[0]


def send(browser: httpx.Client, name: str, deed: str, **values: str) -> httpx.Response:
    here = f"/console/a/{name}/releases"
    return browser.post(f"{here}/{deed}", data={"form_token": token_of(browser.get(here)), **values})


def look(browser: httpx.Client, name: str, deed: str = "", **query: int) -> str:
    return words(browser.get(f"/console/a/{name}/releases{deed}", params=query))


def words(page: httpx.Response) -> str:
    """What a page says, without its tags."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page.text).split()))


def assistant_with(made: Deployment, name: str, versions: int = 1, **policy: object) -> str:
    made.make_assistant(name)
    for _ in range(versions):
        made.publish_version(name)
    with made.database.write() as session:
        assistants.set_policies(session, assistants.get_assistant(session, name), {"release": policy}, actor="test")
    return name


def live(made: Deployment, name: str) -> int:
    with made.database.read() as session:
        return releases.live(session, assistants.get_assistant(session, name)).version.number


def trial(made: Deployment, name: str) -> tuple[str, int] | None:
    told = made.http.get(f"/v1/assistants/{name}/trial").json()
    return None if told is None else (told["version"], told["percent"])


def propose(made: Deployment, name: str) -> None:
    with made.database.write() as session:
        assistant = assistants.get_assistant(session, name)
        evaluation = session.exec(
            select(Evaluation)
            .join(AdapterVersion, col(AdapterVersion.id) == Evaluation.candidate_id)
            .where(AdapterVersion.assistant_id == assistant.id)
        ).one()
        releases.propose(session, assistant, evaluation, actor="worker:w1")


def test_a_version_is_tried_given_another_share_and_taken_back(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "tried", **CANARY)
    asked = look(browser, name, "/promote", version=1)
    assert "It serves 10 % of the conversations beside tried@0" in asked
    assert "without the trial" in asked
    assert send(browser, name, "promote", version="1", reason="worth a try").status_code == 303
    page = look(browser, name)
    assert "tried@1 beside tried@0" in page
    assert "tried@1 is canary now." in page
    assert trial(made, name) == ("tried@1", 10)
    assert send(browser, name, "share", version="1", percent="35").status_code == 303
    assert trial(made, name) == ("tried@1", 35)
    assert "from 1 to 99 percent" in words(send(browser, name, "share", version="1", percent="100"))
    assert "look again" in words(send(browser, name, "share", version="0", percent="20"))
    assert "Turn tried@1 down?" in look(browser, name, "/veto", version=1)
    assert "The trial of tried@1 ends, and tried@0 goes on serving" in look(browser, name, "/rollback")
    assert send(browser, name, "rollback", version="1", reason="I saw it lie").status_code == 303
    assert trial(made, name) is None
    assert "I saw it lie" in look(browser, name)
    assert "Nothing of 'tried' is on trial" in words(send(browser, name, "share", version="1", percent="35"))


def test_rolling_back_says_first_what_will_happen(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "taken", versions=2)
    assert "Roll back" not in look(browser, name)
    assert "Nothing served 'taken' before" in look(browser, name, "/rollback")
    for number in "12":
        assert send(browser, name, "promote", version=number, force="1").status_code == 303
    asked = look(browser, name, "/rollback")
    assert "taken@1 serves again, within two seconds, in place of taken@2" in asked
    assert "are finished by the version they began with" in asked
    assert "it served first on" in asked
    with made.database.write() as session:
        first = session.exec(select(AdapterVersion).where(AdapterVersion.sha256 == sha256_of(made, name, 1))).one()
        first.tainted_at, first.tainted_reason = now(), "Someone's words were erased."
    assert "Someone's words were erased." in look(browser, name, "/rollback")
    assert "is tainted and can't go live" in words(send(browser, name, "rollback", version="2"))
    assert live(made, name) == 2
    assert send(browser, name, "rollback", version="2", accept_tainted="1").status_code == 303
    assert live(made, name) == 1
    assert "doesn't serve" in words(send(browser, name, "rollback", version="2"))  # sent twice
    versions = look(browser, name, "/versions")
    assert "tainted Someone's words were erased." in versions
    assert sha256_of(made, name, 2) in versions


def sha256_of(made: Deployment, name: str, number: int) -> str:
    found = made.http.get(f"/v1/assistants/{name}/versions").json()
    return next(str(one["sha256"]) for one in found if one["version"] == f"{name}@{number}")


def test_an_unproven_version_needs_force_and_files_must_be_whole(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "unproven", versions=0)
    version = made.publish_version(name, verdict=VerdictWord.BLOCKED)
    assert 'name="force"' in browser.get(f"/console/a/{name}/releases/promote?version=1").text
    assert "was not found better" in words(send(browser, name, "promote", version="1"))
    weights = made.settings.adapters / version.sha256 / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole + b"x")
    assert "was changed after it was published" in words(send(browser, name, "promote", version="1", force="1"))
    weights.write_bytes(whole)
    assert send(browser, name, "promote", version="1", force="1").status_code == 303
    assert live(made, name) == 1


def test_several_people_approve_and_one_turns_down(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "asked", approvals=2)
    propose(made, name)
    assert "asked@1 waits for your word" in look(browser, name)
    assert "it takes 2 people in all" in look(browser, name, "/promote", version=1)
    assert send(browser, name, "promote", version="1").status_code == 303
    assert "1 of 2 agreed" in look(browser, name)
    assert live(made, name) == 0
    told = made.http.get(f"/v1/assistants/{name}/promote", params={"version": 1}).json()
    assert (told["state"], len(told["approved_by"])) == ("live", 1)  # the next one's word is enough
    assert send(browser, name, "veto", version="1", reason="too long").status_code == 303
    assert "too long" in look(browser, name)
    assert made.http.get(f"/v1/assistants/{name}/releases").json()["data"][0]["state"] == "vetoed"


def test_frozen_releases_go_on_only_when_thawed(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "frozen", **CANARY)
    send(browser, name, "promote", version="1")
    assert send(browser, name, "freeze", frozen="1", reason="a holiday").status_code == 303
    assert "nothing is promoted or grown" in look(browser, name)
    assert "Releases are frozen" in look(browser, name, "/promote", version=1)
    assert "are frozen" in words(send(browser, name, "promote", version="1"))
    assert "are frozen" in words(send(browser, name, "share", version="1", percent="50"))
    assert send(browser, name, "share", version="1", percent="5").status_code == 303  # less is always allowed
    assert send(browser, name, "freeze").status_code == 303
    assert send(browser, name, "share", version="1", percent="50").status_code == 303
    with made.database.read() as session:
        deeds = col(AuditEntry.action).in_(["release.freeze", "release.thaw"])
        kept = select(AuditEntry.action).where(AuditEntry.subject == name, deeds)
        assert session.exec(kept).all() == ["release.freeze", "release.thaw"]


def test_releases_are_paged_and_drift_is_told(made: Deployment, browser: httpx.Client) -> None:
    name = assistant_with(made, "long", versions=1)
    with made.database.write() as session:
        assistant = assistants.get_assistant(session, name)
        for number in (1, 0) * 11:
            version = adapters.get_number(session, assistant, number)
            releases.promote(session, assistant, version, actor="test", reason="a test", force=True)
    first = browser.get(f"/console/a/{name}/releases").text
    older = first.partition(f'href="/console/a/{name}/releases?after=')[2].partition('"')[0]
    assert older
    assert "The bare base serves until" in look(browser, name, after=int(older))
    assert "The bare base serves until" not in words(browser.get(f"/console/a/{name}/releases"))
    page = made.http.get(f"/v1/assistants/{name}/releases", params={"limit": 5}).json()
    assert (len(page["data"]), page["has_more"]) == (5, True)
    assert "too little to tell" in look(browser, name, "/drift")
    assert "Nothing served before" in look(browser, assistant_with(made, "young", versions=0), "/drift")


def test_the_share_is_set_over_http_and_on_the_command_line(made: Deployment) -> None:
    name = assistant_with(made, "shared", **CANARY)
    address = f"/v1/assistants/{name}/trial"
    assert made.http.post(address, json={"percent": 20}).json()["error"]["code"] == "no_trial"
    made.http.post(f"/v1/assistants/{name}/promote", json={"version": 1})
    moved = made.http.post(address, json={"percent": 20, "version": 1}).json()
    assert (moved["version"], moved["state"], moved["percent"], moved["live"]) == (
        f"{name}@1",
        "canary",
        20,
        f"{name}@0",
    )
    assert made.http.post(address, json={"percent": 0}).status_code == 400
    assert "percent" in made.burnish("adapters", "share", name, "30").stdout
    assert trial(made, name) == (f"{name}@1", 30)
    outlook = made.http.get(f"/v1/assistants/{name}/rollback").json()
    assert (outlook["takes_back"], outlook["on_trial"], outlook["serves_then"]) == (f"{name}@1", True, f"{name}@0")
    assert made.http.post(f"/v1/assistants/{name}/freeze", json={"frozen": True}).json() == {
        "frozen": True,
        "changed": True,
    }
    reviewer = bearer(made.make_key(Role.REVIEWER))
    for path in ("trial", "freeze"):
        body = {"percent": 3} if path == "trial" else {"frozen": False}
        answer = made.anyone.post(f"/v1/assistants/{name}/{path}", json=body, headers=reviewer)
        assert answer.status_code == 403


@pytest.mark.chromium
def test_an_operator_tries_a_version_and_takes_it_back(made: Deployment, chromium: Browser) -> None:
    name = assistant_with(made, "clicked", versions=0, **CANARY)
    judged_version(made, name)
    page = open_page(chromium, made, key=made.admin)
    here = f"/console/a/{name}/releases"
    page.goto(f"{here}/versions")
    page.get_by_role("row", name=f"{name}@1").get_by_role("link", name="Promote…").click()
    page.get_by_label("Why").fill("worth a try")
    page.get_by_role("button", name=f"Promote {name}@1").click()
    slider = page.get_by_label("Its share of the conversations")
    slider.fill("42")
    assert page.locator("output").text_content() == "42"
    page.get_by_role("button", name="Set the share now").click()
    page.get_by_text("It serves 42 % of the conversations now.").wait_for()
    for language, theme in (("en", "light"), ("zh", "dark")):
        for path in (here, f"{here}/versions", f"{here}/rollback", f"{here}/promote?version=1"):
            page.goto(f"/preferences?language={language}&theme={theme}&next={path}")
            assert axe_violations(page) == []
    page.goto(f"/preferences?language=en&next={here}")
    page.get_by_role("link", name="Roll back…").click()
    page.get_by_role("button", name=f"Take {name}@1 back").click()
    page.get_by_text(f"{name}@0 serves.").wait_for()
    page.context.close()
