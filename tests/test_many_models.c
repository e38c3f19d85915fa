/* test_many_models.c — a process that compiles, runs and destroys models for ever does not grow: the memory
 * of the process after thousands of them is that after the first hundreds, with and without the kernel cache.
 */
#include "base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const char *const texts[] = {
    "model m(x: f64[N]) {\n param a: f64 = 0.5\n y = a * x + exp(x)\n loss = sum(y^2)\n return loss\n}\n",
    "model m(x: f32[N]) {\n param d: f32 = 0.4\n y = frac(x, d, kind=grunwald)\n loss = mean(y^2)\n return "
    "loss\n}\n",
    "model m(x: f64[N]) {\n param d: f64 = 0.4\n y = frac(x, d, kind=weyl)\n loss = mean(y * x)\n return "
    "loss\n}\n",
};

static void use_one(int i, int cached) {
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    FraxOptions options = frax_default_options();
    FraxSize size = {"N", 8 + i / 3 % 8 * 4};
    double x[64] = {1, 2, 3}, p = 0.25, loss, slope;
    options.sizes = &size;
    options.nsizes = 1;
    options.threads = 1;
    options.no_cache = !cached;
    options.mode = i % 2 ? FRAX_REVERSE : FRAX_FORWARD;
    if (frax_model_parse(texts[i % 3], "m.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
    if (frax_run(exe, (const void *[]){x}, (const void *[]){&p}, (void *[]){&loss, &slope}, &err))
        fail_msg("%s", err.message);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* Resident memory in KiB; 0 where the system does not tell. */
static long resident(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0, pages = 0;
    if (file && fscanf(file, "%ld %ld", &size, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 100 bytes for each of 10,000 models would be 1000 KiB; half of that is the heap's own. */
static void does_not_grow(int first, int count, int cached) {
    for (int i = 0; i < first; i++) use_one(i, cached);
    long before = resident();
    for (int i = 0; i < count; i++) use_one(i, cached);
    long grown = resident() - before;
    print_message("%d models%s: %ld KiB more than %ld\n", count, cached ? " from the cache" : "", grown,
                  before);
    if (before && !SANITIZED) assert_true(grown <= 512);
}

static void test_from_the_cache(void **state) {
    (void)state;
    does_not_grow(SANITIZED ? 50 : 1000, SANITIZED ? 50 : 10000, 1);
}

static void test_compiled(void **state) {
    (void)state;
    bool all = getenv("FRAX_LONG");
    does_not_grow(SANITIZED ? 20 : 100, SANITIZED ? 20 : all ? 10000 : 200, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_from_the_cache),
                                       cmocka_unit_test(test_compiled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
