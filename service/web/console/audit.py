"""`/console/audit`: who did what, when; and whether the log is what was written."""

import json
from typing import Any

from litestar import get

from feedback import audit
from feedback.database import Database
from service.api.audit import MOST_CHECKED
from service.secret import Secret
from service.web.console.asked import place
from service.web.page import AnyResponse, Page, signed_in

SHOWN = 50
GROUPS = (
    "assistant.", "release.", "run.", "version.", "feedback.", "case.", "erasure", "key.", "session.", "webhook.",
    "suite.", "file.", "job.", "alert.",
)  # fmt: skip
"""Beginnings of actions, offered to choose from."""
LONGEST_VALUE = 300


@get("/console/audit", guards=[signed_in("operate", everywhere=True)], sync_to_thread=True)
def show_audit(page: Page, database: Database) -> AnyResponse:
    action, subject = page.asked("action"), page.asked("subject")
    with database.read() as session:
        found = audit.list_entries(
            session,
            action=action,
            subject=subject,
            before=place(page.asked("after")),
            limit=SHOWN + 1,
        )
    return page.render(
        "console/audit.html",
        entries=found[:SHOWN],
        after=found[SHOWN - 1].id if len(found) > SHOWN else None,
        details={entry.id: flat(entry.details) for entry in found},
        action=action or "",
        subject=subject or "",
        groups=GROUPS,
    )


@get("/console/audit/check", guards=[signed_in("operate", everywhere=True)], sync_to_thread=True)
def check_audit(page: Page, database: Database, secret: Secret) -> AnyResponse:
    with database.read() as session:
        count, flaws = audit.verify(session, secret.value, newest=MOST_CHECKED)
    return page.render("console/audit_check.html", count=count, flaws=flaws, most=MOST_CHECKED)


def flat(details: dict[str, Any]) -> list[tuple[str, str]]:
    """
    >>> flat({"changes": {"release": {"frozen": True}}, "reason": "a look", "missing": []})
    [('changes.release.frozen', 'true'), ('reason', 'a look')]
    """
    found: list[tuple[str, str]] = []
    for name, value in details.items():
        if isinstance(value, dict):
            found += [(f"{name}.{inner}", text) for inner, text in flat(value)]
        elif value not in (None, [], ""):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((name, text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"))
    return found
