"""What somebody should know of a dataset before using it: told by its counts, in sentences."""

from typing import Any

from feedback.curate.items import IMPORTED
from feedback.policies import VerdictPolicy

_FEW_ROWS = 100
_MOSTLY = 0.5
_NEARLY_ALL = 0.9
_LENGTH_TELLS = 0.65
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
    return [*_size(sheet), *_people(sheet), *_origins(sheet), *_one_sided(sheet), *_gate(sheet, verdict)]


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
        found.append(f"{waiting} pieces of feedback wait for a person's decision, and aren't in it.")
    return found


def _people(sheet: dict[str, Any]) -> list[str]:
    rows, people = sum(sheet["rows"]["train"].values()), sheet["people"]["train"]
    found = []
    if people["anonymous_rows"] > _MOSTLY * rows:
        found.append(f"Nobody stands behind {people['anonymous_rows']} of the {rows} training rows.")
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
    if unlicensed:
        found.append(f"{unlicensed} imported files came without a stated licence.")
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
    look = sheet["pairs"].get("train")
    if look and look["pairs"] >= _ENOUGH_PAIRS:
        for which, other in (("longer", "better"), ("shorter", "worse")):
            if look[f"{other}_is_longer"] > _LENGTH_TELLS * look["pairs"]:
                share = look[f"{other}_is_longer"] / look["pairs"]
                found.append(
                    f"In {share:.0%} of the training pairs the better reply is the {which} one: length is learned."
                )
    return found


def _gate(sheet: dict[str, Any], verdict: VerdictPolicy) -> list[str]:
    rows, people = sheet["rows"]["gate"], sheet["people"]["gate"]
    if people["contributors"] < verdict.min_gate_contributors:
        return [
            f"The gate's rows come from {people['contributors']} named contributors; with fewer than "
            f"{verdict.min_gate_contributors} a verdict is INCONCLUSIVE."
        ]
    if rows["sft"] < verdict.min_gate_rows and rows["dpo"] < verdict.min_gate_pairs:
        return [
            f"The gate has {rows['sft']} corrections and {rows['dpo']} pairs; a verdict needs {verdict.min_gate_rows} "
            f"corrections or {verdict.min_gate_pairs} choices, else it is INCONCLUSIVE."
        ]
    return []
