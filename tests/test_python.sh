#!/usr/bin/env bash
# The Python front end: its tests against the built library, with the frameworks that this Python has; and its installation
# by pip where that can be done without a network. FRAX_PYTHON names another Python.
set -euo pipefail
library=${FRAX_LIBRARY:?the built libfrax.so}
skip() { echo "skipped: $*"; exit 77; }

if [ "$(nm -D "$library" | grep -cE ' (__asan_init|__tsan_init)$')" -gt 0 ]; then
    skip "the library is built for a sanitizer, which Python would have to load first"
fi
for candidate in ${FRAX_PYTHON:-python3 /usr/bin/python3}; do
    if "$candidate" -c 'import numpy' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "${python:-}" ] || skip "no Python with NumPy (./dev installs python3-numpy on Debian and Ubuntu; FRAX_PYTHON names one)"

export PYTHONDONTWRITEBYTECODE=1
PYTHONPATH=frontend/python "$python" -m unittest discover -s frontend/python/tests -v

# Installed, with the library inside, the package needs nothing of the tree.
if ! "$python" -c '
import setuptools, pip
version = int(setuptools.__version__.split(".")[0])
assert version >= 61
if version < 71: import wheel' 2>/dev/null; then
    echo "the installation is not tested: this Python lacks pip, setuptools of version 61 or newer, or wheel"
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r frontend/python "$scratch/source"
"$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --no-index \
    --target "$scratch/site" "$scratch/source"
cd "$scratch"
env -u FRAX_LIBRARY PYTHONPATH="$scratch/site" "$python" - <<'PYTHON'
import frax
import os

assert os.path.dirname(frax.library_path) == os.path.dirname(frax.__file__), frax.library_path
assert frax.parse("model m(x: f64[]) {\n y = x + 1\n return y\n}\n")(1) == 2
PYTHON
echo "installed by pip: $("$python" --version)"
