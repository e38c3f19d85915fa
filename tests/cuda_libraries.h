/* cuda_libraries.h — what tests of cuBLASLt and cuFFT share, on the stand-ins and on a GPU: whether the
 * library is there, another in its place, and whether it has refused its part.
 */
#ifndef FRAX_TESTS_CUDA_LIBRARIES_H
#define FRAX_TESTS_CUDA_LIBRARIES_H

#include "cuda_device.h"
#include "executable.h"
#include "cuda_fakes.h"
#include <stdio.h>
#include <unistd.h>

/* At the start of a case that compares what a library computes: there may be none beside a GPU. */
static inline void needs_library(const char *(*version)(char text[32], FraxError *err)) {
    char text[32];
    FraxError err;
    if (!on_gpu() || version(text, &err)) return;
    print_message("not on this GPU: %s\n", err.message);
    skip();
}

/* The file that a variable names for a library is another one, or looked for (NULL); gives back what
   restore_library takes. */
static inline char *replace_library(const char *variable, const char *file) {
    const char *own = getenv(variable);
    char *kept = own ? strdup(own) : NULL;
    if (file)
        setenv(variable, file, 1);
    else
        unsetenv(variable);
    return kept;
}

static inline void restore_library(const char *variable, char *kept) {
    if (kept)
        setenv(variable, kept, 1);
    else
        unsetenv(variable);
    free(kept);
}

/* Of programs with a leak checker: NVIDIA's libraries leave memory behind where they find no GPU. */
static inline void expect_leaks(bool expected) {
    if (expected)
        setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
    else
        unsetenv("LSAN_OPTIONS");
}

/* Numbers that cuda_abi.h gives are those of a header of the toolkit, by a file of assertions; skipped where
   there is no toolkit. */
static inline void expect_abi(const char *header, const char *assertions) {
    static const char *const homes[] = {"CUDA_HOME", "CUDA_PATH", NULL};
    for (int i = 0; i < 3; i++) {
        char path[512], command[1024];
        const char *home = homes[i] ? getenv(homes[i]) : "/usr/local/cuda", *cc = getenv("CC");
        if (!home) continue;
        snprintf(path, sizeof path, "%s/include/%s", home, header);
        if (access(path, R_OK)) continue;
        snprintf(command, sizeof command,
                 "%s -std=c11 -Wall -Werror -fsyntax-only -isystem '%s/include' -Iruntime/cuda %s", cc ? cc : "cc",
                 home, assertions);
        assert_int_equal(system(command), 0);
        return;
    }
    print_message("skipped: there is no %s in $CUDA_HOME or /usr/local/cuda\n", header);
    skip();
}

/* ---- What libraries refuse ---- */

typedef struct Said {
    char text[1024];
} Said;

static inline void note_log(void *context, const char *message) {
    Said *said = context;
    size_t n = strlen(said->text);
    snprintf(said->text + n, sizeof said->text - n, "%s\n", message);
}

/* On the CUDA target; *said gets what is logged. */
static inline Executable *make_watched(const Graph *g, Said *said, const char *name) {
    FraxError err = {0};
    Executable *exe;
    ExecutableOptions options = {.target = FRAX_CUDA, .threads = 1, .no_cache = true};
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    if (!copy) fail_msg("%s: %s", name, err.message);
    *said = (Said){""};
    options.watch.log = note_log;
    options.watch.context = said;
    if (executable_create(copy, &options, &exe, &err)) fail_msg("%s: %s", name, err.message);
    return exe;
}

/* A library may refuse its part, which is then frax's own; a GPU's is not counted, so it is said. */
static inline bool is_refused(const Said *said) {
    bool refused = strstr(said->text, "is compiled without it") != NULL;
    if (on_gpu() && refused) print_message("%s", said->text);
    return refused;
}

#endif
