"""Builds cachee._cachee by the project's own CMake; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]


class CMakeBuild(build_ext):
    """Configures the tree with nothing but the library and this module, and builds the module."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve()
        options = [f"-DCACHEE_BUILD_{part}=OFF" for part in ("DAEMON", "TOOLS", "TESTS", "BENCH")]
        options += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        subprocess.run(
            ["cmake", "-G", "Ninja", "-S", SOURCE, "-B", build, "-DCMAKE_BUILD_TYPE=Release",
             f"-DPython3_EXECUTABLE={sys.executable}", *options],
            check=True,
        )
        jobs = str(self.parallel or os.cpu_count() or 1)
        subprocess.run(
            ["cmake", "--build", build, "--target", "_cachee", "--parallel", jobs], check=True
        )
        built = build / "bindings/python/cachee" / target.name
        target.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(built), str(target))


def version() -> str:
    text = (SOURCE / "CMakeLists.txt").read_text()
    found = re.search(r"project\(cachee VERSION ([0-9.]+)", text)
    if found is None:
        raise RuntimeError(f"{SOURCE}/CMakeLists.txt names no version of cachee")
    return found[1]


setup(
    version=version(),
    ext_modules=[Extension("cachee._cachee", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
