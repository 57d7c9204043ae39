"""Words retire: corrections past the date they were said to hold until, and what is older than the policy's days."""

from feedback.curate.items import Dropped, Item, drop_where
from feedback.curation_policies import AgePolicy
from feedback.states import FeedbackKind

DAY_SECONDS = 86_400
PAST = "it was said to hold until a date that is past"


def age(items: list[Item], policy: AgePolicy, as_of: float) -> tuple[list[Item], list[Dropped]]:
    """`as_of` in seconds since 1970.

    >>> from feedback.testing import START, item
    >>> day = START.timestamp() + DAY_SECONDS
    >>> sale = item(1, "Is there a sale?", correction="Until Sunday.", expires_at=day)
    >>> [len(age([sale], AgePolicy(), as_of)[0]) for as_of in (day - 1, day)]
    [1, 0]
    """
    days = {
        FeedbackKind.CORRECTION: policy.correction_days,
        FeedbackKind.PREFERENCE: policy.choice_days,
        FeedbackKind.RATING: policy.rating_days,
    }
    oldest = {kind: as_of - most * DAY_SECONDS for kind, most in days.items() if most is not None}

    def why(item: Item) -> str | None:
        if item.expires_at is not None and item.expires_at <= as_of:
            return PAST
        if item.created_at < oldest.get(item.kind, item.created_at):
            return f"older than {days[item.kind]:g} days"
        return None

    return drop_where(items, "age", why)
