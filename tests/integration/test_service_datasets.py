"""Datasets and contributors over HTTP: lists, datasheets, comparing, verifying, previews; holding somebody back."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from burnish_server import Deployment, bearer, deployment
from freezing import learn

from feedback.dataset_report import DatasetDetails
from feedback.states import Role
from feedback.testing import House


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two datasets, the second with one correction more; mallory's isn't in any yet."""
    with deployment(tmp_path_factory.mktemp("datasets")) as found:
        house = House(found.settings, found.database)
        for number in range(6):
            house.correct(f"{'abcdef'[number] * 9}?", "No.", f"Yes {number}.", user=f"person-{number}")
        learn(house)
        house.correct("Which colour?", "Red.", "Blue.", user="person-0")
        learn(house)
        house.correct("Which size?", "Tall.", "Endless.", user="mallory")
        yield found.start()


def get(made: Deployment, path: str, **query: Any) -> Any:
    answer = made.http.get(f"/v1/assistants/support/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_datasets_come_in_pages_newest_first(made: Deployment) -> None:
    first = get(made, "datasets", limit=1)
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (["v2"], True)
    rest = get(made, "datasets", limit=1, after=first["last_id"])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (["v1"], False)
    assert sum(rest["data"][0]["people"].values()) == 6
    assert len(rest["data"][0]["runs"]) == 1


def test_a_dataset_has_its_datasheet_by_either_name(made: Deployment) -> None:
    found = DatasetDetails.model_validate(get(made, "datasets/v2"))
    assert found.datasheet["sha256"] == found.sha256
    assert get(made, "datasets/2") == found.model_dump(mode="json")


@pytest.mark.parametrize("number", ["9", "v9", "x", "-1", "٣", "9" * 30])
def test_what_is_no_dataset_is_not_found(made: Deployment, number: str) -> None:
    assert made.http.get(f"/v1/assistants/support/datasets/{number}").status_code == 404


def test_two_are_compared(made: Deployment) -> None:
    found = get(made, "datasets/compare", before=1, after=2)
    more = {one["which"]: (one["before"], one["after"]) for one in found["differences"] if one["what"] == "rows"}
    assert more
    assert all(after > before for before, after in more.values())
    assert get(made, "datasets/compare", before=2, after=2)["differences"] == []


def test_a_dataset_is_verified_and_a_changed_row_is_found(made: Deployment) -> None:
    one = made.http.post("/v1/assistants/support/datasets/1/verify").json()
    assert (one["holds"], one["problem"]) == (True, None)
    run = get(made, "datasets/2")["runs"][0]
    file = made.settings.runs / run / "train.jsonl"
    was = file.read_bytes()
    file.write_bytes(was.replace(b"Yes", b"Nay", 1))
    other = made.http.post("/v1/assistants/support/datasets/2/verify").json()
    file.write_bytes(was)
    assert (other["holds"], "isn't a row of the dataset" in other["problem"]) == (False, True)


def test_a_preview_tells_what_settings_would_change(made: Deployment) -> None:
    tried = {"policies": {"trust": {"min_voices": 2}}}
    found = made.http.post("/v1/assistants/support/datasets/preview", json=tried).json()
    assert found["datasheet"]["sha256"] == "not frozen"
    why = [one for one in found["differences"] if "fewer than 2 people" in one["which"]]
    assert [(one["before"], one["after"]) for one in why] == [(0, 8)]
    wrong = made.http.post("/v1/assistants/support/datasets/preview", json={"policies": {"trust": {"none": 2}}})
    assert wrong.status_code == 400


def test_somebody_is_held_back_and_let_go(made: Deployment) -> None:
    everybody = get(made, "contributors")["data"]
    mallory = everybody[0]["id"]
    place = f"/v1/assistants/support/contributors/{mallory}/quarantine"
    assert made.http.post(place, json={"reason": ""}).status_code == 400
    held = made.http.post(place, json={"reason": "a troll"}).json()
    assert (held["quarantine_reason"], held["kinds"]) == ("a troll", {"correction": 1})
    assert [one["id"] for one in get(made, "contributors", show="quarantined")["data"]] == [mallory]
    sheet = made.http.post("/v1/assistants/support/datasets/preview", json={}).json()["datasheet"]
    assert ("quarantine", 1) in [(one["stage"], one["items"]) for one in sheet["dropped"]]
    assert made.http.delete(place).json()["quarantined_at"] is None
    assert get(made, f"contributors/{mallory}")["quarantine_reason"] is None
    assert get(made, "contributors", show="quarantined")["data"] == []


def test_contributors_come_in_pages(made: Deployment) -> None:
    first = get(made, "contributors", limit=4)
    rest = get(made, "contributors", limit=4, after=first["last_id"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert len({one["id"] for one in first["data"] + rest["data"]}) == 7


def test_only_operators_who_may_see_the_assistant_see_any_of_it(made: Deployment) -> None:
    elsewhere = made.make_key(Role.OPERATOR, made.make_assistant("garden"))
    paths = ["datasets", "datasets/1", "datasets/compare?before=1&after=2", "contributors"]
    for key, status in ((made.make_key(Role.REVIEWER), 403), (elsewhere, 404)):
        with httpx.Client(base_url=f"{made.settings.url}/v1/assistants/support", headers=bearer(key)) as http:
            assert {http.get(path).status_code for path in paths} == {status}
            assert http.post("datasets/preview", json={}).status_code == status
            assert http.post("contributors/x/quarantine", json={"reason": "why"}).status_code == status


def test_an_operator_s_terminal_can_do_it_too(made: Deployment) -> None:
    person = get(made, "contributors")["data"][-1]["id"]
    held = made.burnish("contributor", "quarantine", "support", person, "--reason", "a [bot]")
    assert held.returncode == 0, held.stderr
    assert "a [bot]" in held.stdout
    listed = made.burnish("contributor", "list", "support", "--show", "quarantined")
    assert "a [bot]" in listed.stdout
    made.http.delete(f"/v1/assistants/support/contributors/{person}/quarantine")
