"""What isn't ours is what its table says; the overview's counts of days."""

import hashlib
import re
from datetime import timedelta
from pathlib import Path

from feedback.columns import now
from feedback.testing import House
from feedback.traffic import replies_by_day
from service.web import site

STATIC = Path(site.__file__).parent / "static"


def test_files_that_are_not_ours_are_those_of_the_table() -> None:
    table = (STATIC / "VENDORED.md").read_text()
    rows = re.findall(r"^\| `([\w.-]+)` .*`([\w.]+\.LICENSE)`.* `([0-9a-f]{64})` \|$", table, re.M)
    assert {name for name, _, _ in rows} == {path.name for path in STATIC.glob("*.min.*")}
    for name, licence, sha256 in rows:
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == sha256
        assert (STATIC / licence).read_text().strip()


def test_days_that_are_over_are_counted_once_and_today_each_time(embedded: House) -> None:
    embedded.reply("How tall?", "Tall.")
    yesterday, known = now().date() - timedelta(days=1), {now().date() - timedelta(days=1): 7}
    for count in (1, 2):
        with embedded.database.read() as session:
            counts = replies_by_day(session, embedded.assistant, known, days=3)
        assert list(counts.values()) == [0, 7, count]
        assert (max(known), known[yesterday]) == (yesterday, 7)
        embedded.reply(f"How tall, {count}?", "Tall.")
