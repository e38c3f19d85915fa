/* start.c — a program of its own for compile.c: opens libfrax, compiles a small model with its gradient and
 * calls it once; prints the seconds that took.
 *
 *     frax_start LIBFRAX.so
 */
#include "frax.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char text[] = "model memory(x: f64[T]) {\n"
                           "    param d: f64 = 0.3\n"
                           "    loss = mean(frac(x, d, kind=grunwald)^2)\n"
                           "    return loss\n"
                           "}\n";

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int find(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

int main(int argc, char **argv) {
    FraxOptions (*defaults)(void);
    FraxStatus (*parse)(const char *, const char *, const char *, FraxModel **, FraxError *);
    FraxStatus (*compile)(const FraxModel *, const FraxOptions *, FraxExecutable **, FraxError *);
    FraxStatus (*run)(const FraxExecutable *, const void *const *, const void *const *, void *const *,
                      FraxError *);
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    double x[64] = {1}, d = 0.3, loss, slope, start = seconds();
    void *library = argc == 2 ? dlopen(argv[1], RTLD_LAZY) : NULL;
    if (!library) return fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: frax_start LIBFRAX.so"), 1;
    if (!find(library, "frax_default_options", &defaults) || !find(library, "frax_model_parse", &parse) ||
        !find(library, "frax_compile", &compile) || !find(library, "frax_run", &run))
        return fprintf(stderr, "%s\n", dlerror()), 1;
    FraxOptions options = defaults();
    options.mode = FRAX_REVERSE;
    options.sizes = (FraxSize[]){{"T", 64}};
    options.nsizes = 1;
    if (parse(text, "memory.frax", NULL, &model, &err) || compile(model, &options, &exe, &err) ||
        run(exe, (const void *[]){x}, (const void *[]){&d}, (void *[]){&loss, &slope}, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    printf("%.9g\n", seconds() - start);
    return 0;
}
