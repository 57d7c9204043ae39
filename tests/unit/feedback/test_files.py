"""Files that survive a kill, folders named by their content, and the registry of adapters built on them."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feedback import adapters, files
from feedback.errors import AdapterRefused
from feedback.models import AdapterVersion

OLD, NEW = b"old" * 300_000, b"new" * 300_000
WRITE_FOREVER = """
import sys
from pathlib import Path
from feedback.files import write_bytes
print("writing", flush=True)
while True:
    write_bytes(Path(sys.argv[1]), b"old" * 300_000)
    write_bytes(Path(sys.argv[1]), b"new" * 300_000)
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    for name in (*adapters.CONTENT, adapters.MODEL_CARD, "optimizer.pt"):
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder


def published(adapter: Path, registry: Path) -> AdapterVersion:
    return AdapterVersion(assistant_id=1, number=1, sha256=adapters.publish(adapter, registry))


def test_a_killed_writer_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    files.write_bytes(target, OLD)
    for tenths in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(target)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.03 + tenths * 0.017)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert target.read_bytes() in (OLD, NEW)
    leftovers = [path.name for path in tmp_path.iterdir() if path != target]
    assert all(name.startswith(".file.bin.") for name in leftovers)


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    files.write_bytes(target, OLD)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [files.write_bytes(target, content) for content in (NEW, OLD) * 5])
        while not writing.done():
            assert target.read_bytes() in (OLD, NEW)


def test_a_write_that_fails_leaves_nothing_aside(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        files.write_bytes(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_publishing_twice_is_harmless(adapter: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    first = adapters.publish(adapter, registry)
    before = {path.name: path.stat().st_mtime_ns for path in (registry / first).iterdir()}
    assert adapters.publish(adapter, registry) == first
    assert {path.name: path.stat().st_mtime_ns for path in (registry / first).iterdir()} == before
    assert set(before) == {*adapters.CONTENT, adapters.MODEL_CARD, files.MANIFEST}
    assert [path.name for path in registry.iterdir()] == [first]


def test_publishing_at_once_leaves_one_whole_folder(adapter: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    with ThreadPoolExecutor(8) as pool:
        names = {future.result() for future in [pool.submit(adapters.publish, adapter, registry) for _ in range(8)]}
    assert [path.name for path in registry.iterdir()] == [*names]
    manifest = files.read_json(registry / names.pop() / files.MANIFEST)
    assert manifest == {name: files.file_sha256(adapter / name) for name in manifest}


def test_what_cannot_be_published_leaves_nothing(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        files.publish_folder(adapter, tmp_path / "adapters" / "x", ["missing"])
    assert list((tmp_path / "adapters").iterdir()) == []


def test_the_content_address_is_of_the_weights_and_their_config_alone(adapter: Path, tmp_path: Path) -> None:
    before = adapters.publish(adapter, tmp_path / "adapters")
    (adapter / adapters.MODEL_CARD).write_text("other words")
    assert adapters.publish(adapter, tmp_path / "adapters") == before
    (adapter / adapters.CONTENT[0]).write_text("{}")
    assert adapters.publish(adapter, tmp_path / "adapters") != before


def test_a_published_version_verifies(adapter: Path, tmp_path: Path) -> None:
    adapters.verify(tmp_path / "adapters", published(adapter, tmp_path / "adapters"))
    bare = AdapterVersion(assistant_id=1, number=0, sha256="base")
    adapters.verify(tmp_path / "nowhere", bare)
    assert adapters.folder_of(tmp_path, bare) is None


@pytest.mark.parametrize("name", adapters.CONTENT)
def test_one_changed_byte_or_a_missing_file_is_noticed(adapter: Path, tmp_path: Path, name: str) -> None:
    version = published(adapter, tmp_path / "adapters")
    file = tmp_path / "adapters" / version.sha256 / name
    whole = file.read_bytes()
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(AdapterRefused, match="changed"):
        adapters.verify(tmp_path / "adapters", version)
    file.unlink()
    with pytest.raises(AdapterRefused, match=f"lacks {name}"):
        adapters.verify(tmp_path / "adapters", version)
