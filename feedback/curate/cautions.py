"""What somebody should know of a dataset before using it: told by its counts, in sentences."""

from typing import Any

from feedback.curate.items import IMPORTED
from feedback.policies import VerdictPolicy

_FEW_ROWS = 100
_MOSTLY = 0.5
_NEARLY_ALL = 0.9
_WORTH_JUDGING = 0.05
"""Share of the training rows that an origin may have without any in the gate."""
_LENGTH_TELLS = 0.6
"""Share of pairs whose better side is the longer one, or the shorter one, from which length alone tells them apart."""
_ENOUGH_PAIRS = 30


def cautions(sheet: dict[str, Any], verdict: VerdictPolicy) -> list[str]:
    """
    >>> none = {"sft": 0, "dpo": 0, "kto": 0}
    >>> sheet = {"rows": {"train": none, "gate": none}, "origins": [], "dropped": [], "pairs": {}, "balance": {}}
    >>> cautions(sheet | {"methods": [], "people": {}}, VerdictPolicy())
    ['There is nothing to train on.']
    """
    if not sheet["methods"]:
        return ["There is nothing to train on."]
    return [*_gate(sheet, verdict), *_size(sheet), *_people(sheet), *_origins(sheet), *_one_sided(sheet)]


def _size(sheet: dict[str, Any]) -> list[str]:
    rows = sum(sheet["rows"]["train"].values())
    capped = sum(out["items"] for out in sheet["dropped"] if "over max_preference_pairs" in out["reason"])
    waiting = sum(out["items"] for out in sheet["dropped"] if out["waits_for_review"])
    found = [f"It trains on {rows} rows only."] if rows < _FEW_ROWS else []
    if capped > rows:
        found.append(
            f"{capped} more pairs are fit to train on and left out, by chance: `training.max_preference_pairs` is "
            f"{sheet['policy']['training']['max_preference_pairs']}."
        )
    if waiting:
        found.append(f"Not in it, for a person to decide on first: {waiting} of the pieces of feedback.")
    return found


def _people(sheet: dict[str, Any]) -> list[str]:
    rows, people = sum(sheet["rows"]["train"].values()), sheet["people"]["train"]
    found = []
    if people["anonymous_rows"] > _MOSTLY * rows:
        found.append(f"{people['anonymous_rows']} of the {rows} training rows name no giver.")
    if not sheet["stood_behind"]["rows_approved_in_review"]:
        found.append("No row was looked at by a reviewer: a better or right reply is somebody's word for it.")
    if people["rows_of_ten_largest"] > _MOSTLY * rows and people["contributors"] > 1:
        found.append(f"Ten contributors or fewer gave {people['rows_of_ten_largest']} of the {rows} training rows.")
    return found


def _origins(sheet: dict[str, Any]) -> list[str]:
    imported = [one for one in sheet["origins"] if one["origin"].startswith(IMPORTED)]
    rows = sum(sheet["rows"]["train"].values())
    from_files = sum(one["rows"]["train"] for one in imported)
    unlicensed = sum(one["licence"] is None for one in imported)
    found = []
    if from_files > _MOSTLY * rows:
        found.append(
            f"{from_files} of the {rows} training rows come from imported files, not from this assistant's users."
        )
    for one in sheet["origins"]:
        if one["rows"]["train"] > _WORTH_JUDGING * rows and not one["rows"]["gate"]:
            found.append(f"Nothing judges what the {one['rows']['train']} training rows from {one['origin']} teach.")
    if unlicensed:
        found.append(f"Imported files without a stated licence: {unlicensed}.")
    return found


def _one_sided(sheet: dict[str, Any]) -> list[str]:
    found = []
    for name, groups in sheet["balance"].items():
        total = sum(group["trains"] for group in groups)
        for group in groups:
            if len(groups) > 1 and group["group"] != "other" and group["trains"] > _NEARLY_ALL * total > 0:
                # no topic's name: its words may have to be forgotten (feedback.erasure)
                which = f"is on one {name}" if name == "topic" else f"has the {name} {group['group']}"
                found.append(f"Nearly all that trains {which}.")
    for side, consequence in (("train", "length is learned"), ("gate", "length alone would score as much")):
        look = sheet["pairs"].get(side, {"pairs": 0})
        for which, longer in (("longer", "better"), ("shorter", "worse")):
            if look["pairs"] >= _ENOUGH_PAIRS and look[f"{longer}_is_longer"] > _LENGTH_TELLS * look["pairs"]:
                share = look[f"{longer}_is_longer"] / look["pairs"]
                found.append(f"In {share:.0%} of the {side} pairs the better reply is the {which} one: {consequence}.")
    return found


def _gate(sheet: dict[str, Any], verdict: VerdictPolicy) -> list[str]:
    rows, people = sheet["rows"]["gate"], sheet["people"]["gate"]
    missing = []
    if people["contributors"] < verdict.min_gate_contributors:
        missing.append(
            f"{verdict.min_gate_contributors} identified contributors in the gate (there are {people['contributors']})"
        )
    if rows["sft"] < verdict.min_gate_rows and rows["dpo"] < verdict.min_gate_pairs:
        missing.append(
            f"{verdict.min_gate_rows} corrections ({rows['sft']}) or {verdict.min_gate_pairs} choices ({rows['dpo']})"
        )
    if not missing:
        return []
    return [
        f"This dataset can't show that a model trained on it is better: a verdict needs {' and '.join(missing)}. "
        "Until then every verdict is INCONCLUSIVE, and nothing goes live by itself."
    ]
