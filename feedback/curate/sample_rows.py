"""A dataset's rows as people read them: a few, in Markdown, whatever signs of Markdown are in what was said."""

from collections.abc import Sequence

from feedback.run_folder import Row, Turn

SHOWN_CHARACTERS = 400
"""Of one text, at most."""
_METHODS = {"sft": "SFT row", "dpo": "pair", "kto": "KTO row"}


def shown(side: str, row: Row) -> list[str]:
    parts: list[tuple[str, Sequence[Turn]]] = [(turn.role, [turn]) for turn in row.prompt]
    rated = {None: "right reply", True: "reply, rated good", False: "reply, rated bad"}[row.label]
    parts += [(rated, row.completion or ()), ("better", row.chosen or ()), ("worse", row.rejected or ())]
    lines = [f"`{row.id}` ({side}, {_METHODS[row.method]} of a {row.source})"]
    lines += [f"- {name}: {_cut(turns)}" for name, turns in parts if turns]
    if row.key_facts:
        lines.append(f"- must contain: {'; '.join(map(quoted, row.key_facts))}")
    return lines


def _cut(turns: Sequence[Turn]) -> str:
    words = " ".join(turn.content for turn in turns)
    return quoted(words if len(words) <= SHOWN_CHARACTERS else words[:SHOWN_CHARACTERS] + "…")


def quoted(words: str) -> str:
    """On one line, as it is, whatever signs of Markdown are in it.

    >>> print(quoted("a\\n\\n# `b`"))
    `` a # `b` ``
    """
    words = " ".join(words.split())
    fence = "`"
    while fence in words:
        fence += "`"
    return f"{fence}{words}{fence}" if fence == "`" else f"{fence} {words} {fence}"
