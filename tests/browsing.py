"""Pages in a real browser: Debian's Chromium, signed in or not, and what axe-core says of a page."""

import functools
import os
import shutil
import subprocess
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from burnish_server import Deployment
from playwright.sync_api import Browser, Page

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
DEADLINE_MILLISECONDS = 20_000


@functools.cache
def find_chromium() -> str | None:
    """Its program; Debian's is installed first where there is none and we may."""
    found = _program()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, capture_output=True, timeout=600)
        found = _program()
    return found


def _program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def open_page(browser: Browser, made: Deployment, *, key: str | None = None, **options: Any) -> Page:
    """A new person's browser; signed in with `key`, if one is given. Close it with `page.context.close()`."""
    context = browser.new_context(base_url=made.settings.url, **{"locale": "en-GB", **options})
    context.set_default_timeout(DEADLINE_MILLISECONDS)
    page = context.new_page()
    if key is not None:
        page.goto("/sign-in")
        page.locator("#key").fill(key)
        page.locator("main button").click()
        page.wait_for_url("**/console")
    return page


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds wrong, serious or worse, in words."""
    results = Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{found['impact']}: {found['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for found in results.response["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"][:3]
    ]
