"""Three reviewers of a house, what they decide, what the queue lists and shows them, and a way to act at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from feedback import review
from feedback.review import entries, queue
from feedback.review.entries import Entry
from feedback.review.queue import Wanted
from feedback.states import FeedbackStatus, ReviewDecision
from feedback.testing import House

ADA, BOB, CYD = "key:ada#1", "key:bob#2", "key:cyd#3"
APPROVED, EDITED, REJECTED = ReviewDecision.APPROVED, ReviewDecision.EDITED, ReviewDecision.REJECTED
THREADS = 8


def corrections(house: House, count: int) -> list[str]:
    return [house.correct(f"{chr(97 + number) * 8}?", "No.", f"Yes {number}.").id for number in range(count)]


def decide(house: House, public_id: str, decision: ReviewDecision, actor: str = ADA, **more: Any) -> FeedbackStatus:
    with house.database.write() as session:
        feedback = queue.get_feedback(session, public_id)
        review.decide(session, feedback, decision, actor=actor, **more)
        return feedback.status


def listed(house: House, actor: str = ADA, **wanted: Any) -> list[str]:
    with house.database.read() as session:
        chosen = queue.chosen(session, house.assistant, Wanted(**wanted), actor=actor, most=100)
        return [one.public_id for one in session.exec(chosen)]


def shown(house: House, public_id: str, actor: str = ADA) -> Entry:
    with house.database.read() as session:
        return entries.entry(session, queue.get_feedback(session, public_id), actor=actor)


def at_once(count: int, deed: Callable[[int], Any]) -> list[Any]:
    start = Barrier(count)

    def wait_and_do(number: int) -> Any:
        start.wait()
        return deed(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_do, range(count)))
