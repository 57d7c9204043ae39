"""`python -m trainer.recipes`: the recipes there are, and one of them trained and measured.

    python -m trainer.recipes list [--json]
    python -m trainer.recipes run NAME [--seeds N] [--folder P] [--json]

The settings are the deployment's, read here from the environment. Progress goes to stderr, what was found to stdout.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feedback.complaints import complaint_of
from feedback.config import Settings
from feedback.errors import InvalidInput
from feedback.folder_lock import FolderBusy, folder_lock
from feedback.processes import keep_files_private
from trainer.recipes.recipe import built_in_names, load_recipe
from trainer.recipes.run import line_on_stderr, run_recipe
from trainer.recipes.show import findings, name, print_findings


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    keep_files_private()
    try:
        if chosen.command == "list":
            _list(chosen.json)
        else:
            _run(chosen.name, chosen.seeds, chosen.folder, chosen.json)
    except FolderBusy as busy:
        print(f"error: {busy}", file=sys.stderr)
        return busy.exit_code
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        print(f"error: {complaint}", file=sys.stderr)
        return 1
    return 0


def _list(as_json: bool) -> None:
    recipes = [load_recipe(one) for one in built_in_names()]
    if as_json:
        rows = [{"recipe": one.name, "title": one.recipe.title, "sizes": one.sizes()} for one in recipes]
        print(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("recipe", "what it teaches", "trains on", "held out"):
        table.add_column(column)
    for one in recipes:
        sizes = one.sizes()
        table.add_row(one.name, one.recipe.title, *(_counted(sizes[side]) for side in ("train", "held_out")))
    Console().print(table)


def _counted(sizes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name(language)}" for language, count in sizes.items())


def _run(recipe: str, seeds: int, folder: Path | None, as_json: bool) -> None:
    if seeds < 1:
        raise InvalidInput("--seeds must be at least 1: each is one training.")
    loaded = load_recipe(recipe)
    settings = Settings()
    place = (folder or settings.data_folder / "recipes" / loaded.name).resolve()
    results = []
    place.mkdir(parents=True, exist_ok=True)
    with folder_lock(place):
        for seed in range(1, seeds + 1):
            tell = line_on_stderr(f"{loaded.name}, seed {seed} of {seeds}")
            results.append(run_recipe(loaded, seed, settings, place, tell))
            tell("done\n" if sys.stderr.isatty() else "done")
    base = "a base model of its own" if loaded.recipe.make_base else settings.base_model
    found = findings(loaded, base, results)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print_findings(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="burnish recipe", description="Classic tasks, trained and measured.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the recipes that come with Burnish")
    running = commands.add_parser("run", help="train one and measure it, before and after")
    running.add_argument("name", help="a recipe's name, or the folder of one of your own")
    running.add_argument("--seeds", type=int, default=1, help="trainings, each with another seed (default: 1)")
    running.add_argument(
        "--folder", type=Path, help="where its runs are kept (default: recipes/NAME in the data folder)"
    )
    for command in (listing, running):
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
