"""The wheel and the sdist: what is in them, and that they build in the tree and outside of git.

Built with the `dev` profile into the cargo folder of `make`, so that only this project is compiled.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataflare-fast"
STALE = "_native.cpython-310-x86_64-linux-gnu.so"

pytestmark = pytest.mark.slow


def run(*command: str | Path) -> None:
    environment = {
        "CARGO_TARGET_DIR": str(CACHE / "pip"),
        **os.environ,
        "MATURIN_PEP517_ARGS": "--profile dev",
    }
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def build_wheel(source: Path, folder: Path) -> Path:
    run("pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run("build", "--sdist", "--no-isolation", "--outdir", folder, ROOT)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, outside of git, with a module of another Python lying about."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    (source / "python" / "dataflare_fast" / STALE).write_bytes(b"")
    for file in source.rglob(
        "*"
    ):  # a shared cargo folder knows sources by their times, and an sdist's are all old
        file.touch()
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_wheel_has_both_modules_once_and_for_abi3(wheel: Path, files: list[str]) -> None:
    compiled = [name for name in files if re.search(r"\.(so|pyd|dylib)$", name)]
    assert sorted(compiled) == ["dataflare_fast/_core.abi3.so", "dataflare_fast/_native.abi3.so"]
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]


def test_wheel_has_stubs_and_types(files: list[str]) -> None:
    wanted = {"py.typed", "_core.pyi", "_native.pyi", "__init__.py", "udf/native.py"}
    wanted |= {"console/assets/index.html", "monitoring/files/grafana.json"}
    assert {f"dataflare_fast/{name}" for name in wanted} <= set(files)


def test_wheel_has_nothing_else(files: list[str]) -> None:
    folders = {name.split("/")[0].split("-")[0] for name in files}
    assert folders == {"dataflare_fast"}
    endings = {Path(name).suffix for name in files if ".dist-info/" not in name}
    pages = {".css", ".html", ".js", ".json", ".svg", ".yml"}
    assert endings == {".py", ".pyi", ".so", ".typed"} | pages


def test_wheel_says_what_it_needs(metadata: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cargo = tomllib.loads((ROOT / "rust" / "Cargo.toml").read_text())
    assert metadata["Name"].replace("-", "_") == project["name"]
    assert metadata["Version"] == cargo["workspace"]["package"]["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    needs = [need.replace(" ", "") for need in metadata.get_all("Requires-Dist", []) if "extra" not in need]
    assert {re.split(r"[<>=]", need)[0].replace("_", "-") for need in needs} == {
        re.split(r"[<>=]", need)[0] for need in project["dependencies"]
    }


def test_wheel_has_the_command_and_the_licence(wheel: Path, files: list[str]) -> None:
    (entry_points,) = (name for name in files if name.endswith("/entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "dataflare=dataflare_fast.cli:main" in archive.read(entry_points).decode().replace(" ", "")
    assert any(name.endswith("/licenses/LICENSE") for name in files)


def test_wheel_from_the_tree_has_the_same_files(files: list[str], tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(ROOT, tmp_path)) as archive:
        assert sorted(archive.namelist()) == sorted(files)


def test_sdist_has_what_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "LICENSE", "README.md", "PKG-INFO", "rust/Cargo.lock", "rust/py/src/lib.rs"}
    wanted |= {f"cython_ext/{name}" for name in ("build_backend.py", "_native.pyx", "dataflare_udf.h")}
    assert wanted <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".c"))]


def test_import_without_a_compiled_module_says_how_to_build(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    whole = subprocess.run(
        [sys.executable, "-c", "import dataflare_fast; print(dataflare_fast.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert whole.stdout.startswith(str(tmp_path))
    (tmp_path / "dataflare_fast" / "_native.abi3.so").unlink()
    broken = subprocess.run(
        [sys.executable, "-c", "import dataflare_fast"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert broken.returncode == 1
    assert "expected the compiled modules _core and _native" in broken.stderr
    assert "Build both with `pip install .`" in broken.stderr
