"""`make screenshots`: the README's pictures, of the demo's product after a real run; into the folder that is named.

Promises that what they show came about: people asked, corrected, chose and reported, an adapter was trained and judged.
Takes as long as `make demo DEMO=--fast`. Pictures have few colours, so that they are small.
"""

import io
import sys
from pathlib import Path
from typing import Any

from browsing import CHROMIUM_ARGUMENTS, find_chromium
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from sqlmodel import col, select

from feedback import assistants, files, guidelines, keys
from feedback.collect.intake import make_receipt
from feedback.demo.crowd import Crowd
from feedback.demo.product import FAST, load_product
from feedback.demo.stage import Stage
from feedback.models import Contributor, Feedback
from feedback.states import FeedbackKind, Role, Side

WIDTH, HEIGHT = 1120, 700
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 700}, "locale": "zh-CN", "color_scheme": "dark"}
COLOURS = 48
DISCLAIMER = "An invented product's assistant, for demonstration."


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    program = find_chromium()
    if program is None:
        print("No Chromium here: apt-get install chromium", file=sys.stderr)
        return 1
    console, product = Console(), load_product(FAST.facts)
    with Stage(console, product, FAST) as stage:
        prepare(stage)
        crowd = Crowd(stage, product, FAST, control=False)
        crowd.ask(console)
        stage.set_threshold(crowd.lessons)
        crowd.give_feedback(console)
        for question in crowd.questions[:3]:
            report(stage, question.reply["id"], question.person)
        run = stage.wait_for_run(console)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
            shoot_all(browser, stage, run.id, [question.text for question in crowd.questions[:2]], folder)
            browser.close()
    return 0


def shoot_all(browser: Browser, stage: Stage, run_id: str, questions: list[str], folder: Path) -> None:
    page = browser.new_page(base_url=stage.settings.url, viewport={"width": WIDTH, "height": HEIGHT})
    for name, address, more in pages(stage, run_id):
        show(page, address, **more)
        shoot(page, folder / f"{name}.png")
    talk(page, stage.name, questions[0])
    shoot(page, folder / "chat.png")
    phone = browser.new_page(base_url=stage.settings.url, **PHONE)
    talk(phone, stage.name, questions[1])
    shoot(phone, folder / "phone.png")


def prepare(stage: Stage) -> None:
    with stage.database.write() as session:
        assistant = assistants.get_assistant(session, stage.name)
        said = guidelines.draft_of(assistants.current_guidelines(session, assistant)).model_dump()
        said |= {"boundaries": ["Never guesses a number."], "disclaimer": DISCLAIMER}
        guidelines.revise(session, assistant, guidelines.checked(said), actor="demo")


def report(stage: Stage, completion_id: str, person: str) -> None:
    comment = "That is not what the manual says."
    stage.feedback(completion_id=completion_id, user=person, kind="report", value="wrong", comment=comment)


def pages(stage: Stage, run_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(picture, address, how to show it)"""
    base = f"/console/a/{stage.name}"
    with stage.database.read() as session:
        taught = select(Feedback).join(Contributor, col(Contributor.id) == col(Feedback.contributor_id))
        taught = taught.where(Feedback.kind == FeedbackKind.CORRECTION, Contributor.side == Side.TRAIN)
        corrected = session.exec(taught.order_by(col(Feedback.id))).first()
    assert corrected is not None
    receipt = make_receipt(stage.settings.read_secret(), corrected.public_id)
    with stage.database.write() as session:
        key = {"key": keys.create(session, "a picture", Role.ADMIN, actor="demo")[1]}
    return [
        ("overview", "/console", key),
        ("feedback", f"{base}/feedback", key),
        ("review", f"{base}/review", key),
        ("reports", f"{base}/cases", key),
        ("data", f"{base}/data/v1", key),
        ("run", f"/console/runs/{run_id}", key),
        ("verdict", f"/console/runs/{run_id}/verdict", key),
        ("releases", f"{base}/releases", key),
        ("lineage", f"{base}/lineage?of={corrected.public_id}", key),
        ("trust", f"{base}/trust", key),
        ("settings", f"{base}/settings", key),
        ("keys", "/console/keys", key),
        ("audit", "/console/audit", key),
        ("changes", f"/changes/{stage.name}", {}),
        ("receipt", f"/receipt/{receipt}", {}),
    ]


def show(page: Page, address: str, *, key: str | None = None) -> None:
    if key is not None and not page.context.cookies():
        page.goto("/sign-in")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/console")
    answer = page.goto(address)
    assert answer is not None, address
    assert answer.ok, f"{address}: {answer.status}"


def talk(page: Page, assistant: str, question: str) -> None:
    page.goto("/")
    page.locator("select[name=assistant]").select_option(assistant)
    page.locator("#message").fill(question)
    page.locator("[data-send]").click()
    page.locator(".turn:not(.writing) .said").wait_for(timeout=60_000)
    page.locator("button[name=thumb][value='1']").first.click()
    page.locator(".given").wait_for()


def shoot(page: Page, path: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot()))
    small = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(small, "PNG", optimize=True)
    files.write_bytes(path, small.getvalue())
    print(f"{path.name}: {small.tell() // 1024} KB")


if __name__ == "__main__":
    sys.exit(main())
