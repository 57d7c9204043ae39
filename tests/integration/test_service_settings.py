"""Assistants, keys, retention and the audit log over HTTP: what admins and operators decide, and who may not."""

import random
from typing import Any

import httpx
import pytest
from burnish_server import Deployment, bearer, eventually

from feedback import keys
from feedback.states import Role


@pytest.fixture
def shop(server: Deployment) -> str:
    """An assistant of the test's own on the shared service."""
    return server.make_assistant(f"shop-{random.randrange(10**9)}")


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json()["error"])


# ── assistants ──


def test_an_assistant_is_made_answers_and_is_changed(server: Deployment) -> None:
    name = f"made-{random.randrange(10**9)}"
    body = {"name": name, "system_prompt": "You are Ada.", "boundaries": ["Never guess."]}
    made = server.http.post("/v1/assistants", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["live"], made.json()["consent"]) == (f"{name}@0", "opt_out")
    guidelines = server.http.get(f"/v1/assistants/{name}/guidelines").json()
    assert (guidelines["version"], guidelines["boundaries"]) == (1, ["Never guess."])
    eventually(lambda: server.serves(f"{name}@0"), "it answers", 10)
    change = {"policies": {"release": {"promotion": "auto"}}, "consent": "opt_in"}
    changed = server.http.patch(f"/v1/assistants/{name}", json=change).json()
    assert (changed["policies"]["release"]["promotion"], changed["consent"]) == ("auto", "opt_in")
    assert server.http.get(f"/v1/assistants/{name}").json() == changed
    assert error(server.http.post("/v1/assistants", json=body), 400)["param"] == "name"
    assert error(server.http.post("/v1/assistants", json={"name": "no name"}), 400)["param"] == "name"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"release": {"approvals": 9}}, "release.approvals"),
        ({"weather": {"rain": True}}, None),
        ({"release": {"weather": 1}}, "release.weather"),
        ({"release": {f"x{number}": 1 for number in range(10_000)}}, "release.x0"),
        ({"age": {"correction_days": "inf"}}, "age.correction_days"),
        ({"training": {"min_seconds_between_runs": 1e300}}, "training.min_seconds_between_runs"),
        ({"training": {"min_new_feedback": "9" * 30}}, "training"),
        ({"collect": {"survey": [{f"x{number}": 1 for number in range(10_000)}]}}, "collect.survey.0"),
        ({"verdict": {"required_guards": ["x"] * 10_000}}, "verdict.required_guards"),
        ({"training": {"dev_fraction": 0.5, "gate_fraction": 0.5}}, None),
    ],
)
def test_policies_that_can_t_be_change_nothing(
    server: Deployment, shop: str, changes: dict[str, Any], param: str | None
) -> None:
    before = server.http.get(f"/v1/assistants/{shop}").json()
    assert error(server.http.patch(f"/v1/assistants/{shop}", json={"policies": changes}), 400)["param"] == param
    assert server.http.get(f"/v1/assistants/{shop}").json() == before


def test_guidelines_are_looked_at_before_and_brought_back_after(server: Deployment, shop: str) -> None:
    url = f"/v1/assistants/{shop}/guidelines"
    preview = server.http.post(f"{url}/preview", json={"tone": "Warm."})
    assert (preview.status_code, preview.json()) == (200, {"text": "How you speak: Warm."})
    for tone in ("Warm.", "Cold."):
        server.http.put(url, json={"tone": tone})
    assert error(server.http.post(f"{url}/versions/2/restore", json={"version": 2}), 400)["code"] == "conflict"
    back = server.http.post(f"{url}/versions/2/restore", json={"version": 3}).json()
    assert (back["version"], back["tone"]) == (4, "Warm.")
    first = server.http.get(f"{url}/versions", params={"limit": 3}).json()
    assert ([one["version"] for one in first["data"]], first["has_more"]) == ([4, 3, 2], True)
    rest = server.http.get(f"{url}/versions", params={"after": first["last_id"]}).json()
    assert ([one["version"] for one in rest["data"]], rest["has_more"]) == ([1], False)


def test_what_would_be_too_old_is_told(server: Deployment, shop: str) -> None:
    server.ask("How big?", shop)
    url = f"/v1/assistants/{shop}/retention"
    for_ever = {"message_days": None, "kept_since": None, "counts": {}, "datasets": [], "more": False}
    assert server.http.get(url).json() == for_ever
    would = server.http.get(url, params={"message_days": 30}).json()
    assert (would["message_days"], would["counts"], would["kept_since"] is None) == (30, {}, False)
    assert error(server.http.get(url, params={"message_days": 0}), 400)


# ── keys ──


def make_key(server: Deployment, by: str, **body: Any) -> httpx.Response:
    return server.anyone.post("/v1/keys", headers=bearer(by), json={"name": "a page", **body})


def test_a_key_is_made_opens_what_it_may_and_is_revoked(server: Deployment, shop: str) -> None:
    made = make_key(server, server.admin, role="operator", assistants=[shop, shop])
    assert made.status_code == 201, made.text
    key = made.json()
    listed = server.http.get("/v1/keys", params={"limit": 1}).json()
    assert listed["data"] == [{name: value for name, value in key.items() if name != "key"}]
    assert (listed["has_more"], listed["data"][0]["assistants"]) == (True, [shop])
    mine = bearer(key["key"])
    assert [one["name"] for one in server.anyone.get("/v1/assistants", headers=mine).json()] == [shop]
    assert server.http.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert server.anyone.get("/v1/assistants", headers=mine).status_code == 401
    older = server.http.get("/v1/keys", params={"after": key["id"]}).json()["data"]
    assert key["id"] not in {one["id"] for one in older}
    assert all(one["prefix"] for one in older), "keys without a text are nobody's business"
    assert error(server.http.delete(f"/v1/keys/{10**30}"), 404)


def test_a_key_makes_none_that_sees_more_than_itself(server: Deployment, shop: str) -> None:
    other = server.make_assistant(f"{shop}-other")
    limited = server.make_key(Role.ADMIN, shop)
    error(make_key(server, limited, role="chat"), 403)
    unknown, hidden = (error(make_key(server, limited, assistants=[shop, name]), 404) for name in ("nobody", other))
    assert hidden["message"].replace(other, "nobody") == unknown["message"], "nobody can tell which"
    made = make_key(server, limited, role="admin", assistants=[shop])
    assert made.status_code == 201, made.text
    seen = {one["name"] for one in server.anyone.get("/v1/keys", headers=bearer(limited)).json()["data"]}
    assert seen == {"a page", "a admin key"}
    with server.database.read() as session:
        above = keys.authenticate(session, server.admin).api_key_id
    for wider in (above, keys_that_see(server, shop, other)):
        error(server.anyone.delete(f"/v1/keys/{wider}", headers=bearer(limited)), 404)
    assert server.anyone.delete(f"/v1/keys/{made.json()['id']}", headers=bearer(limited)).status_code == 204
    error(server.anyone.post("/v1/assistants", headers=bearer(limited), json={"name": "mine"}), 403)
    error(make_key(server, server.make_key(Role.OPERATOR)), 403)


def keys_that_see(server: Deployment, *names: str) -> int:
    with server.database.write() as session:
        return keys.create(session, "wider", Role.CHAT, names, actor="test")[0].id


# ── the audit log ──


def test_the_log_is_read_page_by_page_and_checked(server: Deployment, shop: str) -> None:
    for tone in ("Warm.", "Cold."):
        server.http.put(f"/v1/assistants/{shop}/guidelines", json={"tone": tone})
    asked = {"action": "assistant.", "subject": shop}
    first = server.http.get("/v1/audit", params={**asked, "limit": 2}).json()
    assert [one["details"].get("version") for one in first["data"]] == [3, 2]
    rest = server.http.get("/v1/audit", params={**asked, "after": first["last_id"]}).json()
    assert ([one["action"] for one in rest["data"]], rest["has_more"]) == (["assistant.create"], False)
    assert all(one["signed"] for one in first["data"])
    checked = server.http.get("/v1/audit/check", params={"newest": 3}).json()
    assert checked == {"entries": 3, "flaws": []}


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/check"])
def test_a_key_that_does_not_see_everything_does_not_see_the_log(server: Deployment, shop: str, path: str) -> None:
    for key in (
        server.make_key(Role.ADMIN, shop),
        server.make_key(Role.OPERATOR, shop),
        server.make_key(Role.REVIEWER),
    ):
        error(server.anyone.get(path, headers=bearer(key)), 403)
    assert server.anyone.get(path, headers=bearer(server.make_key(Role.OPERATOR))).status_code == 200


# ── who may not ──


def test_another_s_assistant_is_not_there_and_reviewers_change_nothing(server: Deployment, shop: str) -> None:
    other = server.make_assistant(f"{shop}-mine")
    stranger, reviewer = server.make_key(Role.OPERATOR, other), server.make_key(Role.REVIEWER)
    base = f"/v1/assistants/{shop}"
    for method, path, body in [
        ("GET", base, None),
        ("PATCH", base, {"consent": "opt_in"}),
        ("POST", f"{base}/guidelines/preview", {"tone": "x"}),
        ("POST", f"{base}/guidelines/versions/1/restore", {}),
        ("GET", f"{base}/retention", None),
    ]:
        for key, status in ((stranger, 404), (reviewer, 403)):
            answer = server.anyone.request(method, path, headers=bearer(key), json=body)
            assert answer.status_code == status, (method, path, answer.text)
    for method, path in [
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("DELETE", "/v1/keys/1"),
        ("POST", "/v1/assistants"),
    ]:
        assert server.anyone.request(method, path, headers=bearer(stranger), json={"name": "x"}).status_code == 403
