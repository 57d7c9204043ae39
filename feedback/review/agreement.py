"""How far reviewers agree: Cohen's kappa over what two people decided without seeing each other's word.

Counts whether they would learn from it or not; an edit is a yes. Leaves out third opinions and final words, which
were given in sight of the others.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from sqlalchemy import exists
from sqlmodel import Session, col, select

from feedback.models import Assistant, Feedback, Review
from feedback.review.opinions import learns


@dataclass(frozen=True)
class Agreement:
    n: int
    """Entries that both decided on."""
    agreed: int
    kappa: float | None
    """1: always agree, 0: as often as by chance; None where chance alone would always agree, or there is nothing."""
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairAgreement:
    reviewers: tuple[str, str]
    agreement: Agreement


def cohens_kappa(both: Sequence[tuple[bool, bool]]) -> Agreement:
    """Cohen 1960, "A coefficient of agreement for nominal scales": (p_o - p_e) / (1 - p_e).

    Of 50 decisions both say yes to 20 and no to 15; 5 times only the first says yes, 10 times only the second.
    p_o = 35/50 = 0.7; the first says yes to 25/50, the second to 30/50: p_e = 0.5·0.6 + 0.5·0.4 = 0.5; κ = 0.2/0.5.

    >>> said = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    >>> found = cohens_kappa(said)
    >>> found.n, found.agreed, *(round(part, 3) for part in (found.kappa, found.low, found.high))
    (50, 35, 0.4, 0.125, 0.618)
    >>> cohens_kappa([(True, True)] * 3)
    Agreement(n=3, agreed=3, kappa=None, low=None, high=None)

    The 95 % interval takes p_e as given, as Cohen's standard error does, and p_o's from Wilson 1927, which a few
    decisions that all agree don't shrink to nothing: p_o from 0.562 to 0.809 above.
    """
    n, agreed = len(both), sum(one == other for one, other in both)
    if n == 0:
        return Agreement(0, 0, None, None, None)
    first, second = (sum(column) / n for column in zip(*both, strict=True))
    by_chance = first * second + (1 - first) * (1 - second)
    if by_chance == 1:
        return Agreement(n, agreed, None, None, None)
    kappa, low, high = ((share - by_chance) / (1 - by_chance) for share in (agreed / n, *wilson(agreed / n, n)))
    return Agreement(n, agreed, kappa, max(low, -1.0), high)


def agreement(session: Session, assistant: Assistant) -> tuple[Agreement, list[PairAgreement]]:
    """All reviewers (whoever was first against whoever was second), and each pair of them."""
    # not a join, which SQLite would begin at the many that nobody reviewed
    mine = exists().where(col(Feedback.id) == col(Review.feedback_id), col(Feedback.assistant_id) == assistant.id)
    found = session.exec(select(Review).where(col(Review.independent).is_(True), mine).order_by(col(Review.id)))
    said: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for review in found:
        said[review.feedback_id].append((review.actor, learns(review.decision)))
    both = [(first, second) for first, second in (some for some in said.values() if len(some) == 2)]
    of_pair: dict[tuple[str, str], Counter[tuple[bool, bool]]] = defaultdict(Counter)
    for pair in both:
        (one, yes), (other, too) = sorted(pair)
        of_pair[one, other][yes, too] += 1
    return (
        cohens_kappa([(first[1], second[1]) for first, second in both]),
        [PairAgreement(pair, cohens_kappa(list(counts.elements()))) for pair, counts in sorted(of_pair.items())],
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
