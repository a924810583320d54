"""Builds the one extension module, slide.engine._c, from slide/engine/_c.pyx and csrc/.

All else is said in pyproject.toml.

The extension is wanted but not required: where it cannot be compiled the package still installs, says so, and runs on
its Numba back end. A compiler without OpenMP gives a single-threaded extension. What decides, from the environment:

    SLIDE_NO_EXT=1        leave the extension out on purpose
    SLIDE_REQUIRE_EXT=1   an extension that cannot be compiled is an error (CI, wheels, the Makefile)
    CC, CFLAGS, LDFLAGS   the compiler and more flags, as everywhere

Every flag below is safe for the process that loads the result: instruction sets are chosen per function inside csrc/
and at run time, never here, and floating-point semantics that leak into other code stay as they are.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError, ExecError, LinkError, PlatformError

COMPILER_ERRORS = (CCompilerError, CompileError, ExecError, LinkError, PlatformError)

FLAGS = ["-O3", "-std=gnu11", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]

#: (compile flags, link flags) in the order in which they are tried; the second is for Apple's clang with libomp.
OPENMP = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]

PLAIN_PROBE = """\
#include <stdint.h>
int64_t probe(void);
int64_t probe(void) { return 1; }
"""

OPENMP_PROBE = """\
#include <omp.h>
int probe(void);
int probe(void)
{
    int n = 0;
#pragma omp parallel reduction(+ : n)
    n += omp_get_num_threads();
    return n;
}
"""

NO_EXTENSION = """\
slide was installed WITHOUT its C engine: {reason}

It works, on the Numba back end, and several times slower. For the C engine install a C compiler (GCC 9 or Clang 10
and later) and install again:  pip install --force-reinstall --no-cache-dir slide-xmc
"""

NO_OPENMP = """\
slide's C engine was built WITHOUT OpenMP: it will use ONE thread.

This compiler does not build OpenMP programs. GCC does as it comes; Clang needs the libomp package beside it.
"""


def asked_for(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


def warn(message: str) -> None:
    """A framed message on standard error (pip shows it with -v; at run time slide.show_config() tells the same)."""
    frame = "*" * 100
    print(f"\n{frame}\n{message}{frame}\n", file=sys.stderr, flush=True)


def choose_compiler() -> None:
    """Takes any C compiler there is where the one that Python itself was built with is not installed here."""
    usual = (sysconfig.get_config_var("CC") or "cc").split()[0]
    found = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
    if os.name == "posix" and "CC" not in os.environ and not shutil.which(usual) and found:
        os.environ["CC"] = found[0]


def is_fresh(obj: Path) -> bool:
    """Whether an object is younger than its source and every header that went into it, by the compiler's own list."""
    listed = obj.with_suffix(".d")
    if not obj.exists() or not listed.exists():
        return False
    inputs = shlex.split(listed.read_text().replace("\\\n", " ").partition(":")[2])
    return all(Path(p).exists() and Path(p).stat().st_mtime <= obj.stat().st_mtime for p in inputs)


class BuildEngine(build_ext):
    """build_ext that finds out what the compiler can do, and turns a failure into a warning unless told otherwise.

    Compiles only the sources whose object is older than they are or than a header of theirs, as many at once as there
    are processors; --force compiles all.
    """

    def initialize_options(self) -> None:
        super().initialize_options()
        self.cython_c_in_temp = True  # generated C stays out of slide/

    def run(self) -> None:
        choose_compiler()
        in_tree = self.inplace or self.editable_mode  # asked now: a run that fails forgets the first
        try:
            super().run()
        except COMPILER_ERRORS as error:
            if asked_for("SLIDE_REQUIRE_EXT"):
                raise
            if in_tree:
                self._remove_older()
            self.extensions = []
            warn(NO_EXTENSION.format(reason=error))

    def build_extensions(self) -> None:
        if not self._builds(PLAIN_PROBE):
            raise PlatformError(f"no working C compiler (tried: {' '.join(self.compiler.compiler_so[:1])})")
        compile_flags, link_flags = self._openmp_flags()
        for ext in self.extensions:
            ext.extra_compile_args += FLAGS + compile_flags
            ext.extra_link_args += link_flags
        compile_all = self.compiler.compile

        def compile_stale(sources: list[str], output_dir: str, **how: Any) -> list[str]:
            how["extra_postargs"] = [*how["extra_postargs"], "-MMD"]  # the headers of x.c go to x.d beside its object
            said = hashlib.sha256(repr((self.compiler.compiler_so, sorted(how.items()))).encode()).hexdigest()
            flags = Path(output_dir, "flags")
            objects = self.compiler.object_filenames(sources, output_dir=output_dir)
            if self.force or not flags.exists() or flags.read_text() != said:
                for name in objects:
                    Path(name).unlink(missing_ok=True)
                flags.parent.mkdir(parents=True, exist_ok=True)
                flags.write_text(said)
            stale = [s for s, o in zip(sources, objects, strict=True) if not is_fresh(Path(o))]
            stale.sort(key=lambda source: -Path(source).stat().st_size)  # the longest first, so that none is left alone
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for a compiler
                for _ in pool.map(lambda source: compile_all([source], output_dir=output_dir, **how), stale):
                    pass
            return objects

        self.compiler.compile = compile_stale
        super().build_extensions()

    def _openmp_flags(self) -> tuple[list[str], list[str]]:
        for compile_flags, link_flags in OPENMP:
            if self._builds(OPENMP_PROBE, compile_flags, link_flags):
                return compile_flags, link_flags
        warn(NO_OPENMP)
        return [], []

    def _builds(self, source: str, compile_flags: list[str] | None = None, link_flags: list[str] | None = None) -> bool:
        """Whether the compiler makes a library of this source; its complaints appear in the build's output."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.c")
            path.write_text(source)
            try:
                objects = self.compiler.compile([str(path)], output_dir=folder, extra_postargs=compile_flags)
                self.compiler.link_shared_object(objects, str(path.with_suffix(".so")), extra_postargs=link_flags)
            except COMPILER_ERRORS:
                return False
        return True

    def _remove_older(self) -> None:
        """Removes what an earlier build left in slide/: it would be imported, and belongs to other sources."""
        for ext in self.extensions:
            Path(self.get_ext_filename(ext.name)).unlink(missing_ok=True)


engine = Extension(
    "slide.engine._c",
    sources=["slide/engine/_c.pyx", *sorted(map(str, Path("csrc").rglob("*.c")))],
    depends=["setup.py", *sorted(map(str, [*Path("csrc").rglob("*.h"), *Path("slide/engine").glob("*.pxi")]))],
    include_dirs=["csrc"],
    libraries=[] if sys.platform == "win32" else ["m"],
)

if asked_for("SLIDE_NO_EXT"):
    warn(NO_EXTENSION.format(reason="SLIDE_NO_EXT is set"))
    setup()
else:
    setup(ext_modules=[engine], cmdclass={"build_ext": BuildEngine})
