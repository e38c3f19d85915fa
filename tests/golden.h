/* golden.h — golden tests: one text file a case.
 *
 *     What the case shows, in a line or more.
 *     ==== COMMAND
 *     input
 *     ====
 *     expected result
 *
 * A test gives golden_folder() a function that turns COMMAND and input into a result; the files of the folder
 * run in order of their names. With FRAX_UPDATE=1 in the environment, or --update as the program's argument,
 * the expected results are rewritten instead of compared: read the difference before committing it.
 */
#ifndef FRAX_TESTS_GOLDEN_H
#define FRAX_TESTS_GOLDEN_H

#include "base.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Appends the result of a case to *out: what stands in its file below the second rule. */
typedef void GoldenRun(const char *command, const char *input, Text *out);

typedef struct GoldenCase {
    char *head, *command, *input, *expected; /* owned */
} GoldenCase;

static inline void golden_arguments(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--update")) setenv("FRAX_UPDATE", "1", 1);
}

static inline bool golden_updates(void) {
    const char *update = getenv("FRAX_UPDATE");
    return update && *update && strcmp(update, "0") != 0;
}

static inline char *golden_read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot read %s", path);
    Text text = {0};
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) text_append(&text, buffer, n);
    fclose(file);
    assert_false(text.failed);
    return text.data ? text.data : mem_strdup("");
}

static inline char *golden_part(const char *from, const char *to) {
    char *part = calloc(1, (size_t)(to - from) + 1);
    assert_non_null(part);
    memcpy(part, from, (size_t)(to - from));
    return part;
}

static inline GoldenCase golden_load(const char *path) {
    char *text = golden_read_file(path);
    char *command = strstr(text, "\n==== "), *end = command ? strchr(command + 1, '\n') : NULL;
    char *rule = end ? strstr(end, "\n====\n") : NULL;
    if (!rule) fail_msg("%s: expected a line '==== COMMAND' and a line '===='", path);
    GoldenCase c = {golden_part(text, command + 1), golden_part(command + 6, end),
                    golden_part(end + 1, rule + 1), golden_part(rule + 6, text + strlen(text))};
    mem_free(text);
    return c;
}

static inline void golden_free(GoldenCase *c) {
    free(c->head);
    free(c->command);
    free(c->input);
    free(c->expected);
}

static inline void golden_rewrite(const char *path, const GoldenCase *c, const char *result) {
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    fprintf(file, "%s==== %s\n%s====\n%s", c->head, c->command, c->input, result);
    assert_int_equal(fclose(file), 0);
}

/* True if the case holds (or has been rewritten). */
static inline bool golden_check(const char *path, GoldenRun *run) {
    GoldenCase c = golden_load(path);
    Text out = {0};
    run(c.command, c.input, &out);
    assert_false(out.failed);
    const char *result = out.data ? out.data : "";
    bool same = !strcmp(result, c.expected);
    if (!same && golden_updates()) {
        golden_rewrite(path, &c, result);
        same = true;
    }
    if (!same) print_error("%s: expected\n%sgot\n%s", path, c.expected, result);
    text_free(&out);
    golden_free(&c);
    return same;
}

static inline int golden_is_case(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return n > 4 && !strcmp(entry->d_name + n - 4, ".txt");
}

/* Runs all NAME.txt of the folder, which must hold some. */
static inline void golden_folder(const char *folder, GoldenRun *run) {
    struct dirent **entries;
    int n = scandir(folder, &entries, golden_is_case, alphasort), failures = 0;
    if (n < 1) fail_msg("no cases in %s", folder);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        failures += !golden_check(path, run);
        free(entries[i]);
    }
    free(entries);
    if (failures) fail_msg("%d of %d cases differ", failures, n);
}

#endif
