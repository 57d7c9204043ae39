"""`burnish recipe list run`: classic tasks, trained and measured on this machine by a process of the trainer's."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from feedback.cli.app import AsJson

recipe_app = typer.Typer(
    help="Classic tasks with data of their own: trained, and measured before and after.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(recipe_app, name="recipe")


@recipe_app.command("list")
def recipe_list(as_json: AsJson = False) -> None:
    """The recipes that come with Burnish."""
    _become("list", *(["--json"] if as_json else []))


@recipe_app.command("run")
def recipe_run(
    name: Annotated[str, typer.Argument(help="A recipe's name, or the folder of one of your own.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings, each with another seed; ranges are over them.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Where its runs are kept; else recipes/NAME in the data folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe and show its metrics before and after; what is finished isn't trained again."""
    place = ["--folder", str(folder)] if folder else []
    _become("run", "--seeds", str(seeds), *place, *(["--json"] if as_json else []), "--", name)


def _become(*arguments: str) -> None:
    os.execv(sys.executable, [sys.executable, "-m", "trainer.recipes", *arguments])  # noqa: S606  our own program
