"""Drift: what changed since the release before, told once, and not what chance explains."""

import random
from typing import Any

from sqlmodel import select

from feedback import drift, releases
from feedback.models import AdapterVersion, AuditEntry
from feedback.testing import House
from feedback.webhooks import hooks
from feedback.webhooks.models import WebhookDelivery

ASKED = ("How big is the tank of my brewer?", "Does the shop ship abroad to Norway?")


def talk(house: House, count: int, about: float, good: float, seed: int) -> None:
    """`about`: how often the first thing is asked; `good`: how often a reply is liked."""
    chance = random.Random(seed)
    for number in range(count):
        question = ASKED[chance.random() > about]
        completion_id = house.reply(f"{question}", "It is red.", user=f"person-{seed}-{number}")
        liked = 1 if chance.random() < good else -1
        house.say(completion_id, "rating", liked, user=f"person-{seed}-{number}")


def go_live(house: House) -> None:
    with house.database.write() as session:
        base = house.assistant.base_model
        version = AdapterVersion(assistant_id=house.assistant.id, number=1, sha256="1" * 64, base_model=base)
        session.add(version)
        session.flush()
        releases.promote(session, house.assistant, version, actor="test", reason="why", force=True)


def found(house: House) -> dict[str, drift.Drift]:
    with house.database.read() as session:
        report = drift.drift(session, house.assistant)
    assert report is not None
    return {one.what: one for one in report.found}


def alerts(house: House) -> list[str]:
    with house.database.write() as session:
        report = drift.drift(session, house.assistant)
        assert report is not None
        return [one.what for one in drift.tell(session, house.assistant, report)]


def test_without_a_release_before_there_is_nothing_to_compare(embedded: House) -> None:
    with embedded.database.read() as session:
        assert drift.drift(session, embedded.assistant) is None


def test_what_changed_is_told_once_and_what_did_not_is_not(embedded: House) -> None:
    with embedded.database.write() as session:
        hooks.add(session, embedded.assistant, "https://example.org", ["alert."], actor="test")
    talk(embedded, 150, about=0.9, good=0.8, seed=1)
    go_live(embedded)
    talk(embedded, 150, about=0.2, good=0.8, seed=2)
    told = found(embedded)
    assert told["topics"].psi is not None
    assert told["topics"].psi > 1
    assert told["topics"].alert
    assert (told["ratings"].psi or 0) < 0.1
    assert not told["lengths of replies"].alert
    assert "topics" in alerts(embedded)
    assert alerts(embedded) == []
    with embedded.database.read() as session:
        deliveries = session.exec(select(WebhookDelivery)).all()
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == "alert.drift")).all()
    assert {one.event for one in deliveries} == {"alert.drift"}
    assert "tank" not in str([one.payload for one in deliveries])
    assert len(entries) == len(deliveries) >= 1


def test_few_pieces_say_nothing(embedded: House) -> None:
    talk(embedded, 150, about=0.9, good=0.9, seed=1)
    go_live(embedded)
    talk(embedded, 20, about=0.1, good=0.1, seed=2)
    told: dict[str, Any] = found(embedded)
    assert {one.psi for one in told.values()} == {None}
    assert alerts(embedded) == []
