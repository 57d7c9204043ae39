"""An assistant that moved to another base model: what served goes on until a service runs the new one."""

from pathlib import Path

from burnish_server import deployment, eventually

from feedback.models import AdapterVersion


def test_what_served_serves_on_until_a_service_runs_the_new_base(tmp_path: Path) -> None:
    with deployment(tmp_path) as house:
        old = house.settings.base_model
        version = house.publish_version()
        with house.database.write() as session:
            session.get_one(AdapterVersion, version.id).base_model = "another-base"
        house.start()
        told = house.http.post("/v1/assistants/support/promote", json={"version": 1})
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
