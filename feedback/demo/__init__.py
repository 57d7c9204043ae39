"""`burnish demo`: the whole loop in front of your eyes, through the real HTTP API, in a temporary data folder.

An assistant for an invented product, of which the model can know nothing, is asked about it, corrected, trained,
judged and released while others go on chatting. With `control`, whoever's words are trained on gives the right
corrections to the wrong questions: a candidate that learned those must not go live.
"""

import json
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from feedback import evaluations, files
from feedback.demo import show
from feedback.demo.audience import Audience
from feedback.demo.crowd import Crowd
from feedback.demo.exam import sit_exam
from feedback.demo.product import FAST, FULL, load_product
from feedback.demo.stage import Stage


def play(*, fast: bool, control: bool, as_json: bool, report: Path | None = None) -> int:
    """`report`: where the run's report page is put.

    Returns 0 if the loop did what it should: learned and went live, or, as a control, did not go live.
    """
    console = Console(stderr=as_json)
    began = time.monotonic()
    size = FAST if fast else FULL
    product = load_product(size.facts)
    with ExitStack() as opened:
        stage = opened.enter_context(Stage(console, product, size))
        crowd = Crowd(stage, product, size, control=control)
        with stage.timed("exam before"):
            before = sit_exam(stage, product, version=0, console=console)
        with stage.timed("questions"):
            crowd.ask(console)
        stage.set_threshold(crowd.lessons)
        with stage.timed("feedback"):
            crowd.give_feedback(console)
        audience = opened.enter_context(Audience(stage, product))
        run = stage.wait_for_run(console)
        audience.watch_swap()
        with stage.timed("exam after"):
            after = sit_exam(stage, product, version=1, console=console)
        outcome = show.Outcome.of(stage, run, before, after, audience, seconds=time.monotonic() - began)
        if report is not None:
            page = evaluations.report_file(stage.settings.runs, run, "html")
            files.write_bytes(report, page.read_bytes())
    show.print_outcome(console, outcome, control=control)
    if report is not None:
        console.print(f"\nThe run's report, to read in a browser: {report}")
    if as_json:
        print(json.dumps(outcome.as_json()))
    if control:
        return 0 if not outcome.promoted else 1
    return 0 if outcome.promoted and outcome.dropped == 0 and after.recall >= size.least_recall else 1
