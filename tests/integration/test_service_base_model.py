"""An assistant that moved to another base model: what served goes on until a service runs the new one."""

from pathlib import Path

from burnish_server import bearer, deployment, eventually

from feedback.models import AdapterVersion
from feedback.states import Role


def test_what_served_serves_on_until_a_service_runs_the_new_base(tmp_path: Path) -> None:
    with deployment(tmp_path) as house:
        old = house.settings.base_model
        version = house.publish_version()
        with house.database.write() as session:
            session.get_one(AdapterVersion, version.id).base_model = "another-base"
        house.start()
        unasked = house.http.post("/v1/assistants/support/promote", json={"version": 1})
        assert (unasked.status_code, unasked.json()["error"]["code"]) == (400, "other_base_model")
        told = house.http.post("/v1/assistants/support/promote", json={"version": 1, "at_once": True})
        assert told.status_code == 200, told.text
        assert told.json()["live"] == "support@1"
        problem = f"'support@1' is for another-base, this service runs {old}"
        eventually(lambda: problem in house.ready().text, "the service says what it can't serve")
        assert house.ask("hi")["model"] == "support@0"
        named = house.http.post(
            "/v1/chat/completions", json={"model": "support@1", "messages": [{"role": "user", "content": "hi"}]}
        )
        assert (named.status_code, "BURNISH_BASE_MODEL" in named.text) == (503, True)

        house.stop()
        house.environment["BURNISH_BASE_MODEL"] = "another-base"
        house.start()
        eventually(lambda: house.serves("support@1"), "the new one serves")
        assert {house.ask("hi", model=model)["model"] for model in ("support", "base")} == {"support@1", "base"}
        back = house.http.post("/v1/assistants/support/rollback", json={})
        assert back.status_code == 200, back.text
        eventually(lambda: f"'support@0' is for {old}" in house.ready().text, "and back, until the old base runs")
        assert house.ask("hi")["model"] == "support@1"


def test_only_an_admin_names_a_base_model_over_http(tmp_path: Path) -> None:
    with deployment(tmp_path) as house:
        house.start()
        operator = bearer(house.make_key(Role.OPERATOR, "support"))
        asked = {"base_model": "/etc"}
        refused = house.anyone.post("/v1/assistants/support/runs", json=asked, headers=operator)
        assert refused.status_code == 403
        assert house.anyone.post("/v1/assistants/support/runs", json={}, headers=operator).status_code == 201
        house.http.post(f"/v1/runs/{house.http.get('/v1/runs').json()['data'][0]['id']}/cancel").raise_for_status()
        queued = house.http.post("/v1/assistants/support/runs", json={"base_model": "a-newer-base"})
        assert queued.json()["base_model"] == "a-newer-base"
