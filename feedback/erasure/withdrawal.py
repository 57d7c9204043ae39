"""Feedback taken back by whoever holds its receipt."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from feedback.collect.intake import hash_receipt
from feedback.database import Database
from feedback.erasure.erase import Consequences, erase, preview
from feedback.erasure.subjects import of_receipt, subject_sha256
from feedback.errors import NotFound
from feedback.models import Erasure
from feedback.states import ErasureKind, ErasureState

ACTOR = "giver"


@dataclass(frozen=True)
class Withdrawal:
    erasure: str
    state: ErasureState
    withdrawn_at: datetime


def withdraw(database: Database, receipt: str) -> Withdrawal:
    """Erase the feedback, and the words that it replaced. Raises NotFound for a receipt that was never given.

    Asking again, or for what an operator erased as this feedback, tells of the erasure that took it.
    """
    try:
        with database.read() as session:
            assistant, subject = of_receipt(session, receipt)
        erasure, _ = erase(database, assistant, subject, actor=ACTOR)
    except NotFound:
        with database.read() as session:
            erasure = find_withdrawal(session, receipt)
    return Withdrawal(erasure.public_id, erasure.state, erasure.created_at)


def foresee(session: Session, receipt: str) -> Consequences:
    """What `withdraw` would do; changes nothing. Raises NotFound for a receipt of nothing that is here."""
    return preview(session, *of_receipt(session, receipt))


def find_withdrawal(session: Session, receipt: str) -> Erasure:
    sha256 = subject_sha256(ErasureKind.FEEDBACK, hash_receipt(receipt))
    found = session.exec(select(Erasure).where(Erasure.subject_sha256 == sha256).order_by(col(Erasure.id))).first()
    if found is None:
        raise NotFound("No feedback with this receipt.", param="receipt", code="receipt_not_found")
    return found
