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

/* ---- Binding of sizes ---- */

typedef struct BindCase {
    const char *inputs; /* declarations of x, y, z, of which the given shapes fill the first ones */
    int nshapes;
    FraxTensor shapes[3]; /* rank −1: not given */
    FraxSize sizes[3];
    const char *expected; /* "B=2 N=3", or the message */
} BindCase;

#define F64(r, ...)                                                                                          \
    {                                                                                                        \
        .dtype = FRAX_F64, .rank = r, .dims = { __VA_ARGS__ }                                                \
    }

static const BindCase bind_cases[] = {
    {"x: f64[B,N]", 1, {F64(2, 2, 3)}, {{0}}, "B=2 N=3"},
    {"x: f64[B,N]", 1, {F64(2, 0, 3)}, {{0}}, "B=0 N=3"},
    {"x: f64[2*N+1]", 1, {F64(1, 7)}, {{0}}, "N=3"},
    {"x: f64[N/4]", 1, {F64(1, 7)}, {{0}}, "N=28"},
    {"x: f64[-(2-N)*3]", 1, {F64(1, 12)}, {{0}}, "N=6"},
    {"x: f64[B*N], y: f64[B]", 2, {F64(1, 12), F64(1, 3)}, {{0}}, "B=3 N=4"},
    {"x: f64[(B+1)*(N-1)], y: f64[2*N]", 2, {F64(1, 12), F64(1, 8)}, {{0}}, "B=3 N=4"},
    {"x: f64[N], y: f64[M]", 1, {F64(1, 5)}, {{"M", 7}}, "N=5 M=7"},
    {"x: f64[N], y: f64[M]", 2, {{.rank = -1}, F64(1, 5)}, {{"N", 7}}, "N=7 M=5"},
    {"x: f64[N]", 0, {{0}}, {{"N", 0}}, "N=0"},
    {"x: f64[N*N]", 1, {F64(1, 9)}, {{"N", 3}}, "N=3"},
    {"x: f64[N*N]",
     1,
     {F64(1, 9)},
     {{0}},
     "size N of model m is not known: no given input fixes it; give it a value (--size N=…)"},
    {"x: f64[N*N]",
     1,
     {F64(1, 9)},
     {{"N", 4}},
     "input x has size 9 on axis 0, expected N*N = 16; N = 4 as given, N = 4 as given"},
    {"x: f64[N], y: f64[N]",
     2,
     {F64(1, 5), F64(1, 6)},
     {{0}},
     "input y has size 6 on axis 0, expected N = 5; N = 5 from axis 0 of input x"},
    {"x: f64[N], y: f64[N]",
     1,
     {F64(1, 5)},
     {{"N", 6}},
     "input x has size 5 on axis 0, expected N = 6; N = 6 as given"},
    {"x: f64[2*N]", 1, {F64(1, 5)}, {{0}}, "input x has size 5 on axis 0, which cannot be 2*N"},
    {"x: f64[N+8]", 1, {F64(1, 5)}, {{0}}, "input x has size 5 on axis 0, which cannot be N+8"},
    {"x: f64[3]", 1, {F64(1, 5)}, {{0}}, "input x has size 5 on axis 0, expected 3"},
    {"x: f64[N/0]", 1, {F64(1, 5)}, {{0}}, "input x has size 5 on axis 0, which cannot be N/0"},
    {"x: f64[4000000000*N*4000000000]",
     1,
     {F64(1, 5)},
     {{0}},
     "input x has size 5 on axis 0, which cannot be 4000000000*N*4000000000"},
    {"x: f64[N]", 1, {F64(2, 5, 5)}, {{0}}, "input x has rank 2, expected f64[N]"},
    {"x: f64[N]", 1, {{.dtype = FRAX_F32, .rank = 1, .dims = {5}}}, {{0}}, "input x is f32, expected f64[N]"},
    {"x: f64[N]",
     0,
     {{0}},
     {{0}},
     "size N of model m is not known: no given input fixes it; give it a value (--size N=…)"},
    {"x: f64[N]", 0, {{0}}, {{"N", -3}}, "size N is given as -3, expected 0 or more"},
    {"x: f64[N]", 0, {{0}}, {{"N", 3}, {"N", 4}}, "size N is given twice, as 3 and as 4"},
    {"x: f64[Nt]", 0, {{0}}, {{"Nx", 3}}, "model m has no size 'Nx'; did you mean 'Nt'?"},
};

static void bind_text(const FraxModel *model, const BindCase *c, Text *out) {
    const FraxTensor *inputs[3] = {NULL};
    int64_t values[4];
    size_t nsizes = 0;
    FraxError err;
    for (int i = 0; i < c->nshapes; i++) inputs[i] = c->shapes[i].rank < 0 ? NULL : &c->shapes[i];
    while (nsizes < COUNT(c->sizes) && c->sizes[nsizes].name) nsizes++;
    if (model_bind(model, inputs, c->sizes, nsizes, values, &err))
        text_printf(out, "%s", err.message);
    else
        for (size_t i = 0; i < model_size_count(model); i++)
            text_printf(out, "%s%s=%lld", i ? " " : "", model_size_name(model, i), (long long)values[i]);
}

static void test_binding(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < COUNT(bind_cases); i++) {
        char text[160];
        FraxModel *model = NULL;
        FraxError err;
        Text out = {0};
        snprintf(text, sizeof text, "model m(%s) {\nreturn x\n}\n", bind_cases[i].inputs);
        if (model_parse(text, strlen(text), "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
        bind_text(model, &bind_cases[i], &out);
        bool same = out.data && !strcmp(out.data, bind_cases[i].expected);
        if (!same)
            print_error("%s:\n  got      %s\n  expected %s\n", bind_cases[i].inputs, out.data,
                        bind_cases[i].expected);
        wrong += !same;
        text_free(&out);
        model_destroy(model);
    }
    assert_int_equal(wrong, 0);
}

/* ---- What a model declares ---- */

static void test_declarations(void **state) {
    (void)state;
    static const char *const text =
        "model m(x: f64[T,2*N+1], i: i32) {\n param w: f32[N*(T-1)] = 0\n y = x\n return y\n}\n";
    FraxModel *model = NULL;
    assert_int_equal(model_parse(text, strlen(text), "test.frax", NULL, &model, NULL), FRAX_OK);
    assert_string_equal(model_name(model), "m");
    assert_int_equal(model_size_count(model), 2);
    assert_string_equal(model_size_name(model, 1), "N");
    assert_null(model_size_name(model, 2));
    assert_int_equal(model_count(model, FRAX_INPUT), 2);
    assert_string_equal(model_value_name(model, FRAX_INPUT, 1), "i");
    assert_string_equal(model_value_type(model, FRAX_INPUT, 0), "f64[T,2*N+1]");
    assert_string_equal(model_value_type(model, FRAX_PARAM, 0), "f32[N*(T-1)]");
    assert_int_equal(model_value_dtype(model, FRAX_PARAM, 0), FRAX_F32);
    assert_null(model_value_type(model, FRAX_PARAM, 1));
    assert_null(model_value_type(model, FRAX_OUTPUT, 0));
    assert_int_equal(model_check(model, NULL, NULL), FRAX_OK);
    assert_string_equal(model_value_type(model, FRAX_OUTPUT, 0), "f64[T,2*N+1]");
    model_destroy(model);
}

/* ---- Hostile sizes of texts ---- */

/* `open` n times, then `middle`, then `close` n times, as the expression of a model. */
static char *nested_model(const char *open, const char *middle, const char *close, int n) {
    Text text = {0};
    text_printf(&text, "model m(x: f64) {\n y = ");
    for (int i = 0; i < n; i++) text_printf(&text, "%s", open);
    text_printf(&text, "%s", middle);
    for (int i = 0; i < n; i++) text_printf(&text, "%s", close);
    text_printf(&text, "\n return y\n}\n");
    assert_false(text.failed);
    return text.data;
}

static void test_depth_is_bounded(void **state) {
    (void)state;
    static const char *const nests[][3] = {{"(", "x", ")"},   {"-", "x", ""},    {"exp(", "x", ")"},
                                           {"not ", "x", ""}, {"[", "x", "]"},   {"x^", "x", ""},
                                           {"", "x", "[0]"},  {"", "x", " + x"}, {"x[", "0", "]"}};
    for (size_t i = 0; i < COUNT(nests); i++) {
        char *text = nested_model(nests[i][0], nests[i][1], nests[i][2], 100000);
        FraxModel *model = NULL;
        FraxError err;
        assert_int_equal(model_parse(text, strlen(text), "test.frax", NULL, &model, &err), FRAX_SYNTAX);
        assert_non_null(strstr(err.message, i == 6 || i == 7 ? "levels" : "nested"));
        mem_free(text);
    }
}

/* f40 calls f39 twice, and so on: 2^40 expressions once inlined. */
static void test_inlining_is_bounded(void **state) {
    (void)state;
    Text text = {0};
    FraxModel *model = NULL;
    FraxError err;
    text_printf(&text, "fn f0(x) {\n return x\n}\n");
    for (int i = 1; i <= 40; i++)
        text_printf(&text, "fn f%d(x) {\n return f%d(x) * f%d(x)\n}\n", i, i - 1, i - 1);
    text_printf(&text, "model m(x: f64) {\n y = f40(x)\n return y\n}\n");
    assert_int_equal(model_parse(text.data, text.len, "test.frax", NULL, &model, &err), FRAX_OK);
    assert_int_equal(model_check(model, NULL, &err), FRAX_SYNTAX);
    assert_non_null(strstr(err.message, "more than 500000 expressions"));
    model_destroy(model);
    text_free(&text);
}

/* ---- Lack of memory ---- */

static FraxStatus whole_way(const char *text) {
    FraxModel *model = NULL;
    Graph *g = NULL;
    Text signature = {0};
    FraxError err;
    int64_t sizes[8] = {4, 16, 4, 4, 4, 4, 4, 4};
    FraxStatus status = model_parse(text, strlen(text), "test.frax", NULL, &model, &err);
    if (!status) status = model_check(model, &signature, &err);
    if (!status) status = model_lower(model, sizes, &g, &err);
    assert_true(!status == (g != NULL));
    if (status) assert_true(err.status == status && err.message[0]);
    graph_destroy(g);
    model_destroy(model);
    text_free(&signature);
    return status;
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char *const files[] = {"frontend/examples/nile.frax", "frontend/examples/classifier.frax",
                                        "frontend/examples/filter.frax", "frontend/examples/robust.frax"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char *text = golden_read_file(files[i]);
        long before = mem_count();
        assert_int_equal(whole_way(text), FRAX_OK);
        long total = mem_count() - before, step = MAX(total / 150, 1);
        for (long n = 1; n <= total; n += n < 60 ? 1 : step) {
            mem_fail_after(n);
            FraxStatus status = whole_way(text);
            mem_fail_after(0);
            if (status != FRAX_MEMORY)
                fail_msg("%s: allocation %ld of %ld fails, status %d", files[i], n, total, status);
        }
        mem_free(text);
    }
}

int main(int argc, char **argv) {
    golden_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_cases),        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_declarations),        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_inlining_is_bounded), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
