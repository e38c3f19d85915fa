"""Everything is in pyproject.toml but for libfrax, which goes into the package where it has been built: FRAX_LIBRARY, or
build/libfrax.so of the checkout. Without one the package looks for libfrax when it is imported."""
import os
import shutil

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

here = os.path.dirname(os.path.abspath(__file__))
library = os.environ.get("FRAX_LIBRARY") or os.path.join(here, "..", "..", "build", "libfrax.so")


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        if os.path.exists(library) and not getattr(self, "editable_mode", False):
            shutil.copy(os.path.realpath(library), os.path.join(self.build_lib, "frax", "libfrax.so"))


class ForThisMachine(Distribution):
    def has_ext_modules(self):
        return os.path.exists(library)


setup(cmdclass={"build_py": BuildWithLibrary}, distclass=ForThisMachine)
