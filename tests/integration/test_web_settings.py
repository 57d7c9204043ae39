"""The console's settings, keys and audit: what they change, what they keep of what was typed, and whom they let in."""

import html
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from browsing import axe_violations, open_page
from burnish_server import Deployment
from playwright.sync_api import Browser

from feedback.states import Role

TABS = ("", "/policies", "/policies/release", "/consent", "/webhooks", "/retention", "/suites", "/erasures")
GOLDEN = '{"messages": [{"role": "user", "content": "How long?"}], "must": ["8 hours"]}'


class Visitor:
    """A browser without scripts, signed in with a key."""

    def __init__(self, made: Deployment, key: str) -> None:
        self.http = httpx.Client(base_url=made.settings.url, timeout=30)
        self._token = self._token_on("/sign-in")
        self.post("/sign-in", key=key)
        self._token = self._token_on("/console")

    def get(self, path: str, **asked: Any) -> httpx.Response:
        return self.http.get(path, params=asked or None)

    def post(self, path: str, files: Any = None, **data: Any) -> httpx.Response:
        return self.http.post(path, data={"form_token": self._token, **data}, files=files)

    def read(self, path: str, **asked: Any) -> str:
        answer = self.get(path, **asked)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def _token_on(self, path: str) -> str:
        found = re.search(r'name="form(?:_token" value|-token" content)="([^"]+)"', self.http.get(path).text)
        assert found is not None
        return found[1]


@pytest.fixture(scope="module")
def admin(server: Deployment) -> Iterator[Visitor]:
    made = Visitor(server, server.admin)
    yield made
    made.http.close()


@pytest.fixture
def shop(server: Deployment) -> str:
    return server.make_assistant(f"shop-{random.randrange(10**9)}")


def shown(page: str, name: str) -> str:
    """What is in a field of the page's form."""
    found = re.search(rf'name="{name}"[^>]*?value="([^"]*)"|<textarea[^>]*name="{name}"[^>]*>\n([^<]*)', page)
    assert found is not None, name
    return html.unescape(found[1] if found[1] is not None else found[2])


# ── guidelines ──


def test_guidelines_are_changed_compared_and_brought_back(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings"
    draft = {"tone": "Warm & <b>short</b>.", "boundaries": "Never guess.\n\nNever quote prices.", "version": "1"}
    assert admin.post(base, **draft).headers["location"] == base
    current = server.http.get(f"/v1/assistants/{shop}/guidelines").json()
    assert (current["version"], current["boundaries"]) == (2, ["Never guess.", "Never quote prices."])
    page = admin.read(base)
    assert shown(page, "tone") == draft["tone"]
    assert "<b>short</b>" not in page
    assert "<ins>Never" in admin.read(f"{base}/guidelines/2")
    assert admin.post(f"{base}/guidelines/1/restore", version="2").status_code == 303
    assert server.http.get(f"/v1/assistants/{shop}/guidelines").json()["tone"] == ""


def test_a_preview_shows_the_prompt_and_saves_nothing(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings"
    for answer in (admin.post(f"{base}/preview", tone="Warm."), admin.post(base, tone="Warm.", preview="1")):
        assert "How you speak: Warm." in answer.text
    assert server.http.get(f"/v1/assistants/{shop}/guidelines").json()["version"] == 1


def test_what_was_typed_stays_when_somebody_else_was_first_or_it_is_wrong(
    server: Deployment, admin: Visitor, shop: str
) -> None:
    base = f"/console/a/{shop}/settings"
    server.http.put(f"/v1/assistants/{shop}/guidelines", json={"tone": "Theirs."})
    late = admin.post(base, tone="Mine.", version="1")
    assert (late.status_code, shown(late.text, "tone"), shown(late.text, "version")) == (400, "Mine.", "2")
    assert "<ins>Theirs" in late.text
    wrong = admin.post(base, tone="Mine.", boundaries="x" * 501, version="2")
    assert (wrong.status_code, shown(wrong.text, "tone")) == (400, "Mine.")
    assert 'id="e-boundaries"' in wrong.text
    assert server.http.get(f"/v1/assistants/{shop}/guidelines").json()["tone"] == "Theirs."


# ── policies ──


def section(server: Deployment, shop: str, name: str) -> dict[str, Any]:
    return dict(server.http.get(f"/v1/assistants/{shop}").json()["policies"][name])


def form_of(page: str) -> dict[str, Any]:
    """A section's form as a browser would send it."""
    form: dict[str, Any] = {"seen": shown(page, "seen")}
    for name in re.findall(r'<(?:input|textarea|select) id="s-(\w+)"', page):
        control = page.partition(f'id="s-{name}"')[2].partition("</div>")[0]
        if "<option" in control:
            form[name] = re.search(r"<option selected>(\w+)<", control)[1]  # type: ignore[index]
        elif 'value="on"' not in control:
            form[name] = shown(page, name)
        elif " checked" in control.partition(">")[0]:
            form[name] = "on"
    return form


def test_a_section_saves_what_was_changed_and_nothing_else(server: Deployment, admin: Visitor, shop: str) -> None:
    url = f"/console/a/{shop}/settings/policies/release"
    form, before = form_of(admin.read(url)), section(server, shop, "release")
    server.http.patch(f"/v1/assistants/{shop}", json={"policies": {"release": {"approvals": 3}}})
    form |= {"promotion": "auto", "canary_percents": "5, 25", "separate_duties": "on"}
    assert admin.post(url, **form).status_code == 303
    changed = {"approvals": 3, "promotion": "auto", "canary_percents": [5, 25], "separate_duties": True}
    assert section(server, shop, "release") == before | changed
    assert "release.canary_percents" in admin.read(f"/console/a/{shop}/settings/policies")
    form = form_of(admin.read(url))
    assert admin.post(url, **form, reset="canary_percents").status_code == 303
    assert section(server, shop, "release")["canary_percents"] == []
    reset = admin.read(f"{url}/reset")
    assert "promotion" in reset
    assert admin.post(f"{url}/reset", seen=shown(reset, "seen")).status_code == 303
    assert section(server, shop, "release") == before


@pytest.mark.parametrize(
    ("name", "changes", "at"),
    [
        ("training", {"gate_fraction": "much"}, "gate_fraction"),
        ("training", {"gate_fraction": "7"}, "gate_fraction"),
        ("training", {"schedule": "61 3 * * *"}, "schedule"),
        ("training", {"min_ratings": ""}, "min_ratings"),
        ("collect", {"survey": "[{]"}, "survey"),
        ("collect", {"survey": '[{"id": "a", "text": "b", "kind": "choice"}]'}, "survey"),
        ("release", {"canary_percents": "25, 5"}, "canary_percents"),
    ],
)
def test_what_is_wrong_is_said_beside_it_and_kept(
    server: Deployment, admin: Visitor, shop: str, name: str, changes: dict[str, str], at: str
) -> None:
    url, before = f"/console/a/{shop}/settings/policies/{name}", section(server, shop, name)
    answer = admin.post(url, **(form_of(admin.read(url)) | changes))
    assert answer.status_code == 400
    assert f'id="e-{at}"' in answer.text
    assert {field: shown(answer.text, field) for field in changes} == changes
    assert section(server, shop, name) == before


def test_who_decided_on_an_outdated_value_is_told(server: Deployment, admin: Visitor, shop: str) -> None:
    url = f"/console/a/{shop}/settings/policies/verdict"
    form = form_of(admin.read(url))
    server.http.patch(f"/v1/assistants/{shop}", json={"policies": {"verdict": {"alpha": 0.01}}})
    answer = admin.post(url, **(form | {"alpha": "0.1"}))
    assert (answer.status_code, "0.01 meanwhile" in answer.text) == (400, True)
    assert section(server, shop, "verdict")["alpha"] == 0.01


def test_every_section_shows_and_takes_back_what_it_shows(server: Deployment, admin: Visitor, shop: str) -> None:
    before = server.http.get(f"/v1/assistants/{shop}").json()
    overview = admin.read(f"/console/a/{shop}/settings/policies")
    sections = set(re.findall(r'/settings/policies/(\w+)"', overview))
    assert sections == before["policies"].keys() - {"retention"}
    for name in sections:
        url = f"/console/a/{shop}/settings/policies/{name}"
        page = admin.read(url)
        assert set(re.findall(r'class="setting[^"]*" id="(\w+)"', page)) == before["policies"][name].keys()
    assert admin.get(f"/console/a/{shop}/settings/policies/weather").status_code == 404
    assert server.http.get(f"/v1/assistants/{shop}").json() == before


# ── consent, webhooks, retention, suites, erasures ──


def test_consent_and_retention_are_changed(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings"
    server.ask("How big?", shop)
    assert admin.post(f"{base}/consent", consent="opt_in").status_code == 303
    assert admin.post(f"{base}/consent", consent="maybe").status_code == 400
    assert "Nothing that is here now would go" in admin.read(f"{base}/retention", days="30")
    assert admin.get(f"{base}/retention", days="never").status_code == 400
    assert admin.post(f"{base}/retention", days="30", seen="").status_code == 303
    assert admin.post(f"{base}/retention", days="60", seen="20").status_code == 400, "somebody else changed it"
    changed = server.http.get(f"/v1/assistants/{shop}").json()
    assert (changed["consent"], changed["policies"]["retention"]["message_days"]) == ("opt_in", 30)
    assert admin.post(f"{base}/retention", days="", seen="30").status_code == 303
    assert section(server, shop, "retention")["message_days"] is None


def test_a_webhook_s_secret_is_shown_once(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings/webhooks"
    url = "https://example.org/a?b=1&c=<2>"
    wrong = admin.post(base, url="ftp://example.org", events="run.failed")
    assert (wrong.status_code, shown(wrong.text, "url")) == (400, "ftp://example.org")
    made = admin.post(base, url=url, events=["run.failed", "release.live"])
    assert "whsec_" in made.text
    assert "no-store" in made.headers["cache-control"]
    page = admin.read(base)
    assert html.escape(url) in page
    assert "whsec_" not in page
    hook = server.http.get(f"/v1/assistants/{shop}/webhooks").json()["data"][0]
    assert hook["events"] == ["run.failed", "release.live"]
    assert "whsec_" not in admin.read(f"{base}/{hook['id']}") + admin.read(f"{base}/{hook['id']}/remove")
    assert admin.post(f"{base}/{hook['id']}/remove").status_code == 303
    assert server.http.get(f"/v1/assistants/{shop}/webhooks").json()["data"] == []


def test_a_suite_is_pasted_replaced_by_a_file_and_removed(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings/suites"
    wrong = admin.post(base, name="lamps", content="{no")
    assert (wrong.status_code, shown(wrong.text, "content")) == (400, "{no")
    assert admin.post(base, name="lamps", content=GOLDEN).status_code == 303
    file = {"file": ("lamps.jsonl", f"{GOLDEN}\n{GOLDEN}".encode())}
    assert admin.post(base, files=file, name="lamps", kind="golden").status_code == 303
    (suite,) = server.http.get(f"/v1/assistants/{shop}/suites").json()["data"]
    assert (suite["name"], suite["items"]) == ("lamps", 2)
    assert "2 items" in admin.read(f"{base}/lamps/remove")
    assert admin.post(f"{base}/lamps/remove").status_code == 303
    assert admin.get(f"{base}/lamps/remove").status_code == 404


def test_an_erasure_is_looked_at_done_and_leaves_a_receipt(server: Deployment, admin: Visitor, shop: str) -> None:
    base = f"/console/a/{shop}/settings/erasures"
    completion = server.ask("How big?", shop, user="ada <3")["id"]
    server.give(completion, "correction", "Two metres.")
    asked = {"what": "user", "name": "ada <3"}
    nobody = admin.post(f"{base}/preview", what="user", name="eve")
    assert (nobody.status_code, shown(nobody.text, "name")) == (400, "eve")
    preview = admin.post(f"{base}/preview", **asked).text
    assert "messages: 2" in preview
    assert "ada &lt;3" in preview
    assert server.replies(completion)
    receipt = admin.post(base, **asked).headers["location"]
    assert "conversations: 1" in admin.read(receipt)
    assert not server.replies(completion)
    assert receipt in admin.read(base)
    assert shown(admin.read(base, what="feedback", id="fb-1"), "name") == "fb-1"


# ── assistants, keys, audit ──


def test_an_assistant_is_made_on_a_page(server: Deployment, admin: Visitor) -> None:
    name = f"made-{random.randrange(10**9)}"
    wrong = admin.post("/console/assistants/new", name="No Name", tone="Warm.")
    assert (wrong.status_code, shown(wrong.text, "tone"), 'id="e-name"' in wrong.text) == (400, "Warm.", True)
    made = admin.post("/console/assistants/new", name=name, tone="Warm.", boundaries="Never guess.\nBe kind.")
    assert made.headers["location"] == f"/console/a/{name}/settings"
    guidelines = server.http.get(f"/v1/assistants/{name}/guidelines").json()
    assert (guidelines["version"], guidelines["tone"], len(guidelines["boundaries"])) == (1, "Warm.", 2)


def test_a_key_is_shown_once_and_signs_out_whom_it_signed_in(server: Deployment, admin: Visitor, shop: str) -> None:
    made = admin.post("/console/keys", name="<i>Ada</i>", role="operator", reach="some", assistants=shop)
    key = shown(made.text.replace(' id="key"', ' name="key"'), "key")
    assert key.startswith("sk-burnish-")
    page = admin.read("/console/keys")
    assert key not in page
    assert "&lt;i&gt;Ada&lt;/i&gt;" in page
    (number,) = re.findall(r"Ada&lt;/i&gt; <span class=\"muted\">#(\d+)", page)
    ada = Visitor(server, key)
    assert ada.get(f"/console/a/{shop}/settings").status_code == 200
    assert ada.get("/console/keys").status_code == 403
    assert admin.get(f"/console/keys/{number}/revoke").status_code == 200
    assert admin.post(f"/console/keys/{number}/revoke").status_code == 303
    assert ada.get(f"/console/a/{shop}/settings").status_code == 303
    for wrong in ({"role": "king"}, {"role": "chat", "reach": "some"}, {"role": "chat", "name": " "}):
        assert admin.post("/console/keys", **{"name": "x", "reach": "all"} | wrong).status_code == 400


def test_a_limited_admin_makes_no_key_beyond_itself(server: Deployment, shop: str) -> None:
    mine = Visitor(server, server.make_key(Role.ADMIN, shop))
    assert "garden" not in mine.read("/console/keys")
    assert mine.post("/console/keys", name="x", role="admin", reach="all").status_code == 400
    assert mine.post("/console/keys", name="x", role="chat", reach="some", assistants="garden").status_code == 400
    assert mine.post("/console/keys", name="x", role="chat", reach="some", assistants=shop).status_code == 200
    for path in ("/console/keys/1/revoke", "/console/keys/999999/revoke"):
        assert (mine.get(path).status_code, mine.post(path).status_code) == (404, 404)
    assert mine.post("/console/assistants/new", name="mine").status_code == 403
    assert mine.get("/console/audit").status_code == mine.get("/console/audit/check").status_code == 403


def test_the_log_is_filtered_paged_and_checked(server: Deployment, admin: Visitor, shop: str) -> None:
    for tone in ("Warm.", "Cold."):
        server.http.put(f"/v1/assistants/{shop}/guidelines", json={"tone": tone})
    page = admin.read("/console/audit", action="assistant.", subject=shop)
    assert page.count("<code>assistant.guidelines</code>") == 2
    first = re.findall(r'<th scope="row" class="number">(\d+)', page)[1]
    assert page.count("<tr>") == 4
    assert admin.read("/console/audit", action="assistant.", subject=shop, after=first).count("<tr>") == 2
    assert "There is no such entry" in admin.read("/console/audit", subject="nothing")
    assert "each signature is right" in admin.read("/console/audit/check")


def test_another_s_assistant_is_not_there_and_reviewers_see_none_of_it(server: Deployment, shop: str) -> None:
    own = server.make_assistant(f"{shop}-own")
    hook = server.http.post(f"/v1/assistants/{shop}/webhooks", json={"url": "https://example.org"}).json()["id"]
    server.ask("How big?", shop, user="ada")
    erasure = server.http.post(f"/v1/assistants/{shop}/erasures", json={"user": "ada"}).json()["erasure"]["id"]
    before = server.http.get(f"/v1/assistants/{shop}").json()
    stranger, reviewer = (
        Visitor(server, server.make_key(Role.OPERATOR, own)),
        Visitor(server, server.make_key(Role.REVIEWER)),
    )
    theirs = (f"/webhooks/{hook}", f"/webhooks/{hook}/remove", f"/erasures/{erasure}")
    for path in (*TABS, "/guidelines/1", "/policies/release/reset", *theirs):
        assert stranger.get(f"/console/a/{shop}/settings{path}").status_code == 404, path
        assert reviewer.get(f"/console/a/{shop}/settings{path}").status_code == 403, path
    for path in theirs:
        assert stranger.get(f"/console/a/{own}/settings{path}").status_code == 404, path
    body = {
        "tone": "x", "version": "1", "seen": "{}", "consent": "opt_in", "url": "https://evil.example", "name": "ada",
        "content": GOLDEN, "what": "user", "days": "1",
    }  # fmt: skip
    deeds = ("", "/preview", "/guidelines/1/restore", "/policies/release", "/policies/release/reset", "/consent")
    deeds += ("/webhooks", f"/webhooks/{hook}/remove", "/retention", "/suites", "/erasures", "/erasures/preview")
    for path in deeds:
        body["seen"] = "" if path == "/retention" else "{}"
        assert stranger.post(f"/console/a/{shop}/settings{path}", **body).status_code == 404, path
        assert reviewer.post(f"/console/a/{shop}/settings{path}", **body).status_code == 403, path
    for path in ("/console/keys", "/console/audit", "/console/audit/check", "/console/assistants/new"):
        assert reviewer.get(path).status_code == stranger.get(path).status_code == 403, path
    assert server.http.get(f"/v1/assistants/{shop}").json() == before
    assert server.http.get(f"/v1/assistants/{shop}/webhooks").json()["data"][0]["id"] == hook


@pytest.mark.chromium
def test_settings_keys_and_audit_in_a_browser(server: Deployment, shop: str, chromium: Browser) -> None:
    page = open_page(chromium, server, key=server.admin)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    base = f"/console/a/{shop}/settings"
    page.goto(base)
    page.get_by_label("Tone", exact=True).fill("Warm.")
    page.get_by_text("How you speak: Warm.").wait_for()  # the preview follows without a button
    page.get_by_role("button", name="Save as version 2").click()
    page.get_by_text("Version 2 of the guidelines is current.").wait_for()
    page.get_by_role("link", name="Policies").click()
    page.get_by_role("link", name="How it goes live").click()
    page.get_by_label("promotion").select_option("auto")
    page.get_by_label("canary_percents").fill("25, 5")
    page.get_by_label("canary_percents").press("Enter")
    page.locator("#e-canary_percents").wait_for()
    page.get_by_label("canary_percents").fill("5, 25")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.get_by_text("Saved.").wait_for()
    assert section(server, shop, "release")["promotion"] == "auto"
    page.goto("/console/keys")
    page.get_by_label("Who or what it is for").fill("a browser's")
    page.get_by_role("button", name="Make the key").click()
    assert page.get_by_label("Its text, shown this once").input_value().startswith("sk-burnish-")
    assert complaints == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    looks = [f"{base}{tab}" for tab in ("", "/policies/release", "/suites", "/erasures")] + ["/console/keys"]
    others = [f"{base}{tab}" for tab in ("/policies", "/webhooks", "/guidelines/2")] + ["/console/audit"]
    page.set_viewport_size({"width": 360, "height": 740})
    for language, theme, paths in (("en", "light", looks), ("zh", "dark", looks + others)):
        page.goto(f"/preferences?language={language}&theme={theme}&next=/console")
        for path in paths:
            page.goto(path)
            assert axe_violations(page) == [], path
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
    page.context.close()
