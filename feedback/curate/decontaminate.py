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
    rows = {looks.asked[item.exchange.id].question for item in items if item.side in (Side.TRAIN, Side.DEV, None)}
    close = looks.questions.near_any(rows, looks.cases, near)

    def why(item: Item) -> str | None:
        if item.side == Side.GATE:
            return None
        asked = looks.asked[item.exchange.id]
        if asked.question in close:
            return "nearly an evaluation case"
        if asked.quotes_evaluation or looks.taught(item).quotes_evaluation:
            return f"{RUN_WORDS} words or more are an evaluation text's"
        return None

    return drop_where(items, "decontaminate", why)
