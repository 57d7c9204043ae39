"""`/receipt`: what became of a piece of feedback, for whoever holds its receipt; and taking it back.

Needs no sign-in: anonymous givers have nothing but the receipt. It is a secret, so that no log line has it
(requests_log.py) and no other site learns of the page's address.
"""

import re
from urllib.parse import quote

from litestar import get, post
from sqlmodel import Session

from feedback.collect import receipts
from feedback.database import Database
from feedback.erasure import withdrawal
from feedback.errors import NotFound
from feedback.models import Erasure
from service.web.page import AnyResponse, Form, Page

_RECEIPT = re.compile(r"rcpt-[0-9a-zA-Z]+")


@get("/receipt", sync_to_thread=False)
def ask_for_receipt(page: Page) -> AnyResponse:
    return _secret(page.render("public/ask_receipt.html", given="", wrong=False))


@post("/receipt", status_code=200, sync_to_thread=False)
def find_receipt(page: Page, form: Form) -> AnyResponse:
    """Takes the receipt, or an address with it."""
    given = form.text("receipt").strip()
    found = _RECEIPT.search(given)
    if found is None:
        return _secret(page.render("public/ask_receipt.html", status=400, given=given[:200], wrong=True))
    return _secret(page.go(f"/receipt/{found.group()}"))


@get("/receipt/{receipt:str}", sync_to_thread=True)
def show_receipt(page: Page, receipt: str, database: Database) -> AnyResponse:
    with database.read() as session:
        try:
            told = receipts.look_up(session, receipt)
        except NotFound:
            return _gone(page, _find_withdrawal(session, receipt))
    return _secret(page.render("public/receipt.html", receipt=receipt, told=told))


@get("/receipt/{receipt:str}/take-back", sync_to_thread=True)
def ask_to_take_back(page: Page, receipt: str, database: Database) -> AnyResponse:
    with database.read() as session:
        try:
            told, consequences = receipts.look_up(session, receipt), withdrawal.foresee(session, receipt)
        except NotFound:
            return _gone(page, _find_withdrawal(session, receipt))
    return _secret(page.render("public/take_back.html", receipt=receipt, told=told, consequences=consequences))


@post("/receipt/{receipt:str}/take-back", status_code=200, sync_to_thread=True)
def take_back(page: Page, receipt: str, database: Database) -> AnyResponse:
    try:
        withdrawal.withdraw(database, receipt)
    except NotFound:
        return _gone(page, None)
    return _secret(page.go(f"/receipt/{quote(receipt, safe='')}", "You have taken it back."))


def _find_withdrawal(session: Session, receipt: str) -> Erasure | None:
    try:
        return withdrawal.find_withdrawal(session, receipt)
    except NotFound:
        return None


def _gone(page: Page, erasure: Erasure | None) -> AnyResponse:
    if erasure is None:
        return _secret(page.render("public/no_receipt.html", status=404))
    return _secret(page.render("public/taken_back.html", erasure=erasure))


def _secret(answer: AnyResponse) -> AnyResponse:
    answer.set_header("referrer-policy", "no-referrer")
    return answer
