"""A datasheet as a page of Markdown, for somebody who has never seen the deployment.

The datasheet itself holds nobody's words; who has the rows at hand gives them along, and the sampled ones are shown.
Leaves out the counting (datasheet.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from feedback.curate.conflicts import CORRECTION_VALUE
from feedback.policies import Policies
from feedback.run_folder import Row, Turn
from feedback.states import Consent

_OVER = 2.0
"""From so many times an even share, something is called over-represented."""
_SHOWN_CHARACTERS = 400
_METHODS = {"sft": "SFT row", "dpo": "pair", "kto": "KTO row"}


def as_markdown(sheet: dict[str, Any], rows: Iterable[Row] = ()) -> str:
    """`rows`: the sampled ones that are at hand; others may be among them."""
    return "\n".join(
        [
            f"# Dataset of {sheet['assistant']}",
            "",
            f"What people said about {sheet['assistant']}'s replies, curated for training and for judging what was "
            f"trained. Content: `{sheet['sha256']}`. Trains: {', '.join(sheet['methods']) or 'nothing'}.",
            "",
            *_about_rows(sheet),
            *_about_samples(sheet, rows),
            *_about_people(sheet),
            *_about_drops(sheet),
            *_about_balance(sheet),
            *_about_rules(sheet),
        ]
    )


def _about_rows(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Rows",
        "",
        "Corrections become SFT rows and pairs, choices become pairs, ratings KTO rows. `train` is learned from, `dev` "
        "stops the training early, `gate` judges the result and is never trained on.",
        "",
        "| side | SFT rows | pairs | KTO rows | contributors |",
        "|---|---|---|---|---|",
    ]
    for side, counts in sheet["rows"].items():
        cells = f"{counts['sft']} | {counts['dpo']} | {counts['kto']} | {sheet['contributors'][side]}"
        lines.append(f"| {side} | {cells} |")
    if topics := sheet.get("topics_of_gate"):
        lines += [
            "",
            f"Of the gate's rows, {topics['trained']} ask in other people's words for something that a training row "
            f"teaches, {topics['untrained']} for something that none does.",
        ]
    if sheet["synthetic_rows"]:
        lines += ["", f"{sheet['synthetic_rows']} training rows are synthetic: a template's phrasing of a question."]
    return [*lines, ""]


def _about_samples(sheet: dict[str, Any], rows: Iterable[Row]) -> list[str]:
    by_id = {row.id: row for row in rows}
    lines = ["## Sample rows", ""]
    if not any(sheet["samples"].values()):
        return [*lines, "There are no rows.", ""]
    shown = f"Cut after {_SHOWN_CHARACTERS} characters. " if by_id else ""
    lines += [f"{shown}All rows are in the run's folder, one a line, under these ids."]
    for side, ids in sheet["samples"].items():
        for row_id in ids:
            lines += ["", *(_sample(side, by_id[row_id]) if row_id in by_id else [f"`{row_id}` ({side})"])]
    return [*lines, ""]


def _sample(side: str, row: Row) -> list[str]:
    parts: list[tuple[str, Sequence[Turn]]] = [(turn.role, [turn]) for turn in row.prompt]
    rated = {None: "to say", True: "reply, rated good", False: "reply, rated bad"}[row.label]
    parts += [(rated, row.completion or ()), ("better", row.chosen or ()), ("worse", row.rejected or ())]
    lines = [f"`{row.id}` ({side}, {_METHODS[row.method]} of a {row.source})"]
    lines += [f"- {name}: {_cut(turns)}" for name, turns in parts if turns]
    if row.key_facts:
        lines.append(f"- must contain: {'; '.join(map(_quoted, row.key_facts))}")
    return lines


def _cut(turns: Sequence[Turn]) -> str:
    words = " ".join(" ".join(turn.content for turn in turns).split())
    return _quoted(words if len(words) <= _SHOWN_CHARACTERS else words[:_SHOWN_CHARACTERS] + "…")


def _quoted(words: str) -> str:
    """As it is, whatever signs of Markdown are in it.

    >>> print(_quoted("a `b`"))
    `` a `b` ``
    """
    fence = "`"
    while fence in words:
        fence += "`"
    return f"{fence}{words}{fence}" if fence == "`" else f"{fence} {words} {fence}"


def _about_people(sheet: dict[str, Any]) -> list[str]:
    shares, consent = sheet["shares"], sheet["consent"]
    silence = "silence is a yes" if consent["policy"] == Consent.OPT_OUT else "silence is a no"
    found = ", ".join(f"{count} {kind}" for kind, count in sheet["identifiers_replaced"].items()) or "none"
    lines = [
        "## People and origins",
        "",
        "Contributors are known only by keyed hashes, and each has all rows on one side. Of the training rows, the "
        f"largest contributor gave {shares['largest']:.1%}, the ten largest {shares['ten_largest']:.1%}, "
        f"anonymous people {shares['anonymous']:.1%}.",
        "",
        "| origin | rows | licence |",
        "|---|---|---|",
        *(
            f"| {_cell(origin)} | {count} | {_cell(_licence(sheet, origin))} |"
            for origin, count in sheet["origins"].items()
        ),
        "",
        f"Consent: {consent['policy']} ({silence}); {consent['granted']} rows by an express grant of both who chatted "
        f"and who gave the feedback, {consent['silent']} by silence.",
        "",
        f"Identifiers replaced by placeholders: {found}.",
        "",
    ]
    return lines


def _licence(sheet: dict[str, Any], origin: str) -> str:
    if not origin.startswith("import:"):
        return "the deployment's own terms with its users"
    return str(sheet.get("licences", {}).get(origin) or "not stated")


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _about_drops(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## What was left after each stage",
        "",
        "An item is one piece of feedback. What a line below says still trains was left out of one kind of rows only, "
        "and isn't gone.",
        "",
    ]
    lines += [f"- {entry['stage']}: {entry['items_left']}" for entry in sheet["funnel"]]
    lines += ["", "## What was dropped, and why", ""]
    lines += [
        f"- {out['items']} × {out['stage']}: {out['reason']}{' (waits for review)' if out['waits_for_review'] else ''}"
        for out in sheet["dropped"]
    ] or ["- nothing"]
    return [*lines, ""]


def _about_balance(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Training items by topic, language, length and label",
        "",
        "As they were before and after the stage `balance`; what later stages dropped is still in both. A topic is a "
        "cluster of questions, named by its commonest words; `other` are those that have no word in common, and the "
        "cap on topics leaves them alone. A language is `unknown` where there is too little to tell it by.",
        "",
    ]
    for name, groups in sheet["balance"].items():
        before, after = (sum(group[when] for group in groups) for when in ("before", "after"))
        lines += [f"| {name} | before | share | after | share |", "|---|---|---|---|---|"]
        for group in groups:
            shares = _share(group["before"], before), _share(group["after"], after)
            lines.append(f"| {group['group']} | {group['before']} | {shares[0]} | {group['after']} | {shares[1]} |")
        lines += ["", _over_represented(name, groups, after), ""]
    return lines


def _over_represented(name: str, groups: list[dict[str, Any]], total: int) -> str:
    """What has more than twice an equal share."""
    even = total / max(len(groups), 1)
    over = [group["group"] for group in groups if len(groups) > 1 and group["after"] > _OVER * even]
    return f"More than {_OVER:g} times an even share of the {name}s: {'; '.join(over) or 'none'}."


def _about_rules(sheet: dict[str, Any]) -> list[str]:
    policy = sheet["policy"]
    lines = [
        "## Rules",
        "",
        "Contradictions: of one person's words on one question the latest counts; a correction counts for "
        f"{CORRECTION_VALUE} times as much as praise of the reply it corrects; between people, the side with "
        f"{policy['conflicts']['margin']:g} times the other's trust is believed, else the side whose last word is "
        f"{policy['conflicts']['recency_days']:g} days newer, else neither. What anonymous people say counts once, and "
        "little, however many they are. A reviewer's approval and an operator's own word outweigh any crowd.",
        "",
        "| setting | value | what it does |",
        "|---|---|---|",
    ]
    for section, settings in policy.items():
        fields = type(getattr(Policies(), section)).model_fields
        for name, value in settings.items():
            meaning = fields[name].description if name in fields else ""
            lines.append(f"| {section}.{name} | {_value(value)} | {meaning} |")
    return [*lines, ""]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "–"
