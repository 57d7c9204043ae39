"""Erases in a house what somebody said, finishes what that leaves to do, and tells what became of versions and runs."""

from sqlmodel import select

from feedback import adapters, assistants
from feedback.contributors import contributor_id, side_of
from feedback.erasure import erase as erasing
from feedback.erasure import finish
from feedback.erasure.subjects import Named, resolve
from feedback.models import AdapterVersion, Erasure, Run
from feedback.states import ErasureState, RunStatus, Side
from feedback.testing import SECRET, House

ADAS = "Zanzibar"


def person(house: House, side: Side) -> str:
    policy = assistants.policies(house.reload()).training
    names = (f"ada-{number}" for number in range(1000))
    key = house.caller.api_key_id
    return next(one for one in names if side_of(contributor_id(SECRET, house.assistant.id, key, one), policy) == side)


def erase(house: House, **named: str) -> tuple[Erasure, erasing.Consequences]:
    with house.database.read() as session:
        subject = resolve(session, SECRET, house.assistant, Named(**named))
    return erasing.erase(house.database, house.assistant, subject, actor="test")


def finish_all(house: House) -> None:
    assert finish.clean_files(house.database, house.settings)
    assert finish.scrub(house.database, at_once=True)


def state_of(house: House, erasure: Erasure) -> ErasureState:
    with house.database.read() as session:
        return erasing.get_erasure(session, erasure.public_id).state


def versions(house: House) -> dict[int, AdapterVersion]:
    with house.database.read() as session:
        return {one.number: one for one in adapters.list_versions(session, house.assistant)}


def open_run(house: House) -> Run:
    with house.database.read() as session:
        return session.exec(select(Run).where(Run.status == RunStatus.QUEUED)).one()
