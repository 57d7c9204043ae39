"""The arrows between the packages, and what a module may be; the rules are README's architecture section."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("feedback", "service", "trainer", "migrations")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = {"torch", "transformers", "trl", "peft", "datasets"}
MOST_LINES = 400
LOCAL_ENGINE = "service/engines/local/"


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def under(*starts: str) -> list[Path]:
    """The modules whose path begins with one of `starts`."""
    found = [path for path in FILES if place(path).startswith(starts)]
    assert found, starts
    return found


def imports(path: Path, *, at_import_time_only: bool = False) -> Iterator[str]:
    """Every dotted name that a module imports: `from a.b import c` gives `a.b` and `a.b.c`."""
    for node in nodes(ast.parse(path.read_text()), at_import_time_only):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}:{node.lineno}: write absolute imports"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def nodes(tree: ast.AST, at_import_time_only: bool) -> Iterator[ast.AST]:
    """All nodes; or those that run when the module is imported, which a function's body doesn't."""
    for child in ast.iter_child_nodes(tree):
        yield child
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child)
        if not (at_import_time_only and deferred):
            yield from nodes(child, at_import_time_only)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def reaches(name: str, targets: set[str]) -> bool:
    """Whether a dotted name is one of `targets` or lies in it.

    >>> reaches("feedback.datasets", {"datasets"}), reaches("datasets.arrow", {"datasets"})
    (False, True)
    """
    return any(name == target or name.startswith(f"{target}.") for target in targets)


def violations(paths: list[Path], forbidden: set[str], *, at_import_time_only: bool = False) -> list[str]:
    return [
        f"{place(path)} imports {name}"
        for path in paths
        for name in imports(path, at_import_time_only=at_import_time_only)
        if reaches(name, forbidden)
    ]


def test_feedback_knows_neither_torch_nor_the_web_nor_the_two_programs() -> None:
    assert violations(under("feedback/"), HEAVY | {"accelerate", "litestar", "uvicorn", "service", "trainer"}) == []


def test_the_client_for_apps_knows_nothing_else_of_burnish() -> None:
    strays = [
        f"{place(path)} imports {name}"
        for path in under("feedback/client/")
        for name in imports(path)
        if reaches(name, {"feedback"}) and not reaches(name, {"feedback.client"})
    ]
    assert strays == []


def test_migrations_know_only_feedback() -> None:
    assert violations(under("migrations/"), HEAVY | {"litestar", "service", "trainer"}) == []


def test_the_service_never_imports_the_trainer_or_trl() -> None:
    assert violations(under("service/"), {"trainer", "trl", "datasets"}) == []


def test_only_the_local_engine_imports_torch_in_the_service() -> None:
    elsewhere = [path for path in under("service/") if not place(path).startswith(LOCAL_ENGINE)]
    assert violations(elsewhere, HEAVY | {"safetensors", "gguf"}) == []


def test_the_trainer_imports_of_the_service_only_its_engines() -> None:
    strays = [
        f"{place(path)} imports {name}"
        for path in under("trainer/")
        for name in imports(path)
        if reaches(name, {"service"}) and not reaches(name, {"service.engines"}) and name != "service"
    ]
    assert strays == []
    assert violations(under("trainer/"), {"litestar", "uvicorn"}) == []


def test_only_the_worker_opens_the_database_in_the_trainer() -> None:
    others = [path for path in under("trainer/") if place(path) != "trainer/worker.py"]
    assert violations(others, {"feedback.database", "feedback.models", "sqlmodel", "sqlalchemy"}) == []
    assert [place(path) for path in others if "open_database" in path.read_text()] == []


def test_engines_know_neither_the_web_nor_the_database() -> None:
    web, database = {"litestar", "uvicorn"}, {"feedback.database", "feedback.models", "sqlmodel", "sqlalchemy"}
    assert violations(under("service/engines/"), web | database) == []
    beside = {"service.app", "service.api", "service.auth", "service.chat", "service.routing", "service.errors"}
    assert violations(under("service/engines/"), beside) == []


def test_the_worker_and_the_launchers_import_nothing_heavy() -> None:
    control_machine = under("trainer/worker.py", "trainer/launchers/", "trainer/__main__.py", "trainer/__init__.py")
    assert violations(control_machine, HEAVY | {"accelerate"}, at_import_time_only=True) == []


def loaded_after(statement: str) -> set[str]:
    """Top-level names in `sys.modules` of a fresh interpreter that ran `statement`."""
    script = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["service.app", "service.__main__", "trainer.worker", "feedback.cli"])
def test_importing_a_program_loads_no_torch(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert loaded & (HEAVY | {"accelerate", "gguf"}) == set()
    if module.startswith("trainer"):
        assert "litestar" not in loaded
    else:
        assert "numpy" not in loaded  # the curation's, which takes long to import


def test_importing_the_client_for_apps_loads_httpx_and_pydantic_alone() -> None:
    loaded = loaded_after("import feedback.client")
    assert {"httpx", "pydantic"} <= loaded
    assert loaded & (HEAVY | {"sqlmodel", "sqlalchemy", "pydantic_settings", "litestar", "numpy", "structlog"}) == set()


def test_an_import_reads_no_settings_and_no_environment() -> None:
    early = [
        f"{place(path)}:{node.lineno}"
        for path in FILES
        if path.name != "__main__.py"
        for node in nodes(ast.parse(path.read_text()), at_import_time_only=True)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Settings")
    ]
    assert early == []


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_module_opens_with_what_it_promises_and_fits_on_a_few_pages(path: Path) -> None:
    text = path.read_text()
    if path.name != "__init__.py" or text.strip():
        assert ast.get_docstring(ast.parse(text)), "a docstring says what the module promises and leaves out"
    if not place(path).startswith("migrations/versions/"):  # a migration is written once and as long as its schema
        assert text.count("\n") <= MOST_LINES
    assert path.stem not in ("utils", "helpers", "common", "manager")
