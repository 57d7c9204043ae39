"""Fixtures for all tests: databases of both kinds, the prepared base model, and a rule about skipping."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from browsing import CHROMIUM_ARGUMENTS, find_chromium
from burnish_server import free_port
from playwright.sync_api import Browser, sync_playwright
from tiny import make_tiny_base

import migrations
from feedback.config import BUNDLED_MODEL, Settings
from feedback.database import Database
from feedback.testing import House, make_database, make_settings, open_house

REQUIRED = os.environ.get("BURNISH_TEST_REQUIRE", "").split()
"""Markers whose tests must not be skipped: CI sets them, so that a missing model can't hide."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    unmet = [name for name in REQUIRED if item.get_closest_marker(name)]
    if report.skipped and unmet:
        report.outcome = "failed"
        report.longrepr = f"skipped, but BURNISH_TEST_REQUIRE asks for {unmet}: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """Where the bundled base model was prepared; skips the test where it wasn't."""
    folder = Path(os.environ.get("BURNISH_MODELS_FOLDER", ".burnish/models")).resolve()
    if not (folder / BUNDLED_MODEL / "config.json").exists():
        pytest.skip(f"{BUNDLED_MODEL} isn't prepared in {folder}: run `burnish model prepare`")
    return folder


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A private PostgreSQL server on a socket and a loopback port; yields the URL of its `postgres` database."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server binaries aren't installed")
    folder = Path(tempfile.mkdtemp(prefix="burnish-postgresql-"))  # pytest closes its own folders to other users
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        as_user = {"user": "postgres"}
        shutil.chown(folder, "postgres")
    port = free_port()
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    initdb = [binaries / "initdb", "-D", data, "-U", "burnish", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, **quiet)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    server = subprocess.Popen([binaries / "postgres", "-D", data, "-p", str(port), *options], **quiet)
    url = f"postgresql://burnish@127.0.0.1:{port}/postgres"
    try:
        _wait_for_postgresql(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> str:
    """The name of a database with the newest schema, to be copied: to migrate takes longer than most tests do."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    database = Database(postgresql_server.rpartition("/")[0] + "/migrated")
    migrations.upgrade(database)
    database.close()
    return "migrated"


@pytest.fixture
def template(request: pytest.FixtureRequest) -> str:
    """What a new PostgreSQL database is a copy of."""
    name: str = request.getfixturevalue("migrated_postgresql")
    return name


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database of each kind: no file yet, or the newest schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'burnish.sqlite3'}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {request.getfixturevalue('template')}")
    yield server.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url=database_url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = make_database(settings)
    yield database
    database.close()


@pytest.fixture
def house(settings: Settings, database: Database) -> House:
    """A deployment on each kind of database, with one assistant."""
    return House(settings, database)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[House]:
    """A deployment on SQLite alone, for what doesn't depend on the kind of database."""
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright; installed where it may be, else the test is skipped.

    A module's: as long as Playwright runs, its event loop is this thread's, where others' tests run theirs.
    """
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here, and it can't be installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama's folder."""
    return make_tiny_base(tmp_path_factory.mktemp("tiny-base"))


def _postgresql_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return found[-1].parent if found else None


def _wait_for_postgresql(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
