"""`burnish train ASSISTANT --dry-run`: what a run would train on and take, for people and programs."""

from contextlib import nullcontext
from typing import Any

from feedback import dry_run
from feedback.cli.app import console, print_fields, print_json, print_rows
from feedback.config import Settings
from feedback.database import Database
from feedback.progress import duration

GIB = 2**30


def show_dry_run(
    settings: Settings,
    database: Database,
    assistant: str,
    search_trials: int | None,
    base_model: str | None,
    *,
    as_json: bool,
) -> None:
    working = nullcontext() if as_json else console.status("Training a few steps, to measure them …")
    with working:
        found = dry_run.try_out(settings, database, assistant, search_trials, base_model)
    if as_json:
        print_json(found)
        return
    columns = ("method", "side", "rows", "median", "longest", "cut", "left_out")
    print_rows([{name: one[name] for name in columns} for one in found["tokens"] if one["rows"]], False, empty="")
    print_fields({one["method"]: _method(one) for one in found["methods"]} | _whole(found), False)


def _method(one: dict[str, Any]) -> str:
    parts = [f"{one['steps']} steps, {_time(one)}, at {one['tokens_per_second']:.0f} tokens a second"]
    if one["replayed_tokens"]:
        parts.append(f"{one['replayed_tokens']} tokens replayed beside")
    if (search := one["search"]) is not None:
        at_most = _time({"seconds": search["most_seconds"], "uncertainty": one["uncertainty"]})
        parts.append(f"searched in {search['trials']} trials: up to {search['most_steps']} steps, {at_most}")
    if one["no_search"] is not None:
        parts.append(f"no search: {one['no_search']}")
    return "; ".join(parts)


def _whole(found: dict[str, Any]) -> dict[str, str]:
    judging = found["judging_seconds"]
    searched = any(one["search"] for one in found["methods"])
    alone = f", by one process where a run has {found['processes']}" if found["processes"] > 1 else ""
    return {
        "training": f"{'up to ' if searched else ''}{_time(found)}, if nothing ends it early, on this machine as "
        f"busy as it is{alone}",
        "judging": "not known before the first run" if judging is None else f"{duration(judging)} in the last run",
        "memory": f"at least {found['peak_memory_bytes'] / GIB:.1f} GiB for training, on {found['device']} in "
        f"{found['dtype']}{alone}",
    }


def _time(one: dict[str, Any]) -> str:
    return f"{duration(one['seconds'])} ± {duration(one['seconds'] * one['uncertainty'])}"
