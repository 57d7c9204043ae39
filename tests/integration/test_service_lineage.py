"""Lineage over HTTP, for reviewers, of what their key may see."""

from burnish_server import Deployment, bearer

from feedback.states import Role


def test_reviewers_walk_the_lineage_of_what_their_key_sees(server: Deployment) -> None:
    asked = server.ask("How big?", user="ada")
    given = server.give(asked["id"], "correction", "Two metres.").json()["id"]
    reviewer = bearer(server.make_key(Role.REVIEWER, "support"))
    told = server.anyone.get(f"/v1/lineage/{given}", headers=reviewer).json()
    assert (told["feedback"]["id"], told["feedback"]["datasets"]) == (given, [])
    assert told["message"] | {"completion_id": asked["id"], "written_by": "support@0"} == told["message"]
    message = server.anyone.get(f"/v1/lineage/{asked['id']}:0", headers=reviewer).json()
    assert message["feedback"] == [told["feedback"]]
    base = server.anyone.get("/v1/lineage/support@0", headers=reviewer).json()
    assert (base["version"]["version"], base["learned"]) == ("support@0", None)
    others = bearer(server.make_key(Role.REVIEWER, "garden"))
    for reference in (given, asked["id"], "support@0", "support:v1", "fb-none"):
        assert server.anyone.get(f"/v1/lineage/{reference}", headers=others).status_code == 404
    assert server.anyone.get(f"/v1/lineage/{given}", headers=bearer(server.make_key(Role.CHAT))).status_code == 403
    assert server.anyone.get(f"/v1/lineage/{given}?limit=100000", headers=reviewer).status_code == 400
    assert server.anyone.get("/v1/lineage/nonsense", headers=reviewer).status_code == 400
