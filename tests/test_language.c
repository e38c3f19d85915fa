/* test_language.c — the language as users meet it: graphs, signatures and messages as golden files
 * (tests/golden/language), binding of sizes, and lack of memory at every allocation.
 *
 * Commands of the cases:
 *     check [MODEL]           the signature, or the message
 *     lower SIZE=N … [MODEL]  the graph, or the message
 *     texts                   texts between lines of ----, each checked on its own
 *     expressions DECLS       one expression for each line, each the result of a model with these inputs
 */
#include "golden.h"
#include "model.h"
#include <stdlib.h>

/* ---- Golden cases ---- */

static void indent(Text *out, const char *text) {
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        text_printf(out, "    %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static void check_text(const char *text, const char *name, Text *out) {
    FraxModel *model = NULL;
    FraxError err;
    if (model_parse(text, strlen(text), "test.frax", name, &model, &err) || model_check(model, out, &err))
        text_printf(out, "%s: %s\n", frax_status_string(err.status), err.message);
    model_destroy(model);
}

static void run_expressions(const char *declarations, const char *input, Text *out) {
    for (const char *line = input; *line;) {
        size_t n = strcspn(line, "\n");
        Text model = {0}, result = {0};
        text_printf(&model, "model m(%s) {\n%.*s\nreturn y\n}\n", declarations, (int)n, line);
        check_text(model.data, NULL, &result);
        const char *type = strstr(result.data, "return y: ");
        text_printf(out, "%.*s\n", (int)n, line);
        indent(out, type ? type + 10 : result.data);
        text_free(&model);
        text_free(&result);
        line += n + (line[n] == '\n');
    }
}

static void run_texts(const char *input, Text *out) {
    for (const char *rest = input; rest;) {
        const char *end = strstr(rest, "----\n");
        char *text = end ? golden_part(rest, end) : golden_part(rest, rest + strlen(rest));
        if (rest != input) text_printf(out, "----\n");
        check_text(text, NULL, out);
        free(text);
        rest = end ? end + 5 : NULL;
    }
}

static void run_lower(const char *command, const char *input, Text *out) {
    char words[256], *rest = NULL, *name = NULL;
    FraxSize sizes[16];
    int64_t values[16];
    size_t nsizes = 0;
    FraxModel *model = NULL;
    Graph *g = NULL;
    FraxError err;
    snprintf(words, sizeof words, "%s", command);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        if (equals) *equals = '\0';
        if (equals)
            sizes[nsizes++] = (FraxSize){word, strtoll(equals + 1, NULL, 10)};
        else
            name = word;
    }
    if (model_parse(input, strlen(input), "test.frax", name, &model, &err) ||
        model_bind(model, NULL, sizes, nsizes, values, &err) || model_lower(model, values, &g, &err))
        text_printf(out, "%s: %s\n", frax_status_string(err.status), err.message);
    else if (graph_verify(g, &err))
        fail_msg("%s", err.message);
    else
        graph_print(g, out);
    graph_destroy(g);
    model_destroy(model);
}

static void run_case(const char *command, const char *input, Text *out) {
    if (!strcmp(command, "texts"))
        run_texts(input, out);
    else if (!strncmp(command, "expressions ", 12))
        run_expressions(command + 12, input, out);
    else if (!strncmp(command, "lower", 5))
        run_lower(command + 5, input, out);
    else if (!strncmp(command, "check", 5))
        check_text(input, command[5] ? command + 6 : NULL, out);
    else
        fail_msg("unknown command %s", command);
}

static void test_golden_cases(void **state) {
    (void)state;
    golden_folder("tests/golden/language", run_case);
}

int main(int argc, char **argv) {
    golden_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
