/* test_builder.c — models built call by call: every built-in and operator of the language, and the example
 * models, give the graphs that their texts give; what the calls refuse, and how faults of a model are shown.
 */
#include "lower.h"
#include "model_run.h"
#include <math.h>
#include "language_values.h"

/* ---- A tree of the parser, built by calls ---- */

typedef struct Called {
    const char *names[256];
    size_t count;
} Called;

static FraxValue build(FraxBuilder *b, const Expr *e, Called *called);

static FraxValue build_call(FraxBuilder *b, const char *what, const Expr *e, Called *called) {
    FraxValue args[64];
    const char *names[64];
    assert_true(e->count <= COUNT(args));
    for (size_t i = 0; i < e->count; i++) {
        args[i] = e->items[i] ? build(b, e->items[i], called) : 0;
        names[i] = e->kind == EXPR_CALL && e->labels ? e->labels[i].text : NULL;
    }
    if (called->count < COUNT(called->names)) called->names[called->count++] = what;
    return frax_builder_call(b, what, e->count, args, names);
}

static FraxValue build(FraxBuilder *b, const Expr *e, Called *called) {
    switch (e->kind) {
    case EXPR_NUMBER: return frax_builder_number(b, e->number.value);
    case EXPR_NAME: return frax_builder_name(b, e->text);
    case EXPR_TUPLE: return build_call(b, "()", e, called);
    case EXPR_INDEX: return build_call(b, "[]", e, called);
    case EXPR_RANGE: return build_call(b, ":", e, called);
    case EXPR_ELLIPSIS: return build_call(b, "...", e, called);
    case EXPR_FUNCTION: return build_call(b, "=>", e, called);
    default: return build_call(b, e->text, e, called);
    }
}

static void declare(FraxBuilder *b, const Decl *decl, Called *called) {
    FraxValue dims[MAX_RANK];
    for (int i = 0; i < decl->type.rank; i++) dims[i] = build(b, decl->type.dims[i], called);
    if (decl->init)
        frax_builder_param(b, decl->name.text, decl->type.dtype, decl->type.rank, dims,
                           build(b, decl->init, called));
    else
        frax_builder_input(b, decl->name.text, decl->type.dtype, decl->type.rank, dims);
}

/* The lines of a file from each "fn" to the "}" that ends it. */
static void copy_functions(FraxBuilder *b, const char *text) {
    Text functions = {0};
    bool inside = false;
    for (size_t n; *text; text += n) {
        n = strcspn(text, "\n");
        n += text[n] == '\n';
        inside = inside || !strncmp(text, "fn ", 3);
        if (inside) text_append(&functions, text, n);
        if (!strncmp(text, "}\n", 2)) inside = false;
    }
    frax_builder_functions(b, functions.data ? functions.data : "");
    text_free(&functions);
}

/* The same model by calls. */
static FraxModel *rebuild(const FraxModel *m, Called *called) {
    const ModelDecl *decl = m->decl;
    FraxBuilder *b;
    FraxModel *built;
    FraxError err;
    assert_int_equal(frax_builder_create(decl->name.text, &b, NULL), FRAX_OK);
    for (size_t i = 0; i < decl->ninputs; i++) declare(b, &decl->inputs[i], called);
    for (size_t i = 0; i < decl->nparams; i++) declare(b, &decl->params[i], called);
    for (size_t i = 0; i < decl->body.nstmts; i++)
        frax_builder_let(b, decl->body.stmts[i].names[0].text, build(b, decl->body.stmts[i].value, called));
    for (size_t i = 0; i < decl->body.nreturns; i++)
        frax_builder_return(b, NULL, build(b, decl->body.returns[i], called));
    copy_functions(b, m->source.text);
    if (frax_builder_finish(b, &built, &err)) fail_msg("%s\nfor\n%s", err.message, m->source.text);
    frax_builder_destroy(b);
    return built;
}

/* The lines of a printed graph, by number of the node. */
typedef struct Lines {
    const char *at[4096];
    int renumbered[4096], count;
    Text out;
} Lines;

/* Writes the node's line after those that it refers to, with numbers in this order. */
static void put_canonical(Lines *lines, const char *line, int node) {
    for (const char *p = strchr(line, '='); p && *p != '\n' && *p != '@'; p++)
        if (*p == '%' && !lines->renumbered[atoi(p + 1)])
            put_canonical(lines, lines->at[atoi(p + 1)], atoi(p + 1));
    if (node >= 0) lines->renumbered[node] = ++lines->count;
    for (; *line && *line != '\n' && *line != '@'; line++)
        if (*line == '%')
            text_printf(&lines->out, "%%%d", lines->renumbered[strtol(line + 1, (char **)&line, 10)]), line--;
        else
            text_append(&lines->out, line, 1);
    text_append(&lines->out, "\n", 1);
}

/* The graph as text, without the places in the source, whatever the order of its nodes. */
static char *graph_of(const FraxModel *m, const int64_t *sizes) {
    static Lines lines;
    Graph *g;
    FraxError err;
    Text text = {0};
    if (model_lower(m, sizes, &g, &err)) fail_msg("%s\nfor\n%s", err.message, m->source.text);
    graph_print(g, &text);
    graph_destroy(g);
    memset(&lines, 0, sizeof lines);
    for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *number = line + strspn(line, " ");
        if (*number == '%' && atoi(number + 1) < (int)COUNT(lines.at)) lines.at[atoi(number + 1)] = number;
    }
    for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *start = line + strspn(line, " ");
        if (*start != '%') put_canonical(&lines, start, -1);
    }
    text_free(&text);
    return lines.out.data;
}

static void same_graph(const FraxModel *a, const FraxModel *b, const int64_t *sizes) {
    char *first = graph_of(a, sizes), *second = graph_of(b, sizes);
    if (strcmp(first, second))
        fail_msg("%s\nbuilt as\n%s\n%s\nand\n%s", a->source.text, b->source.text, first, second);
    mem_free(first);
    mem_free(second);
}

/* Every expression of the table, and in them every built-in. */
static void test_every_builtin(void **state) {
    (void)state;
    static Called called;
    BuiltinInfo info;
    bool *seen = calloc(1024, 1);
    for (size_t row = 0; row < COUNT(value_rows); row++) {
        Text text = {0};
        text_printf(&text, "model m(");
        for (size_t i = 0; i < COUNT(value_inputs); i++)
            text_printf(&text, "%s%s: %s", i ? ", " : "", value_inputs[i].name, value_inputs[i].type);
        text_printf(&text, ") {\n out = %s\n return out\n}\n", value_rows[row].expression);
        called.count = 0;
        FraxModel *m = parse_text(text.data), *built = rebuild(m, &called);
        same_graph(m, built, NULL);
        for (size_t k = 0; k < called.count; k++)
            for (size_t i = 0; builtin_info(i, &info); i++) seen[i] |= !strcmp(info.name, called.names[k]);
        model_destroy(m);
        model_destroy(built);
        text_free(&text);
    }
    for (size_t i = 0; builtin_info(i, &info); i++)
        if (!seen[i]) fail_msg("the built-in %s was not built", info.name);
    free(seen);
}

static void test_operators_and_subscripts(void **state) {
    (void)state;
    static const char *const expressions[] = {
        "-x + +x * 2 / (x - 1) ^ 2 ^ x",
        "x @ k",
        "x < 1 and x <= 2 or not (x > 3) and x >= 4",
        "where(x == 1 or x != 2, x, -0.5)",
        "x[1:, none]",
        "x[..., ::2]",
        "x[0, -1]",
        "x[:, :-1:2]",
        "reshape(x, (3, 2))",
        "reshape(x, [6,])",
        "(x - mean(x)) / (x - mean(x))",
        "cast(x, f32)",
        "x * 1e-300 + pi",
        "spectral_filter(x, w => (w ^ 2 + sum(x), 0 * w))",
        "spectral_filter(x, (u, v) => exp(-u ^ 2 - v ^ 2), axes=(0, 1))",
        "x ^ -2",
        "-2 ^ 2 * x",
        "x ^ 40",
    };
    static Called called;
    for (size_t i = 0; i < COUNT(expressions); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "model m(x: f64[2, 3], k: f64[3, 4]) {\n y = %s\n z = y\n return z, y\n}\n", expressions[i]);
        FraxModel *m = parse_text(text), *built = rebuild(m, &called);
        same_graph(m, built, NULL);
        model_destroy(m);
        model_destroy(built);
    }
}

static void test_examples(void **state) {
    (void)state;
    static const char *const specs[] = {"nile.frax",   "classifier.frax",     "classifier.frax:deep",
                                        "filter.frax", "filter.frax:sharpen", "filter.frax:identify",
                                        "robust.frax"};
    static Called called;
    const int64_t sizes[] = {24, 32};
    for (size_t i = 0; i < COUNT(specs); i++) {
        char path[128];
        FraxModel *m;
        snprintf(path, sizeof path, "frontend/examples/%s", specs[i]);
        assert_int_equal(frax_model_load(path, &m, NULL), FRAX_OK);
        FraxModel *built = rebuild(m, &called);
        assert_true(model_size_count(m) <= COUNT(sizes));
        assert_int_equal(model_size_count(built), model_size_count(m));
        same_graph(m, built, sizes);
        model_destroy(built);
        model_destroy(m);
    }
}

/* ---- The text ---- */

static FraxBuilder *builder(void) {
    FraxBuilder *b;
    assert_int_equal(frax_builder_create("m", &b, NULL), FRAX_OK);
    return b;
}

static void test_text(void **state) {
    (void)state;
    FraxBuilder *b = builder();
    FraxModel *model;
    FraxError err;
    FraxValue n = frax_builder_name(b, "N"), two = frax_builder_number(b, 2),
              size = frax_builder_call(b, "*", 2, (FraxValue[]){two, n}, NULL),
              std = frax_builder_number(b, 0.5), normal = frax_builder_call(b, "normal", 1, &std, NULL),
              x = frax_builder_input(b, "x", FRAX_F32, 1, &size),
              p = frax_builder_param(b, "p", FRAX_F32, 0, NULL, normal),
              scaled = frax_builder_call(b, "*", 2, (FraxValue[]){x, p}, NULL),
              unused = frax_builder_call(b, "exp", 1, &x, NULL),
              hook = frax_builder_call(b, "soft", 1, &scaled, NULL),
              reused = frax_builder_call(b, "+", 2, (FraxValue[]){hook, hook}, NULL);
    (void)unused;
    frax_builder_functions(
        b, "fn soft(v) {\n    y = tanh(v)\n    return y\n} derivative (dv) {\n    return dv\n}");
    frax_builder_let(b, "y", reused);
    frax_builder_return(b, NULL, reused);
    frax_builder_return(b, "loss", frax_builder_call(b, "sum", 1, &reused, NULL));
    if (frax_builder_finish(b, &model, &err)) fail_msg("%s", err.message);
    assert_string_equal(frax_model_text(model),
                        "model m(x: f32[2 * N]) {\n"
                        "    param p: f32 = normal(0.5)\n"
                        "    _8 = x * p\n"
                        "    _10 = soft(_8)\n"
                        "    y = _10 + _10\n"
                        "    loss = sum(y)\n"
                        "    return y, loss\n"
                        "}\n\n"
                        "fn soft(v) {\n    y = tanh(v)\n    return y\n} derivative (dv) {\n"
                        "    return dv\n}\n");
    assert_string_equal(frax_model_value_type(model, FRAX_OUTPUT, 0), "f32[2*N]");
    frax_model_destroy(model);
    assert_int_equal(frax_builder_finish(b, &model, NULL), FRAX_OK); /* once more gives the same */
    frax_model_destroy(model);
    frax_builder_destroy(b);
    assert_null(frax_model_text(NULL));
}

/* A value used twice is one statement: 2^60 uses of x are 60 of them. */
static void test_shared_values(void **state) {
    (void)state;
    FraxBuilder *b = builder();
    FraxModel *model;
    FraxValue v = frax_builder_input(b, "x", FRAX_F64, 0, NULL);
    for (int i = 0; i < 60; i++) v = frax_builder_call(b, "+", 2, (FraxValue[]){v, v}, NULL);
    frax_builder_return(b, "y", v);
    assert_int_equal(frax_builder_finish(b, &model, NULL), FRAX_OK);
    assert_true(strlen(frax_model_text(model)) < 2000);
    frax_model_destroy(model);
    frax_builder_destroy(b);
    /* Within a function that is not possible; it ends as a fault, not as a text without end. */
    b = builder();
    FraxValue x = frax_builder_input(b, "x", FRAX_F64, 1, (FraxValue[]){frax_builder_name(b, "N")}),
              w = frax_builder_name(b, "w");
    v = w;
    for (int i = 0; i < 60; i++) v = frax_builder_call(b, "+", 2, (FraxValue[]){v, v}, NULL);
    FraxValue f = frax_builder_call(b, "=>", 2, (FraxValue[]){w, v}, NULL);
    FraxError err;
    frax_builder_return(b, "y", frax_builder_call(b, "spectral_filter", 2, (FraxValue[]){x, f}, NULL));
    assert_int_equal(frax_builder_finish(b, &model, &err), FRAX_SYNTAX);
    assert_non_null(strstr(err.message, "too long an expression"));
    frax_builder_destroy(b);
}

/* ---- Faults ---- */

static void finish_fails(FraxBuilder *b, FraxStatus status, const char *message) {
    FraxModel *model;
    FraxError err;
    assert_int_equal(frax_builder_finish(b, &model, &err), status);
    assert_null(model);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
    frax_builder_destroy(b);
}

static void test_fault_of_the_model(void **state) {
    (void)state;
    FraxBuilder *b = builder();
    FraxValue dim = frax_builder_name(b, "T"), x = frax_builder_input(b, "x", FRAX_F64, 1, &dim),
              half = frax_builder_number(b, 0.5), kind = frax_builder_name(b, "grunwold");
    frax_builder_return(
        b, "y",
        frax_builder_call(b, "frac", 3, (FraxValue[]){x, half, kind}, (const char *[]){NULL, NULL, "kind"}));
    finish_fails(b, FRAX_NAME, "<m>:2:27: frac: unknown kind 'grunwold'; did you mean 'grunwald'?");
}

static void test_wrong_calls(void **state) {
    (void)state;
    FraxBuilder *b, *other = builder();
    FraxError err;
    assert_int_equal(frax_builder_create("1m", &b, &err), FRAX_NAME);
    assert_int_equal(frax_builder_create(NULL, &b, &err), FRAX_NAME);
    assert_int_equal(frax_builder_create("m", NULL, &err), FRAX_USAGE);
    assert_int_equal(frax_builder_finish(other, NULL, &err), FRAX_USAGE);
    frax_builder_destroy(other);
    frax_builder_destroy(NULL);
    assert_int_equal(frax_builder_number(NULL, 1), 0);
#define WRONG(status, message, ...)                                                                          \
    do {                                                                                                     \
        b = builder();                                                                                       \
        FraxValue x = frax_builder_input(b, "x", FRAX_F64, 0, NULL), none = frax_builder_name(b, "none");    \
        (void)x, (void)none;                                                                                 \
        __VA_ARGS__;                                                                                         \
        frax_builder_return(b, "y", x);                                                                      \
        finish_fails(b, status, message);                                                                    \
    } while (0)
    WRONG(FRAX_USAGE, "building model m: frax_builder_call: 7 is not a value of this builder",
          frax_builder_call(b, "exp", 1, (FraxValue[]){7}, NULL));
    WRONG(FRAX_USAGE, "'+' does not take 3 arguments",
          frax_builder_call(b, "+", 3, (FraxValue[]){x, x, x}, NULL));
    WRONG(FRAX_NAME, "'exp(x)' is neither a function nor an operator",
          frax_builder_call(b, "exp(x)", 0, NULL, NULL));
    WRONG(FRAX_NAME, "'x\n' is not a name", frax_builder_name(b, "x\n"));
    WRONG(FRAX_NAME, "'param' is not a name", frax_builder_let(b, "param", x));
    WRONG(FRAX_NAME, "names like '_1' are the builder's own", frax_builder_let(b, "_1", x));
    WRONG(FRAX_VALUE, "inf is not finite", frax_builder_number(b, 1e308 * 10));
    WRONG(FRAX_USAGE, "dtype is 99", frax_builder_input(b, "z", (FraxDType)99, 0, NULL));
    WRONG(FRAX_USAGE, "rank is 9", frax_builder_input(b, "z", FRAX_F64, 9, &x));
    WRONG(FRAX_USAGE, "rank is 1", frax_builder_input(b, "z", FRAX_F64, 1, NULL));
    WRONG(FRAX_USAGE, "0 is not a value", frax_builder_param(b, "p", FRAX_F64, 0, NULL, 0));
    WRONG(FRAX_USAGE, "belongs into a subscript",
          frax_builder_call(b, "exp", 1, (FraxValue[]){frax_builder_call(b, ":", 0, NULL, NULL)}, NULL));
    WRONG(FRAX_USAGE, "takes no argument called 'a b'",
          frax_builder_call(b, "exp", 1, &x, (const char *[]){"a b"}));
    WRONG(FRAX_USAGE, "argument 1 of '=>' is not a name",
          frax_builder_call(b, "=>", 2, (FraxValue[]){frax_builder_number(b, 1), x}, NULL));
    WRONG(FRAX_NAME, "outputs carry names",
          frax_builder_return(b, NULL, frax_builder_call(b, "exp", 1, &x, NULL)));
    WRONG(FRAX_NAME, "'y' is already bound", frax_builder_let(b, "y", x); frax_builder_let(b, "y", x));
    WRONG(FRAX_USAGE, "text is NULL", frax_builder_functions(b, NULL));
#undef WRONG
    finish_fails(builder(), FRAX_USAGE, "it returns nothing");
}

static void test_failing_allocations(void **state) {
    (void)state;
    FraxStatus status = FRAX_MEMORY;
    for (long n = 1; status == FRAX_MEMORY; n++) {
        FraxBuilder *b = NULL;
        FraxModel *model = NULL;
        mem_fail_after(n);
        status = frax_builder_create("m", &b, NULL);
        if (!status) {
            FraxValue x = frax_builder_input(b, "x", FRAX_F64, 0, NULL);
            frax_builder_return(b, "y", frax_builder_call(b, "exp", 1, &x, NULL));
            status = frax_builder_finish(b, &model, NULL);
        }
        mem_fail_after(0);
        frax_builder_destroy(b);
        frax_model_destroy(model);
    }
    assert_int_equal(status, FRAX_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_builtin), cmocka_unit_test(test_operators_and_subscripts),
        cmocka_unit_test(test_examples),      cmocka_unit_test(test_text),
        cmocka_unit_test(test_shared_values), cmocka_unit_test(test_fault_of_the_model),
        cmocka_unit_test(test_wrong_calls),   cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
