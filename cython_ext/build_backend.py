"""Build backend: compiles `_native` with Cython, then lets maturin add `_core` and pack one wheel.

Not here: what goes into the wheel and the sdist (`[tool.maturin]` in pyproject.toml). Called by pip and
`build`, never by hand: `maturin build` and `maturin develop` do not know this file and leave `_native` out.
"""

import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maturin
from maturin import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel

Settings = Mapping[str, Any] | None

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parent / "python"
LIMITED_API = "0x030B0000"  # CPython 3.11, as `abi3-py311` in rust/py/Cargo.toml


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    build_native()
    name: str = maturin.build_wheel(directory, settings, metadata)
    return name


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    build_native()
    name: str = maturin.build_editable(directory, settings, metadata)
    return name


def build_native() -> None:
    """Compiles `_native.pyx` into the package, after it deleted what an earlier build left there."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    for pattern in ("_native*.so", "_native*.pyd"):
        for stale in (PACKAGES / "dataflare_fast").glob(pattern):
            stale.unlink()
    limited = not sysconfig.get_config_var("Py_GIL_DISABLED") or sys.version_info >= (3, 15)
    extension = Extension(
        "dataflare_fast._native",
        [str(HERE / "_native.pyx")],
        include_dirs=[str(HERE)],
        define_macros=[("Py_LIMITED_API", LIMITED_API)] if limited else [],
        extra_compile_args=[] if sys.platform == "win32" else ["-g0"],
        py_limited_api=limited,
    )
    with tempfile.TemporaryDirectory() as scratch:
        modules = cythonize([extension], build_dir=scratch, language_level=3, quiet=True)
        distribution = Distribution({"name": "dataflare_fast", "ext_modules": modules})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(PACKAGES), scratch
        command.ensure_finalized()
        command.run()
