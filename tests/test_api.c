/* test_api.c — every call of frax.h as a host program makes it: signatures, the four modes against closed
 * forms, the faults of a caller, failing allocations.
 */
#include "base.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static FraxModel *parse(const char *text) {
    FraxModel *model;
    FraxError err;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) print_message("%s\n", err.message);
    assert_non_null(model);
    return model;
}

static FraxExecutable *compile(const FraxModel *model, const FraxOptions *options) {
    FraxExecutable *exe;
    FraxError err;
    if (frax_compile(model, options, &exe, &err)) print_message("%s\n", err.message);
    assert_non_null(exe);
    return exe;
}

/* loss = Σ (a x)³ / 3 + b: ∂a = Σ a² x³, ∂x = a³ x², ∂b = 1. */
static const char cubic[] = "model cubic(x: f64[N], k: i32[]) {\n"
                            "    param a: f64 = 2\n"
                            "    param b: f64[1] = normal(0.5)\n"
                            "    y    = a * x\n"
                            "    loss = sum(y^3) / 3 + b[0]\n"
                            "    big  = k + 1\n"
                            "    return loss, y, big\n"
                            "}\n";

static FraxOptions three(void) {
    static const FraxSize sizes[] = {{"N", 3}};
    FraxOptions options = frax_default_options();
    options.sizes = sizes;
    options.nsizes = 1;
    return options;
}

static const double x[3] = {1, -2, 0.5}, a = 2, b = 0.25;
static const int32_t k = 41;
static const void *const inputs[] = {x, &k};

static void test_status_and_dtype_names(void **state) {
    (void)state;
    assert_string_equal(frax_status_string(FRAX_OK), "done");
    assert_string_equal(frax_status_string(FRAX_DIVERGED), "a fit left the finite numbers");
    assert_non_null(frax_status_string((FraxStatus)99));
    assert_string_equal(frax_dtype_name(FRAX_BF16), "bf16");
    assert_int_equal(frax_dtype_size(FRAX_F16), 2);
}

static void test_model_signature(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    assert_string_equal(frax_model_name(model), "cubic");
    assert_int_equal(frax_model_count(model, FRAX_INPUT), 2);
    assert_int_equal(frax_model_count(model, FRAX_PARAM), 2);
    assert_int_equal(frax_model_count(model, FRAX_OUTPUT), 3);
    assert_string_equal(frax_model_value_name(model, FRAX_INPUT, 1), "k");
    assert_string_equal(frax_model_value_type(model, FRAX_INPUT, 0), "f64[N]");
    assert_string_equal(frax_model_value_type(model, FRAX_OUTPUT, 1), "f64[N]");
    assert_null(frax_model_value_name(model, FRAX_PARAM, 2));
    assert_null(frax_model_value_type(model, FRAX_PARAM, 2));
    frax_model_destroy(model);
    assert_int_equal(frax_model_count(NULL, FRAX_INPUT), 0);
    assert_null(frax_model_name(NULL));
    frax_model_destroy(NULL);
    frax_executable_destroy(NULL);
}

static void test_forward(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
        options.target = target;
        FraxExecutable *exe = compile(model, &options);
        FraxTensor y = frax_executable_type(exe, FRAX_OUTPUT, 1);
        assert_int_equal(y.rank, 1);
        assert_int_equal(y.dims[0], 3);
        assert_null(y.data);
        assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 1), "b");
        assert_int_equal(frax_executable_type(exe, FRAX_OUTPUT, 9).rank, -1);
        assert_null(frax_executable_name(exe, FRAX_OUTPUT, 3));
        double loss, out[3];
        int32_t big;
        assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, &b}, (void *[]){&loss, out, &big}, NULL),
                         FRAX_OK);
        /* Few terms of exact products: at most a rounding of the division by 3. */
        assert_true(fabs(loss - ((8.0 - 64 + 1) / 3 + 0.25)) < 1e-13);
        assert_true(out[0] == 2 && out[1] == -4 && out[2] == 1);
        assert_int_equal(big, 42);
        frax_executable_destroy(exe);
    }
    frax_model_destroy(model);
}

static void test_reverse(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    options.mode = FRAX_REVERSE;
    FraxExecutable *exe = compile(model, &options);
    assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), 5);
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 3), "grad.a");
    double loss, y[3], da, db;
    int32_t big;
    assert_int_equal(
        frax_run(exe, inputs, (const void *[]){&a, &b}, (void *[]){&loss, y, &big, &da, &db}, NULL), FRAX_OK);
    assert_true(fabs(da - 4 * (1 - 8 + 0.125)) < 1e-13);
    assert_true(fabs(db - 1) < 1e-15);
    frax_executable_destroy(exe);

    options.wrt = (const char *[]){"x"};
    options.nwrt = 1;
    exe = compile(model, &options);
    double dx[3];
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 3), "grad.x");
    assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, &b}, (void *[]){&loss, y, &big, dx}, NULL),
                     FRAX_OK);
    for (int i = 0; i < 3; i++) assert_true(fabs(dx[i] - 8 * x[i] * x[i]) < 1e-13);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_find(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    FraxError err;
    options.mode = FRAX_REVERSE;
    FraxExecutable *exe = compile(model, &options);
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++)
        for (size_t i = 0; i < frax_executable_count(exe, role); i++) {
            size_t found = 99;
            const char *name = frax_executable_name(exe, role, i);
            assert_int_equal(frax_executable_find(exe, role, name, &found, &err), FRAX_OK);
            assert_int_equal(found, i);
        }
    size_t index = 99;
    assert_int_equal(frax_executable_find(exe, FRAX_OUTPUT, "grad.aa", &index, &err), FRAX_NAME);
    assert_non_null(strstr(err.message, "has no output grad.aa; did you mean grad.a?"));
    assert_int_equal(frax_executable_find(exe, FRAX_PARAM, "x", &index, &err), FRAX_NAME);
    assert_int_equal(frax_executable_find(exe, FRAX_PARAM, NULL, &index, &err), FRAX_USAGE);
    assert_int_equal(frax_executable_find(exe, FRAX_PARAM, "a", NULL, &err), FRAX_USAGE);
    assert_int_equal(frax_executable_find(exe, (FraxRole)3, "a", &index, &err), FRAX_USAGE);
    assert_int_equal(frax_executable_find(NULL, FRAX_PARAM, "a", &index, NULL), FRAX_USAGE);
    assert_int_equal(index, 99);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* d loss = a²Σx³ da + a³ Σ x² dx; dy = x da + a dx. */
static void test_forward_mode(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    options.mode = FRAX_JVP;
    options.wrt = (const char *[]){"a", "x"};
    options.nwrt = 2;
    FraxExecutable *exe = compile(model, &options);
    assert_int_equal(frax_executable_count(exe, FRAX_PARAM), 4);
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 1), "b");
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 2), "tangent.a");
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 3), "tangent.x");
    assert_int_equal(frax_executable_type(exe, FRAX_PARAM, 3).dims[0], 3);
    assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), 5); /* big is whole: it has no tangent */
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 4), "tangent.y");
    double da = 0.5, dx[3] = {1, 0, -2}, loss, y[3], dloss, dy[3], expected = 4 * -6.875 * da;
    int32_t big;
    for (int i = 0; i < 3; i++) expected += 8 * x[i] * x[i] * dx[i];
    assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, &b, &da, dx},
                              (void *[]){&loss, y, &big, &dloss, dy}, NULL),
                     FRAX_OK);
    assert_true(fabs(dloss - expected) < 1e-12);
    for (int i = 0; i < 3; i++) assert_true(fabs(dy[i] - (x[i] * da + a * dx[i])) < 1e-14);
    FraxError err;
    assert_int_equal(frax_initial_param(exe, 2, 0, &da, &err), FRAX_USAGE);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* ∂²/∂a² = 2a Σx³; the Hessian in b is zero. */
static void test_hessian_vector_product(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    options.mode = FRAX_HVP;
    FraxExecutable *exe = compile(model, &options);
    assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), 7);
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 5), "hvp.a");
    double va = 3, vb = 1, loss, y[3], da, db, ha, hb;
    int32_t big;
    assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, &b, &va, &vb},
                              (void *[]){&loss, y, &big, &da, &db, &ha, &hb}, NULL),
                     FRAX_OK);
    assert_true(fabs(da - 4 * -6.875) < 1e-13);
    assert_true(fabs(ha - 2 * a * -6.875 * va) < 1e-12);
    assert_true(hb == 0);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* Cotangents g of loss and h of y: grad.a = g a² Σx³ + Σ h x, grad.x = g a³ x² + a h. */
static void test_cotangents(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    options.mode = FRAX_VJP;
    options.wrt = (const char *[]){"a", "x"};
    options.nwrt = 2;
    FraxExecutable *exe = compile(model, &options);
    assert_int_equal(frax_executable_count(exe, FRAX_PARAM), 4); /* big is whole: it has no cotangent */
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 2), "cotangent.loss");
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 3), "cotangent.y");
    assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), 2);
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 1), "grad.x");
    double g = 3, h[3] = {1, -1, 4}, da, dx[3], expected = g * a * a * -6.875;
    for (int i = 0; i < 3; i++) expected += h[i] * x[i];
    assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, &b, &g, h}, (void *[]){&da, dx}, NULL),
                     FRAX_OK);
    assert_true(fabs(da - expected) < 1e-12);
    for (int i = 0; i < 3; i++) assert_true(fabs(dx[i] - (g * a * a * a * x[i] * x[i] + a * h[i])) < 1e-12);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* That function of a, g and h again, by a alone and with cotangent u of grad.a: u times
   ∂a = 2 g a Σx³, ∂g = a² Σx³, ∂h = x. */
static void test_cotangents_of_cotangents(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    options.mode = FRAX_VJP;
    options.order = 2;
    options.wrt = (const char *[]){"a"};
    options.nwrt = 1;
    FraxExecutable *exe = compile(model, &options);
    assert_int_equal(frax_executable_count(exe, FRAX_PARAM), 5);
    assert_string_equal(frax_executable_name(exe, FRAX_PARAM, 4), "cotangent.grad.a");
    assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), 3);
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 0), "grad2.a");
    assert_string_equal(frax_executable_name(exe, FRAX_OUTPUT, 2), "grad2.cotangent.y");
    double g = 3, h[3] = {1, -1, 4}, u = -2, da, dg, dh[3];
    assert_int_equal(
        frax_run(exe, inputs, (const void *[]){&a, &b, &g, h, &u}, (void *[]){&da, &dg, dh}, NULL), FRAX_OK);
    assert_true(fabs(da - u * 2 * g * a * -6.875) < 1e-12);
    assert_true(fabs(dg - u * a * a * -6.875) < 1e-12);
    for (int i = 0; i < 3; i++) assert_true(fabs(dh[i] - u * x[i]) < 1e-13);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_refused_cotangents(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    FraxExecutable *exe;
    FraxError err;
    options.order = 2;
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "options.order is 2"));
    options.mode = FRAX_VJP;
    options.order = -1;
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_USAGE);
    options.order = FRAX_MAX_ORDER + 1;
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "expected at most 6"));
    options.order = 0;
    options.of = "loss";
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "options.of is loss"));
    options.of = NULL;
    options.stream = "N";
    options.chunk = 1;
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_UNSUPPORTED);
    frax_model_destroy(model);
}

static void test_sizes_from_inputs(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = frax_default_options();
    FraxTensor shapes[] = {{.dtype = FRAX_F64, .rank = 1, .dims = {7}}, {.rank = -1}};
    options.inputs = shapes;
    FraxExecutable *exe = compile(model, &options), *none;
    assert_int_equal(frax_executable_type(exe, FRAX_INPUT, 0).dims[0], 7);
    frax_executable_destroy(exe);
    FraxError err;
    shapes[0].dtype = FRAX_F32;
    assert_int_equal(frax_compile(model, &options, &none, &err), FRAX_TYPE);
    assert_non_null(strstr(err.message, "input x: got f32, expected f64[N]"));
    assert_null(none);
    shapes[0].dtype = FRAX_F64;
    shapes[0].rank = 2;
    assert_int_equal(frax_compile(model, &options, &none, &err), FRAX_SHAPE);
    shapes[0].rank = 99;
    assert_int_equal(frax_compile(model, &options, &none, &err), FRAX_SHAPE);
    options.inputs = NULL;
    assert_int_equal(frax_compile(model, &options, &none, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "size N of model cubic is not known"));
    frax_model_destroy(model);
}

static void refused(const char *text, FraxMode mode, const char *of, const char *wrt, FraxStatus status,
                    const char *says) {
    FraxModel *model = parse(text);
    FraxOptions options = three();
    options.nsizes = strstr(text, "N") != NULL;
    options.mode = mode;
    options.of = of;
    options.wrt = wrt ? &wrt : NULL;
    options.nwrt = wrt != NULL;
    FraxExecutable *exe;
    FraxError err = {0};
    assert_int_equal(frax_compile(model, &options, &exe, &err), status);
    if (!strstr(err.message, says)) print_message("%s\n", err.message);
    assert_non_null(strstr(err.message, says));
    assert_int_equal(err.status, status);
    assert_null(exe);
    frax_model_destroy(model);
}

static void test_what_cannot_be_differentiated(void **state) {
    (void)state;
    refused(cubic, FRAX_REVERSE, "los", NULL, FRAX_NAME, "no output los; did you mean loss?");
    refused(cubic, FRAX_REVERSE, "y", NULL, FRAX_SHAPE, "output y is f64[3]; only a floating scalar");
    refused(cubic, FRAX_REVERSE, "big", NULL, FRAX_TYPE, "output big is i32[]");
    refused(cubic, FRAX_REVERSE, NULL, "k", FRAX_TYPE, "k is i32[]");
    refused(cubic, FRAX_HVP, NULL, "aa", FRAX_NAME, "no param or input aa; did you mean a?");
    refused("model m(x: f64[]) {\n param p: f64 = 1\n y = p * x\n return y\n}\n", FRAX_REVERSE, NULL, NULL,
            FRAX_NAME, "no output loss");
    refused("model m(x: f64[]) {\n loss = x * x\n return loss\n}\n", FRAX_REVERSE, NULL, NULL, FRAX_NAME,
            "no params");
}

static void test_bad_calls(void **state) {
    (void)state;
    FraxModel *model = parse(cubic), *none = model;
    FraxOptions options = three();
    FraxExecutable *exe = compile(model, &options), *other = exe;
    FraxError err;
    double loss, y[3];
    int32_t big;
    const void *const params[] = {&a, &b};
    void *const outputs[] = {&loss, y, &big};
    assert_int_equal(frax_run(NULL, inputs, params, outputs, &err), FRAX_USAGE);
    assert_int_equal(frax_run(exe, NULL, params, outputs, &err), FRAX_USAGE);
    assert_int_equal(frax_run(exe, inputs, (const void *[]){&a, NULL}, outputs, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "param b is NULL"));
    assert_int_equal(frax_run(exe, inputs, params, (void *[]){&loss, NULL, &big}, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "output y is NULL"));
    assert_int_equal(frax_initial_param(exe, 2, 0, y, &err), FRAX_USAGE);
    assert_int_equal(frax_initial_param(exe, 0, 0, NULL, &err), FRAX_USAGE);
    assert_int_equal(frax_initial_param(NULL, 0, 0, y, &err), FRAX_USAGE);
    assert_int_equal(frax_compile(NULL, &options, &other, &err), FRAX_USAGE);
    assert_null(other);
    assert_int_equal(frax_compile(model, &options, NULL, &err), FRAX_USAGE);
    options.target = (FraxTarget)17;
    assert_int_equal(frax_compile(model, &options, &other, &err), FRAX_USAGE);
    options = three();
    options.sizes = &(FraxSize){NULL, 3};
    assert_int_equal(frax_compile(model, &options, &other, &err), FRAX_USAGE);
    options = three();
    options.mode = (FraxMode)17;
    assert_int_equal(frax_compile(model, &options, &other, &err), FRAX_USAGE);
    options = three();
    options.threads = -1;
    assert_int_equal(frax_compile(model, &options, &other, &err), FRAX_USAGE);
    options = three();
    options.sizes = NULL;
    assert_int_equal(frax_compile(model, &options, &other, &err), FRAX_USAGE);
    assert_int_equal(frax_model_parse(NULL, "f", NULL, &none, &err), FRAX_USAGE);
    assert_null(none);
    assert_int_equal(frax_model_parse("", "f", NULL, NULL, &err), FRAX_USAGE);
    assert_int_equal(frax_model_load(NULL, &none, &err), FRAX_USAGE);
    assert_int_equal(frax_model_load("no/such/file.frax", &none, &err), FRAX_FILE);
    assert_non_null(strstr(err.message, "no/such/file.frax"));
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_empty_arrays_may_be_null(void **state) {
    (void)state;
    FraxModel *model = parse("model m(x: f64[N]) {\n y = 2 * x\n s = sum(x)\n return y, s\n}\n");
    FraxOptions options = frax_default_options();
    options.sizes = &(FraxSize){"N", 0};
    options.nsizes = 1;
    FraxExecutable *exe = compile(model, &options);
    FraxError err;
    double s = 1;
    assert_int_equal(frax_run(exe, (const void *[]){NULL}, NULL, (void *[]){NULL, &s}, &err), FRAX_OK);
    assert_true(s == 0);
    assert_int_equal(frax_run(exe, (const void *[]){NULL}, NULL, (void *[]){NULL, NULL}, &err), FRAX_USAGE);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_faults_of_the_text(void **state) {
    (void)state;
    FraxModel *model;
    FraxError err;
    assert_int_equal(
        frax_model_parse("model m(x: f64[]) {\n y = x +\n return y\n}\n", "m.frax", NULL, &model, &err),
        FRAX_SYNTAX);
    assert_int_equal(err.line, 2);
    assert_non_null(strstr(err.message, "m.frax:2:"));
    assert_int_equal(
        frax_model_parse("model m(x: f64[]) {\n y = tank(x)\n return y\n}\n", "m.frax", NULL, &model, &err),
        FRAX_NAME);
    assert_non_null(strstr(err.message, "tanh"));
    assert_null(model);
    /* Fits for some sizes, which only compiling can tell. */
    static const char text[] = "model m(x: f64[N], y: f64[3]) {\n z = x + y\n return z\n}\n";
    assert_int_equal(frax_model_parse(text, "m.frax", NULL, &model, &err), FRAX_OK);
    FraxOptions options = three();
    FraxExecutable *exe = compile(model, &options);
    frax_executable_destroy(exe);
    options.sizes = (FraxSize[]){{"N", 4}};
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_SHAPE);
    assert_int_equal(err.line, 2);
    frax_model_destroy(model);
}

static void test_several_models(void **state) {
    (void)state;
    static const char text[] =
        "model one(x: f64[]) {\n return x\n}\nmodel two(x: f64[]) {\n y = x + 1\n return y\n}\n";
    const char *folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char path[4096], spec[4200];
    snprintf(path, sizeof path, "%s/several.frax", folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    FraxModel *model;
    FraxError err;
    assert_int_equal(frax_model_load(path, &model, &err), FRAX_OK);
    assert_string_equal(frax_model_name(model), "one");
    frax_model_destroy(model);
    snprintf(spec, sizeof spec, "%s:two", path);
    assert_int_equal(frax_model_load(spec, &model, &err), FRAX_OK);
    assert_string_equal(frax_model_name(model), "two");
    frax_model_destroy(model);
    snprintf(spec, sizeof spec, "%s:tow", path);
    assert_int_equal(frax_model_load(spec, &model, &err), FRAX_NAME);
    assert_non_null(strstr(err.message, "tow"));
    remove(path);
}

static void test_initial_params(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    FraxExecutable *exe = compile(model, &options);
    double first, again, other, constant;
    assert_int_equal(frax_initial_param(exe, 0, 9, &constant, NULL), FRAX_OK);
    assert_true(constant == 2);
    assert_int_equal(frax_initial_param(exe, 1, 9, &first, NULL), FRAX_OK);
    assert_int_equal(frax_initial_param(exe, 1, 9, &again, NULL), FRAX_OK);
    assert_int_equal(frax_initial_param(exe, 1, 10, &other, NULL), FRAX_OK);
    assert_true(first == again && first != other && isfinite(first));
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* More values than the call keeps room for on its stack. */
static void test_many_values(void **state) {
    (void)state;
    enum { N = 150 };
    Text text = {0};
    text_printf(&text, "model many(x0: f64[]");
    for (int i = 1; i < N; i++) text_printf(&text, ", x%d: f64[]", i);
    text_printf(&text, ") {\n loss = x0");
    for (int i = 1; i < N; i++) text_printf(&text, " + %d * x%d", i, i);
    text_printf(&text, "\n return loss\n}\n");
    FraxModel *model = parse(text.data);
    FraxExecutable *exe = compile(model, NULL);
    double values[N], loss;
    const void *pointers[N];
    for (int i = 0; i < N; i++) {
        values[i] = i == 0 || i == 149;
        pointers[i] = &values[i];
    }
    assert_int_equal(frax_run(exe, pointers, NULL, (void *[]){&loss}, NULL), FRAX_OK);
    assert_true(loss == 150);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    text_free(&text);
}

static void test_memory_is_stated(void **state) {
    (void)state;
    FraxModel *model = parse(cubic);
    FraxOptions options = three();
    FraxExecutable *exe = compile(model, &options);
    FraxMemory memory = frax_executable_memory(exe);
    assert_true(memory.kernels >= 1);
    assert_true(memory.temporary_bytes >= memory.live_bytes);
    assert_true(memory.moved_bytes >= sizeof x); /* at least x is read */
    assert_true(memory.compile_seconds >= 0);
    assert_int_equal(frax_executable_memory(NULL).kernels, 0);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* A whole life with the n-th allocation failing, for n = 1, 2, … until none is left to fail. */
static FraxStatus live(FraxMode mode) {
    FraxModel *model;
    FraxExecutable *exe = NULL;
    FraxOptions options = three();
    options.mode = mode;
    options.no_cache = 1;
    double loss, y[3], rest[4][3], tangent[3] = {1, 1, 1};
    int32_t big;
    FraxStatus status = frax_model_parse(cubic, "test.frax", NULL, &model, NULL);
    if (!status) status = frax_compile(model, &options, &exe, NULL);
    if (!status)
        status = frax_run(exe, inputs, (const void *[]){&a, &b, tangent, tangent},
                          (void *[]){&loss, y, &big, rest[0], rest[1], rest[2], rest[3]}, NULL);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return status;
}

static void test_out_of_memory(void **state) {
    (void)state;
    for (FraxMode mode = FRAX_FORWARD; mode <= FRAX_VJP; mode++) {
        FraxStatus status = FRAX_MEMORY;
        for (long n = 1; status; n++) {
            mem_fail_after(n);
            status = live(mode);
            mem_fail_after(0);
            assert_true(status == FRAX_OK || status == FRAX_MEMORY);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_dtype_names),
        cmocka_unit_test(test_model_signature),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_forward_mode),
        cmocka_unit_test(test_hessian_vector_product),
        cmocka_unit_test(test_cotangents),
        cmocka_unit_test(test_cotangents_of_cotangents),
        cmocka_unit_test(test_refused_cotangents),
        cmocka_unit_test(test_sizes_from_inputs),
        cmocka_unit_test(test_what_cannot_be_differentiated),
        cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_empty_arrays_may_be_null),
        cmocka_unit_test(test_faults_of_the_text),
        cmocka_unit_test(test_several_models),
        cmocka_unit_test(test_initial_params),
        cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_memory_is_stated),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
