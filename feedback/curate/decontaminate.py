"""Nothing near what judges may be learned: rows that quote an evaluation text, or ask nearly what a case asks."""

from feedback.curate.evaluations import RUN_WORDS
from feedback.curate.items import Dropped, Item, drop_where
from feedback.curate.looks import Looks
from feedback.states import Side


def decontaminate(items: list[Item], looks: Looks, near: float) -> tuple[list[Item], list[Dropped]]:
    """`near`: the similarity from which two questions are one.

    >>> from feedback.curate.evaluations import Evaluations
    >>> from feedback.testing import item, look_at
    >>> said = [item(1, "How big is the tank?"), item(2, "Do you ship?")]
    >>> looks = look_at(said, evaluations=Evaluations.of(["how big is the tank"]))
    >>> kept, dropped = decontaminate(said, looks, 0.8)
    >>> [one.id for one in kept], dropped[0].reason
    ([2], 'nearly an evaluation case')
    """
    rows = {row for item in items if item.side in (Side.TRAIN, Side.DEV, None) for row in looks.questions_of(item)}
    close = looks.questions.near_any(rows, looks.cases, near)

    def why(item: Item) -> str | None:
        if item.side == Side.GATE:
            return None
        if not close.isdisjoint(looks.questions_of(item)):
            return "nearly an evaluation case"
        if item.exchange.id in looks.led_by_evaluations or _says_one(item, looks):
            return f"{RUN_WORDS} words or more are an evaluation text's"
        return None

    return drop_where(items, "decontaminate", why)


def _says_one(item: Item, looks: Looks) -> bool:
    """Whether a text of an evaluation is in anything that a row would hold, be it said to be good or bad."""
    texts = [looks.asked[item.exchange.id], looks.said[item.exchange.id]]
    if item.correction is not None:
        texts.append(looks.corrected[item.id])
    if item.rejected is not None:
        texts.append(looks.said[item.rejected.id])
    return any(text.quotes_evaluation for text in texts)
