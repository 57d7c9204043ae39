"""People look at what was said and decide what may be learned from it. Here: what the rest of the house needs.

queue.py chooses and orders, claims.py hands out, entries.py shows, opinions.py is what several decisions come to,
decisions.py stores them, reports.py keeps reports and their case together, agreement.py measures reviewers.
"""

from feedback.review.decisions import (
    all_reviews,
    ask_second_opinion,
    decide,
    is_rejected,
    is_undecided,
    latest_decisions,
    latest_reviews,
)
from feedback.review.entries import with_conversation
from feedback.review.queue import get_feedback, list_feedback

__all__ = [
    "all_reviews",
    "ask_second_opinion",
    "decide",
    "get_feedback",
    "is_rejected",
    "is_undecided",
    "latest_decisions",
    "latest_reviews",
    "list_feedback",
    "with_conversation",
]
