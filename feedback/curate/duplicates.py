"""The same words on the same question count once; the row remembers everyone who said them.

Never across sides of the split: what one person holds back for judging isn't merged into another's training row.
"""

from dataclasses import replace

from feedback.curate.items import Dropped, Item, tidy


def duplicates(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """
    >>> from feedback.testing import item
    >>> kept, dropped = duplicates([item(1, "How big?", contributor="ada"), item(2, "how big", contributor="bob")])
    >>> [one.feedback_ids for one in kept], [out.feedback_ids for out in dropped]
    ([(1, 2)], [(2,)])
    """
    first: dict[tuple[str, ...], Item] = {}
    dropped: list[Dropped] = []
    for item in sorted(items, key=lambda item: (item.created_at, item.feedback_ids)):
        words = (
            item.kind,
            str(item.side),
            tidy(item.prompt_text),
            tidy(item.taught),
            tidy(item.rejected or ""),
            "good" if (item.score or 0) > 0 else "bad",
        )
        if words not in first:
            first[words] = item
            continue
        kept = first[words]
        first[words] = replace(kept, feedback_ids=kept.feedback_ids + item.feedback_ids)
        dropped.append(Dropped(item.feedback_ids, "duplicates", "somebody said the same; it counts with theirs"))
    return list(first.values()), dropped
