"""What contributors said who are held back, by an operator's word: nobody is taught it, and it speaks for nobody."""

from feedback.curate.items import Dropped, Item, drop_where

REASON = "everything of this contributor is held back"


def quarantine(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """Even what a reviewer approved: whoever quarantined them wants none of it.

    >>> from feedback.testing import item
    >>> kept, dropped = quarantine([item(1, "How big?"), item(2, "How big?", quarantined=True)])
    >>> [one.id for one in kept], dropped[0].reason
    ([1], 'everything of this contributor is held back')
    """
    return drop_where(items, "quarantine", lambda item: REASON if item.quarantined else None)
