"""Both must grant: whoever chatted (`store` on the request) and whoever gave the feedback (`training`).

An assistant with consent `opt_out` takes silence for yes; with `opt_in`, for no.
"""

from feedback.curate.items import Dropped, Item, drop_where
from feedback.states import Consent


def consent(items: list[Item], policy: str) -> tuple[list[Item], list[Dropped]]:
    """Keep what may be learned from; `policy` is a states.Consent.

    >>> from feedback.testing import item
    >>> said = [item(1, "How big?", training=True, store=True), item(2, "How big?", training=False)]
    >>> kept, dropped = consent(said, "opt_out")
    >>> len(kept), dropped[0].reason
    (1, 'the feedback may not be used for training')
    """
    return drop_where(items, "consent", lambda item: why_not(granted(item), item.training, policy))


def why_not(store: bool | None, training: bool | None, policy: str) -> str | None:
    """Why something with these grants can't be learned from; None if it can."""
    silence = policy == Consent.OPT_OUT
    if not (silence if store is None else store):
        return "the conversation may not be used for training"
    if not (silence if training is None else training):
        return "the feedback may not be used for training"
    return None


def both(one: bool | None, other: bool | None) -> bool | None:
    """The grant for two replies shown together: one no is a no, and silence about one is silence."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def granted(item: Item) -> bool | None:
    """What whoever chatted said about all that the item holds."""
    return both(item.exchange.store, item.rejected.store) if item.rejected else item.exchange.store
