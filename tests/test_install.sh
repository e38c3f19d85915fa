#!/usr/bin/env bash
# What cmake --install puts down is enough for others: a program in C and one in C++ find frax by CMake's package and by
# pkg-config, link the library either way, and run; the manual can be rendered and the completions can be read.
set -euo pipefail
build=$(dirname "${FRAX_LIBRARY:?the built library}")
[ -f "$build/docs/frax.1" ] || { echo "a build with sanitizers or for another machine has no manual"; exit 77; }
command -v cmake >/dev/null || exit 77
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C
root=$scratch/root

quietly() {
    "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log"; echo "failed: $*"; exit 1; }
}
quietly cmake --install "$build" --prefix "$root"
library=$(dirname "$(find "$root" -name libfrax.a)")

# The archive keeps as much to itself as the shared library.
nm --defined-only --extern-only "$library/libfrax.a" | awk 'NF == 3 { print $3 }' | sort >"$scratch/archive"
nm -D --defined-only "$library/libfrax.so" | awk '{ print $3 }' | sort >"$scratch/shared"
diff "$scratch/shared" "$scratch/archive" || { echo "libfrax.a and libfrax.so export different names"; exit 1; }

# The version stands in the name that programs ask for.
version=$(sed -n 's/^#define FRAX_VERSION *"\(.*\)"/\1/p' include/frax.h)
[ -f "$library/libfrax.so.$version" ] || { echo "there is no libfrax.so.$version"; exit 1; }
soname=$(readelf -d "$library/libfrax.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
case libfrax.so.$version in "$soname".*) ;; *) echo "the soname is $soname for $version"; exit 1 ;; esac

mkdir "$scratch/user"
cp frontend/examples/embed.c "$scratch/user/user.c"
cat >"$scratch/user/user.cpp" <<'CPP'
#include <cstdio>
#include <frax.h>
#include <vector>

int main() {
    FraxModel *model = nullptr;
    FraxExecutable *exe = nullptr;
    FraxError err = {};
    const FraxSize size = {"N", 3};
    FraxOptions options = frax_default_options();
    options.sizes = &size;
    options.nsizes = 1;
    const std::vector<double> x = {1, 2, 3};
    std::vector<double> y(3);
    const void *inputs[] = {x.data()};
    void *outputs[] = {y.data()};
    if (frax_model_parse("model twice(x: f64[N]) {\n y = 2 * x\n return y\n}\n", nullptr, nullptr, &model, &err) ||
        frax_compile(model, &options, &exe, &err) || frax_run(exe, inputs, nullptr, outputs, &err)) {
        std::fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return y[0] == 2 && y[1] == 4 && y[2] == 6 ? 0 : 1;
}
CPP
cat >"$scratch/user/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C)
find_package(frax REQUIRED)
include(CheckLanguage)
check_language(CXX)
set(sources user.c)
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
  set(CMAKE_CXX_STANDARD 17)
  list(APPEND sources user.cpp)
endif()
foreach(library frax frax_static)
  foreach(source ${sources})
    string(REPLACE . _ name ${library}_${source})
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE frax::${library})
  endforeach()
endforeach()
CMAKE
quietly cmake -S "$scratch/user" -B "$scratch/cmake" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_BUILD_TYPE=Release
quietly cmake --build "$scratch/cmake"
for program in "$scratch"/cmake/frax_*user_*; do quietly "$program"; done

# pkg-config, with the installation moved to another place.
mv "$root" "$scratch/moved"
root=$scratch/moved library=${library/$root/$scratch/moved}
library=$(dirname "$(find "$root" -name libfrax.a)")
export PKG_CONFIG_PATH=$library/pkgconfig
[ "$(pkg-config --modversion frax)" = "$version" ]
flags() { pkg-config --cflags --libs "$@" frax; }
# shellcheck disable=SC2046 # lists of words
{
    quietly cc "$scratch/user/user.c" $(flags) -Wl,-rpath,"$library" -o "$scratch/shared_c"
    quietly cc "$scratch/user/user.c" $(pkg-config --cflags frax) "$library/libfrax.a" \
        $(pkg-config --libs --static frax | sed 's/ *-lfrax\b//') -o "$scratch/static_c"
    ! command -v c++ >/dev/null ||
        quietly c++ -std=c++17 "$scratch/user/user.cpp" $(flags) -Wl,-rpath,"$library" -o "$scratch/shared_cpp"
}
for program in "$scratch"/{shared,static}_c*; do quietly "$program"; done
if [ "$(readelf -d "$scratch/static_c" | grep -c libfrax)" -gt 0 ]; then echo "the static program needs libfrax.so"; exit 1; fi

# The manual has a page for each verb, which renders without a warning.
for verb in "" $("$root/bin/frax" --help | sed -n 's/^  frax \([a-z]*\) .*/-\1/p'); do
    page=$root/share/man/man1/frax$verb.1
    [ -f "$page" ] || { echo "there is no page frax$verb(1)"; exit 1; }
    if command -v groff >/dev/null; then
        groff -man -ww -z "$page" 2>"$scratch/log"
        [ ! -s "$scratch/log" ] || { cat "$scratch/log"; exit 1; }
    fi
    if command -v mandoc >/dev/null; then quietly mandoc -T lint -W error "$page"; fi
done

share=$root/share
quietly bash -n "$share/bash-completion/completions/frax"
if command -v zsh >/dev/null; then quietly zsh -n "$share/zsh/site-functions/_frax"; fi
if command -v fish >/dev/null; then quietly fish -n "$share/fish/vendor_completions.d/frax.fish"; fi
complete_bash() {
    bash -c '. "$1"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _frax; echo "${COMPREPLY[@]}"' - \
        "$share/bash-completion/completions/frax" "$@"
}
[ "$(complete_bash frax gr)" = grad ]
[ "$(complete_bash frax fit --opt)" = --optimizer ]
[ "$(complete_bash frax fit --optimizer lb)" = lbfgs ]
