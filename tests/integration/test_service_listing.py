"""What was said over HTTP: filters, pages by the `Link` header, one piece in its conversation, how well it is liked."""

from typing import Any

import pytest
from burnish_server import Deployment, bearer

from feedback.states import Role


@pytest.fixture(scope="module")
def name(server: Deployment) -> str:
    return server.make_assistant("listing")


@pytest.fixture(scope="module")
def said(server: Deployment, name: str) -> list[str]:
    """Ids of what was said, oldest first, about a reply in the middle of a conversation and about another."""
    asked = [{"role": "user", "content": "Which tent?"}]
    first = server.ask("", model=name, messages=asked, n=2, user="ada")
    reply = first["choices"][0]["message"]["content"]
    further = [*asked, {"role": "assistant", "content": reply}, {"role": "user", "content": "How heavy is it?"}]
    server.ask("", model=name, messages=further, user="ada")
    given = [
        server.give(first["id"], "rating", 1, choice=1, user="ada", tags=["warm"]),
        server.give(first["id"], "preference", {"rejected": {"choice": 0}}, choice=1, user="ada"),
        server.give(first["id"], "report", "wrong", choice=1, user="bob", comment="Not true."),
        server.give(server.ask("Which stove?", model=name)["id"], "correction", "The small one."),
    ]
    return [answer.json()["id"] for answer in given]


def listed(server: Deployment, name: str, **asked: Any) -> list[str]:
    answer = server.http.get(f"/v1/assistants/{name}/feedback", params=asked)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


def test_the_list_is_narrowed_and_read_on_by_its_link(server: Deployment, name: str, said: list[str]) -> None:
    assert listed(server, name) == said[::-1]
    assert listed(server, name, kind="report", category="wrong", days=1) == [said[2]]
    assert listed(server, name, search="stove") == [said[3]]
    assert listed(server, name, newer_than=said[1], tag="warm") == []
    page = server.http.get(f"/v1/assistants/{name}/feedback", params={"limit": 3, "status": "received"})
    assert [one["id"] for one in page.json()] == [said[3], said[1], said[0]]
    assert "link" not in page.headers
    page = server.http.get(f"/v1/assistants/{name}/feedback", params={"limit": 2})
    following = server.http.get(page.headers["link"].partition("<")[2].partition(">")[0])
    assert [one["id"] for one in following.json()] == [said[1], said[0]]


@pytest.mark.parametrize("asked", [{"days": 0}, {"kind": "praise"}, {"after": "fb-nothing"}, {"search": "x" * 201}])
def test_what_cannot_be_asked_for_is_a_400(server: Deployment, name: str, asked: dict[str, Any]) -> None:
    assert server.http.get(f"/v1/assistants/{name}/feedback", params=asked).status_code == 400


def test_a_piece_is_told_in_its_conversation(server: Deployment, name: str, said: list[str]) -> None:
    told = server.http.get(f"/v1/assistants/{name}/feedback/{said[1]}").json()
    assert told["conversation"] == [{"role": "user", "content": "Which tent?"}]
    assert [turn["role"] for turn in told["later"]] == ["user", "assistant"]
    assert told["siblings"] == [told["other_reply"]]
    assert [one["id"] for one in told["others"]] == [said[2], said[0]]
    assert (told["version"], told["guidelines_then"], told["case"]["category"]) == (f"{name}@0", 1, "wrong")
    assert "rejected_message_id" not in told["value"]
    assert server.http.get(f"/v1/assistants/support/feedback/{said[1]}").status_code == 404


def test_satisfaction_and_what_waits_are_counted(server: Deployment, name: str, said: list[str]) -> None:
    told = server.http.get(f"/v1/assistants/{name}/satisfaction", params={"days": 2}).json()
    assert [(day["ratings"], day["share"]) for day in told["days"]] == [(0, None), (1, 1.0)]
    counts = server.http.get(f"/v1/assistants/{name}/review/waiting").json()
    assert counts == {"waiting": 1, "unreviewed": 4, "mine": 0, "most": 200}


@pytest.mark.parametrize("place", ["feedback", "feedback/fb-1", "satisfaction", "review/waiting"])
def test_only_reviewers_of_the_assistant_read_it(server: Deployment, name: str, place: str) -> None:
    for role, assistant, status in ((Role.CHAT, name, 403), (Role.REVIEWER, "support", 404)):
        headers = bearer(server.make_key(role, assistant))
        assert server.anyone.get(f"/v1/assistants/{name}/{place}", headers=headers).status_code == status
