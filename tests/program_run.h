/* program_run.h — running the program frax as scripts see it: exit status, standard output, messages, files
 * in a folder of the test's own.
 *
 * Each run goes through the shell with its output in files of the folder. After a failure standard output
 * must be empty and standard error must say what is wrong.
 */
#ifndef FRAX_TESTS_PROGRAM_RUN_H
#define FRAX_TESTS_PROGRAM_RUN_H

#include "files.h"
#include <cjson/cJSON.h>
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[PATH_MAX], *out, *messages;

static inline char *read_all(const char *name) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 22);
    assert_non_null(text);
    size_t n = fread(text, 1, (1 << 22) - 1, file);
    text[n] = 0;
    fclose(file);
    return text;
}

/* Runs `frax ARGUMENTS`, where @ stands for the folder; fills out and messages; returns the exit status. */
static inline int frax(const char *arguments) {
    char command[3 * PATH_MAX], *to = command;
    const char *program = getenv("FRAX_PROGRAM");
    assert_non_null(program);
    to += sprintf(to, "'%s' ", program);
    for (; *arguments; arguments++) {
        if (*arguments == '@')
            to += sprintf(to, "%s", folder);
        else
            *to++ = *arguments;
        assert_true(to < command + 2 * PATH_MAX);
    }
    sprintf(to, " >%s/stdout 2>%s/stderr", folder, folder);
    int status = system(command);
    free(out);
    free(messages);
    out = read_all("stdout");
    messages = read_all("stderr");
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline void succeeds(const char *arguments) {
    int status = frax(arguments);
    if (status) print_message("frax %s\n%s", arguments, messages);
    assert_int_equal(status, 0);
    assert_string_equal(messages, "");
}

static inline void fails(const char *arguments, int expected, const char *says) {
    int status = frax(arguments);
    if (status != expected || !strstr(messages, says))
        print_message("frax %s\n%d: %s", arguments, status, messages);
    assert_int_equal(status, expected);
    assert_non_null(strstr(messages, says));
    assert_string_equal(out, "");
}

static inline void says(const char *text) {
    if (!strstr(out, text)) print_message("%s", out);
    assert_non_null(strstr(out, text));
}

static inline cJSON *json(const char *arguments) {
    succeeds(arguments);
    const char *end;
    cJSON *tree = cJSON_ParseWithOpts(out, &end, 0);
    assert_non_null(tree);
    assert_string_equal(end, "\n"); /* one object and nothing else */
    return tree;
}

static inline const cJSON *at(const cJSON *tree, const char *first, const char *second, const char *third) {
    const char *keys[] = {first, second, third};
    for (int i = 0; i < 3 && keys[i]; i++) {
        tree = cJSON_GetObjectItemCaseSensitive(tree, keys[i]);
        assert_non_null(tree);
    }
    return tree;
}

static inline double first_value(const cJSON *tree, const char *group, const char *name) {
    return cJSON_GetNumberValue(cJSON_GetArrayItem(at(tree, group, name, "data"), 0));
}

static inline size_t count_files(void) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static inline const char *in_folder(const char *name) {
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void write_model(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    fputs(text, file);
    fclose(file);
}

static inline int make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/frax-cli-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void) {
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    free(out);
    free(messages);
    return system(command);
}

#endif
