"""The README's commands work as written: its shell and Python blocks run, and what its tables name exists."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from burnish_server import Deployment, burnish, clean_environment, deployment
from typer.main import get_command

from feedback.cli.app import app
from feedback.config import settings_table
from feedback.states import Role

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SHELL = [text for language, text in BLOCKS if language == "bash"]
MOST_PICTURE_BYTES = 60 * 1024
ADDRESS = "127.0.0.1:8400"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("readme")) as made:
        made.make_assistant("assistant")
        yield made.start()


def test_it_opens_with_one_sentence_and_the_three_commands() -> None:
    title, sentence, commands = README.split("\n\n")[:3]
    assert title == "# Burnish"
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")
    assert [line.split("#")[0].strip() for line in commands.splitlines()[1:-1]] == ["make up", "make demo", "make test"]


def test_its_pictures_are_there_and_small() -> None:
    pictures = set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", README))
    assert pictures == {f"docs/screenshots/{file.name}" for file in (ROOT / "docs/screenshots").iterdir()}
    assert all((ROOT / picture).stat().st_size < MOST_PICTURE_BYTES for picture in pictures)


@pytest.mark.parametrize("number", range(1, len(SHELL)))
def test_a_shell_block_runs(house: Deployment, tmp_path: Path, number: int) -> None:
    block = SHELL[number].replace(ADDRESS, f"127.0.0.1:{house.settings.port}")
    block = block.replace("export BURNISH_API_KEY=sk-burnish-...", "true")
    key = house.make_key(Role.OPERATOR)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env={**house.environment, "BURNISH_API_KEY": key, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"error"' not in done.stdout
    if "curl" in block:
        assert '"id"' in done.stdout


def test_the_python_block_runs_with_the_unmodified_client(house: Deployment) -> None:
    (block,) = [text for language, text in BLOCKS if language == "python"]
    block = block.replace(ADDRESS, f"127.0.0.1:{house.settings.port}")
    done = subprocess.run(
        [sys.executable, "-c", block],
        env={**house.environment, "BURNISH_API_KEY": house.make_key(Role.CHAT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Eiffel" in done.stdout


def test_every_command_named_exists_with_its_options() -> None:
    root = get_command(app)
    for line in re.findall(r"`(burnish [^`]+)`", README):
        words = shlex.split(line)[1:]
        command = root
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"`{line}` names no command"
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make (\w+)", "\n".join([*SHELL, README]), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_settings_table_is_the_generated_one() -> None:
    table = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- settings end -->", README, re.DOTALL)
    assert table is not None
    assert table.group(1) == settings_table(), "run `burnish doctor --settings` and paste its output"


def test_every_folder_in_the_tree_is_there() -> None:
    (tree,) = [text for language, text in BLOCKS if not language]
    parents: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r" {2,}", line.strip())[0].split()
        parents = parents[:depth]
        for name in names:
            assert (ROOT / Path(*parents) / name).exists(), line
        if names[0].endswith("/"):
            parents.append(names[0])


def test_the_doctor_prints_the_same_table(tmp_path: Path) -> None:
    printed = burnish("doctor", "--settings", environment=clean_environment(BURNISH_DATA_FOLDER=str(tmp_path)))
    assert printed.stdout.strip() == settings_table()
