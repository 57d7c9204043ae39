"""People look at what was said and decide what may be learned from it. Here: what the rest of the house needs.

listing.py is all that was said, context.py shows it in its conversation; queue.py chooses what to decide on,
claims.py hands it out, entries.py shows it, turns.py goes on to the next; opinions.py is what several decisions come
to, decisions.py stores them, reports.py keeps reports and their case together, agreement.py measures reviewers.
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
from feedback.review.queue import get_feedback

__all__ = [
    "all_reviews",
    "ask_second_opinion",
    "decide",
    "get_feedback",
    "is_rejected",
    "is_undecided",
    "latest_decisions",
    "latest_reviews",
    "with_conversation",
]
