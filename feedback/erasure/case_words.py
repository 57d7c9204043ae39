"""What reviewers wrote about a case that loses a report and keeps another: it may name who gave that one, or quote it.

Notes and the answer go, with the answer's copies at the other reports; the outcome stays, and is told without words.
"""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlmodel import Session, col

from feedback.database import in_portions
from feedback.models import Feedback, ReportCase, Review
from feedback.review.opinions import status_after
from feedback.states import FeedbackKind, ReviewDecision


def forget(session: Session, cases: Sequence[int]) -> None:
    connection = session.connection()
    for some in in_portions(cases):
        connection.execute(update(ReportCase).where(col(ReportCase.id).in_(some)).values(notes=[], answer=None))
        replies = select(col(ReportCase.message_id)).where(col(ReportCase.id).in_(some))
        reports = (col(Feedback.message_id).in_(replies), col(Feedback.kind) == FeedbackKind.REPORT)
        written = col(Review.feedback_id).in_(select(col(Feedback.id)).where(*reports))
        connection.execute(update(Review).where(written).values(note=None, comment=None))
        status, reason = status_after(ReviewDecision.REJECTED, None)
        connection.execute(
            update(Feedback).where(*reports, col(Feedback.status) == status).values(status_reason=reason)
        )
