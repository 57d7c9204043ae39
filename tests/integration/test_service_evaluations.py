"""How candidates were judged, over HTTP and on the command line; and the reports that tell it."""

import json
from collections.abc import Iterator

import pytest
from burnish_server import Deployment, bearer, deployment

from feedback.models import Evaluation
from feedback.run_folder import attempt_folder
from feedback.states import Role, VerdictWord

FOUND = {"mean": 0.2, "lower": 0.1, "upper": 0.3, "rows": 80, "contributors": 20, "worthwhile": 0.05}
STATISTICS = {
    "families": {"corrections": {"decides": True, "measures": {"key-fact recall": FOUND}}},
    "guards": {"sycophancy": "passed", "bias": "failed"},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("evaluations")) as made:
        yield made.start()


def judged(house: Deployment, name: str) -> str:
    """An assistant with two candidates of which the second is BLOCKED; returns the second's run."""
    house.make_assistant(name)
    house.publish_version(name)
    version = house.publish_version(name, verdict=VerdictWord.BLOCKED)
    with house.database.write() as session:
        found = session.get_one(Evaluation, max(one.id for one in session.query(Evaluation)))
        found.statistics = STATISTICS
    assert version.run_id is not None
    return version.run_id


def test_candidates_are_compared_over_time(house: Deployment) -> None:
    run_id = judged(house, "compared")
    newest, first = house.http.get("/v1/assistants/compared/evaluations").json()["data"]
    assert (newest["version"], newest["against"], newest["verdict"]) == ("compared@2", "compared@0", "BLOCKED")
    assert newest["measures"] == {"key-fact recall": {"mean": 0.2, "lower": 0.1, "upper": 0.3, "rows": 80}}
    assert newest["guards"] == {"sycophancy": "passed", "bias": "failed"}
    assert newest["run"] == run_id
    page = house.http.get("/v1/assistants/compared/evaluations", params={"limit": 1}).json()
    assert (page["data"], page["has_more"]) == ([newest], True)
    older = house.http.get("/v1/assistants/compared/evaluations", params={"after": page["last_id"]}).json()
    assert (older["data"], older["has_more"]) == ([first], False)
    assert (first["version"], first["verdict"], first["measures"]) == ("compared@1", "PROMOTE", {})
    said = json.loads(house.burnish("evaluations", "compared", "--json").stdout)
    assert said == [newest, first]
    table = house.burnish("evaluations", "compared").stdout
    assert "key-fact recall +0.200 (+0.100 to +0.300)" in table
    assert "bias" in table
    assert "sycophancy" not in table


def test_a_report_is_read_in_three_forms_and_runs_nothing(house: Deployment) -> None:
    run_id = judged(house, "told")
    missing = house.http.get(f"/v1/runs/{run_id}/report")
    assert missing.status_code == 404
    assert "wasn't judged (yet), or something it quoted was erased" in missing.text
    folder = attempt_folder(house.settings.runs / run_id, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("html", "<p>better</p>"), ("md", "# better \x1b[2J\n")):
        (folder / f"report.{name}").write_text(content)
    (folder / "evaluation.json").write_text('{"rows": []}')
    page = house.http.get(f"/v1/runs/{run_id}/report")
    assert (page.text, page.headers["content-type"]) == ("<p>better</p>", "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert house.http.get(f"/v1/runs/{run_id}/report", params={"format": "md"}).text.startswith("# better")
    assert house.http.get(f"/v1/runs/{run_id}/report", params={"format": "json"}).json() == {"rows": []}
    assert house.http.get(f"/v1/runs/{run_id}/report", params={"format": "../run.json"}).status_code == 400
    assert house.burnish("report", run_id).stdout == "# better \\x1b[2J\n"
    assert json.loads(house.burnish("report", run_id, "--format", "json").stdout) == {"rows": []}


@pytest.mark.parametrize("role", [Role.CHAT, Role.REVIEWER])
def test_reports_are_for_the_assistant_s_operators(house: Deployment, role: Role) -> None:
    run_id = judged(house, f"closed-{role.value}")
    other = house.make_key(Role.OPERATOR, "support")
    lesser = house.make_key(role, f"closed-{role.value}")
    for path in (f"/v1/assistants/closed-{role.value}/evaluations", f"/v1/runs/{run_id}/report"):
        assert house.anyone.get(path, headers=bearer(other)).status_code == 404
        assert house.anyone.get(path, headers=bearer(lesser)).status_code == 403
