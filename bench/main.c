/* main.c — the benchmark program: its options, and its parts one after the other.
 *
 *     frax_bench [--quick] [--only TEXT] [--json FILE] [--plot FILE.svg] [--sweep FILE.svg]
 *
 * A missed bar is told, and is no failure. Different results are.
 */
#include "bench.h"
#include <string.h>
#include <unistd.h>

bool wanted(const Suite *s, const char *name) {
    return !s->settings.only || strstr(name, s->settings.only);
}

FraxStatus add_row(Suite *s, const Row *row) {
    if (!mem_grow(&s->rows, &s->cap, s->nrows + 1, sizeof *s->rows)) return fail_memory(&s->err, row->name);
    s->rows[s->nrows] = *row;
    print_row(row, s->nrows ? &s->rows[s->nrows - 1] : NULL);
    s->nrows++;
    return FRAX_OK;
}

static int usage(void) {
    fprintf(stderr,
            "usage: frax_bench [--quick] [--only TEXT] [--json FILE] [--plot FILE.svg] [--sweep FILE.svg]\n");
    return 2;
}

typedef struct Files {
    const char *json, *plot, *sweep;
} Files;

static FraxStatus run_all(Suite *s, const Files *files) {
    FraxStatus status = run_spectral(s);
    if (!status) status = run_suite(s);
    if (!status) status = run_object(s);
    if (!status) status = run_compiling(s);
    if (!status && files->json) status = write_json(files->json, s, &s->err);
    if (!status && files->plot) status = write_ratios(files->plot, s, &s->err);
    if (!status && files->sweep) status = write_sweep(files->sweep, s, &s->err);
    return status;
}

static bool take_option(Suite *s, Files *files, const char *option, const char *value) {
    if (!strcmp(option, "--only"))
        s->settings.only = value;
    else if (!strcmp(option, "--json"))
        files->json = value;
    else if (!strcmp(option, "--plot"))
        files->plot = value;
    else if (!strcmp(option, "--sweep"))
        files->sweep = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    static Suite s;
    static char program[4096];
    Files files = {0};
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        snprintf(program, sizeof program, "%s", argv[0]);
    s.settings.program = program;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--quick"))
            s.settings.quick = true;
        else if (more && !strncmp(argv[i], "--compile-c", 11)) /* the program calls itself */
            return compile_one(argv[i + 1], !strcmp(argv[i], "--compile-cached"));
        else if (!more || !take_option(&s, &files, argv[i], argv[i + 1]))
            return usage();
        else
            i++;
    }
    print_machine();
    FraxStatus status = run_all(&s, &files);
    if (status)
        fprintf(stderr, "frax_bench: %s\n", s.err.message);
    else
        print_summary(s.rows, s.nrows);
    mem_free(s.rows);
    return status ? 1 : 0;
}
