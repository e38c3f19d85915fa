/* test_strides.c — strides of the caller's arrays that are compiled in: the same results as with dense
 * arrays, in place.
 *
 * Every array lies between pages that cannot be touched, as close to one of them as it gets, in a layout
 * drawn at random: axes in any order, backward, with gaps, and inputs with steps of 0. What outputs leave
 * between their elements must stay as it was. FRAX_SEED chooses the draws.
 */
#define _GNU_SOURCE
#include "base.h"
#include "half.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST = 12, PATTERN = 0xa5, DRAWS = 8 };

/* ---- Draws ---- */

static uint64_t first_seed(void) {
    const char *given = getenv("FRAX_SEED");
    return given ? strtoull(given, NULL, 10) : 1;
}

static uint64_t next_random(uint64_t *seed) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int draw(uint64_t *seed, int n) {
    return (int)(next_random(seed) % (uint64_t)n);
}

static double draw_value(uint64_t *seed, FraxDType dtype, bool is_signed) {
    double u = (double)(next_random(seed) >> 11) * 0x1p-53;
    if (dtype == FRAX_I32) return floor(3 * u);
    if (dtype == FRAX_BOOL) return u < 0.5;
    return is_signed ? 1.6 * u - 0.8 : 0.2 + 0.6 * u; /* the latter serve as orders and decays */
}

/* Axes from the smallest step to the largest, in a drawn order. */
static void draw_strides(uint64_t *seed, FraxView *view, bool is_output) {
    int order[FRAX_MAX_RANK];
    int64_t step = (int64_t)frax_dtype_size(view->dtype);
    int plain = draw(seed, 3); /* 0: dense; 1: no gaps */
    if (plain == 0) return;
    for (int i = 0; i < view->rank; i++) {
        int at = draw(seed, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < view->rank; i++) {
        int axis = order[i];
        if (plain == 2) step *= 1 + (draw(seed, 3) == 0) * draw(seed, 4);
        view->strides[axis] = draw(seed, 3) == 0 ? -step : step;
        step *= view->dims[axis] > 0 ? view->dims[axis] : 1;
        if (plain == 2 && draw(seed, 3) == 0) step += (int64_t)frax_dtype_size(view->dtype) * draw(seed, 20);
        if (!is_output && draw(seed, 8) == 0) view->strides[axis] = 0;
    }
}

/* ---- Arrays between forbidden pages ---- */

typedef struct Array {
    FraxView view;
    char *pages; /* that may be touched */
    size_t bytes, whole;
    int64_t count;
    double *values; /* dense, in row-major order */
} Array;

static int64_t element_count(const FraxView *view) {
    int64_t n = 1;
    for (int i = 0; i < view->rank; i++) n *= view->dims[i];
    return n;
}

static char *element_at(const FraxView *view, int64_t i) {
    char *at = view->data;
    for (int axis = view->rank - 1; axis >= 0; axis--) {
        at += view->strides[axis] * (i % view->dims[axis]);
        i /= view->dims[axis];
    }
    return at;
}

static void place_array(Array *a, bool at_end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int64_t low = 0, high = (int64_t)frax_dtype_size(a->view.dtype);
    for (int i = 0; i < a->view.rank; i++)
        *(a->view.strides[i] < 0 ? &low : &high) += a->view.strides[i] * (a->view.dims[i] - 1);
    a->bytes = ((size_t)(high - low) + page - 1) / page * page;
    a->whole = a->bytes + 2 * page;
    char *whole = mmap(NULL, a->whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(whole != MAP_FAILED);
    a->pages = whole + page;
    assert_int_equal(mprotect(a->pages, a->bytes, PROT_READ | PROT_WRITE), 0);
    memset(a->pages, PATTERN, a->bytes);
    char *start = at_end ? a->pages + a->bytes - (size_t)(high - low) : a->pages;
    a->view.data = start - low;
}

static void free_array(Array *a) {
    if (a->pages) munmap(a->pages - (a->whole - a->bytes) / 2, a->whole);
    free(a->values);
    *a = (Array){0};
}

static void write_values(Array *a) {
    for (int64_t i = 0; i < a->count; i++)
        element_set(element_at(&a->view, i), a->view.dtype, 0, a->values[i]);
}

/* Reads the elements, and looks whether all else is as it was. */
static void read_values(Array *a, const char *name) {
    size_t size = frax_dtype_size(a->view.dtype);
    for (int64_t i = 0; i < a->count; i++) {
        char *at = element_at(&a->view, i);
        a->values[i] = element_get(at, a->view.dtype, 0);
        memset(at, PATTERN, size);
    }
    for (size_t i = 0; i < a->bytes; i++)
        if ((unsigned char)a->pages[i] != PATTERN) fail_msg("%s: a gap was written", name);
}

/* ---- Models in drawn layouts ---- */

typedef struct Case {
    const char *text;
    const char *wrt[4];
    double terms; /* the longest sum in the model: results agree to so many roundings of it; 0: bit for bit */
} Case;

typedef struct Run {
    const Case *c;
    FraxModel *model;
    size_t n[3];
    Array arrays[MOST]; /* inputs, params, outputs */
    FraxLayout layouts[MOST];
    size_t count;
    char name[64];
} Run;

static FraxExecutable *compile(const Run *r, FraxTarget target, bool strided, int threads) {
    FraxOptions options = frax_default_options();
    FraxExecutable *exe;
    FraxError err;
    options.target = target;
    options.threads = threads;
    options.no_cache = 1;
    options.wrt = r->c->wrt;
    while (options.nwrt < 4 && r->c->wrt[options.nwrt]) options.nwrt++;
    if (options.nwrt) options.mode = FRAX_REVERSE;
    if (strided) options.layouts = r->layouts, options.nlayouts = r->count;
    if (frax_compile(r->model, &options, &exe, &err))
        fail_msg("%s: %s\n%s", r->name, err.message, r->c->text);
    return exe;
}

static const char *const_name(const FraxExecutable *exe, const Run *r, size_t i, FraxRole *role) {
    *role = FRAX_INPUT;
    while (i >= r->n[*role]) i -= r->n[(*role)++];
    return frax_executable_name(exe, *role, i);
}

/* Elements along an axis of step 0 are one. */
static void repeat_values(Array *a) {
    for (int64_t i = 0; i < a->count; i++) {
        int64_t from = 0, rest = i, stride = 1;
        for (int axis = a->view.rank - 1; axis >= 0; axis--) {
            if (a->view.strides[axis]) from += rest % a->view.dims[axis] * stride;
            rest /= a->view.dims[axis];
            stride *= a->view.dims[axis];
        }
        a->values[i] = a->values[from];
    }
}

static void draw_arrays(Run *r, const FraxExecutable *dense, uint64_t *seed) {
    for (size_t i = 0; i < r->count; i++) {
        Array *a = &r->arrays[i];
        FraxRole role;
        const char *name = const_name(dense, r, i, &role);
        size_t at = i - (role > 0 ? r->n[0] : 0) - (role > 1 ? r->n[1] : 0);
        *a = (Array){.view = frax_view(frax_executable_type(dense, role, at))};
        a->count = element_count(&a->view);
        a->values = malloc((size_t)a->count * sizeof *a->values + 1);
        draw_strides(seed, &a->view, role == FRAX_OUTPUT);
        r->layouts[i] = (FraxLayout){.role = role, .name = name, .rank = a->view.rank};
        memcpy(r->layouts[i].strides, a->view.strides, sizeof a->view.strides);
        place_array(a, draw(seed, 2));
        if (role == FRAX_OUTPUT) continue;
        for (int64_t k = 0; k < a->count; k++) {
            char room[8];
            element_set(room, a->view.dtype, 0, draw_value(seed, a->view.dtype, name[0] == 'x'));
            a->values[k] = element_get(room, a->view.dtype, 0);
        }
        repeat_values(a);
        write_values(a);
    }
}

/* The results of dense arrays. */
static void run_dense(const Run *r, const FraxExecutable *exe, double *results[MOST]) {
    void *raw[MOST] = {0};
    FraxError err;
    for (size_t i = 0; i < r->count; i++) {
        const Array *a = &r->arrays[i];
        raw[i] = malloc((size_t)a->count * 8 + 1);
        for (int64_t k = 0; i < r->n[0] + r->n[1] && k < a->count; k++)
            element_set(raw[i], a->view.dtype, k, a->values[k]);
    }
    if (frax_run(exe, (const void *const *)raw, (const void *const *)raw + r->n[0], raw + r->n[0] + r->n[1],
                 &err))
        fail_msg("%s: %s", r->name, err.message);
    for (size_t i = 0; i < r->count; i++) {
        const Array *a = &r->arrays[i];
        results[i] = malloc((size_t)a->count * sizeof **results + 1);
        for (int64_t k = 0; k < a->count; k++) results[i][k] = element_get(raw[i], a->view.dtype, k);
        free(raw[i]);
    }
}

static double epsilon_of(FraxDType dtype) {
    static const double epsilon[] = {0x1p-52, 0x1p-23, 0x1p-7, 0x1p-10, 0, 0};
    return epsilon[dtype];
}

/* Sums of `terms` terms of order one, in the dtype of the result. */
static void check_results(const Run *r, double *const results[MOST], double terms, const char *what) {
    for (size_t i = r->n[0] + r->n[1]; i < r->count; i++) {
        const Array *a = &r->arrays[i];
        double largest = 1;
        for (int64_t k = 0; k < a->count; k++) largest = fmax(largest, fabs(results[i][k]));
        double bound = terms * largest * epsilon_of(a->view.dtype);
        for (int64_t k = 0; k < a->count; k++)
            if (!(fabs(a->values[k] - results[i][k]) <= bound))
                fail_msg("%s, %s: %s[%lld] is %.17g, expected %.17g within %g\n%s", r->name, what,
                         r->layouts[i].name, (long long)k, a->values[k], results[i][k], bound, r->c->text);
    }
}

static void read_outputs(Run *r) {
    for (size_t i = r->n[0] + r->n[1]; i < r->count; i++) read_values(&r->arrays[i], r->layouts[i].name);
}

static void run_pointers(Run *r, const FraxExecutable *exe) {
    void *p[MOST];
    FraxError err;
    for (size_t i = 0; i < r->count; i++) p[i] = r->arrays[i].view.data;
    if (frax_run(exe, (const void *const *)p, (const void *const *)p + r->n[0], p + r->n[0] + r->n[1], &err))
        fail_msg("%s: %s", r->name, err.message);
    read_outputs(r);
}

/* As views: nothing is allocated once the executable has run. */
static void run_in_place(Run *r, const FraxExecutable *exe) {
    FraxView views[MOST];
    FraxError err;
    for (size_t i = 0; i < r->count; i++) views[i] = r->arrays[i].view;
    long before = mem_count();
    if (frax_run_views(exe, views, r->count, &err)) fail_msg("%s: %s", r->name, err.message);
    if (mem_count() != before) fail_msg("%s: %ld allocations", r->name, mem_count() - before);
    read_outputs(r);
}

static void check_views(const Run *r, const FraxExecutable *exe) {
    for (size_t i = 0; i < r->count; i++) {
        if (!r->arrays[i].count) continue;
        FraxRole role = r->layouts[i].role;
        size_t at = i - (role > 0 ? r->n[0] : 0) - (role > 1 ? r->n[1] : 0);
        FraxView view = frax_executable_view(exe, role, at);
        assert_null(view.data);
        for (int axis = 0; axis < view.rank; axis++)
            if (view.dims[axis] > 1) assert_int_equal(view.strides[axis], r->arrays[i].view.strides[axis]);
    }
}

static void check_draw(const Case *c, uint64_t seed, int number) {
    Run r = {.c = c};
    double *dense[MOST], *exact[MOST];
    snprintf(r.name, sizeof r.name, "FRAX_SEED=%llu, case %d", (unsigned long long)seed, number);
    FraxError err;
    if (frax_model_parse(c->text, "m.frax", NULL, &r.model, &err)) fail_msg("%s", err.message);
    FraxExecutable *plain = compile(&r, FRAX_CPU, false, 1),
                   *reference = compile(&r, FRAX_REFERENCE, false, 1);
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++)
        r.count += r.n[role] = frax_executable_count(plain, role);
    assert_true(r.count <= MOST);
    draw_arrays(&r, plain, &seed);
    run_dense(&r, plain, dense);
    run_dense(&r, reference, exact);
    FraxExecutable *strided = compile(&r, FRAX_CPU, true, 1 + draw(&seed, 2));
    check_views(&r, strided);
    run_pointers(&r, strided);
    check_results(&r, c->terms ? exact : dense, c->terms, "cpu");
    run_in_place(&r, strided);
    check_results(&r, c->terms ? exact : dense, c->terms, "views");
    frax_executable_destroy(strided);
    for (FraxTarget target = FRAX_EAGER; target <= FRAX_REFERENCE; target++) {
        FraxExecutable *other = compile(&r, target, true, 1);
        run_pointers(&r, other);
        check_results(&r, exact, target == FRAX_EAGER ? MAX(c->terms, 4) : 0, "eager, reference");
        frax_executable_destroy(other);
    }
    for (size_t i = 0; i < r.count; i++) free(dense[i]), free(exact[i]), free_array(&r.arrays[i]);
    frax_executable_destroy(plain);
    frax_executable_destroy(reference);
    frax_model_destroy(r.model);
}

static void check_cases(const Case *cases, size_t n) {
    uint64_t seed = first_seed();
    printf("FRAX_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < (getenv("FRAX_SEED") ? 1 : DRAWS); k++)
            check_draw(&cases[i], seed + (uint64_t)k, (int)i);
}

/* ---- Operations ---- */

static void test_elements(void **state) {
    (void)state;
    static const Case cases[] = {
        {"model m(x: f64[3,5,7], y: f64[7], b: bool[3,5,7]) {\n z = where(b, x * y, x - y)\n w = x > y\n"
         " return z, w\n}\n",
         {0},
         0},
        {"model m(x: f32[6,17], h: f16[6,17], g: bf16[17], k: i32[6,1]) {\n p = x + cast(h, f32)\n"
         " q = cast(x, bf16) + g\n s = k * 2\n t = h * h\n return p, q, s, t\n}\n",
         {0},
         0},
        {"model m(x: f64[33,40]) {\n y = 2 * x\n t = transpose(x)\n return x, y, t\n}\n", {0}, 0},
        {"model m(x: f64[9,8]) {\n a = flip(x, axis=0)\n b = x[1:8:3, ::2]\n c = pad(x, (2, 3), axis=1)\n"
         " d = concat([x, a], axis=1)\n return a, b, c, d\n}\n",
         {0},
         0},
        {"model m(x: f64[6,4,3]) {\n a = reshape(x, [24,3])\n b = reshape(x, [8,9]) * 2\n c = reshape(x, "
         "[72])\n"
         " d = reshape(x[1:], [5,12])\n e = reshape(x, [3,4,6])\n return a, b, c, d, e\n}\n",
         {0},
         0},
        {"model m(x: f64[5,1,6], y: f64[1,4,6]) {\n s = x + y\n t = expand(x, 0, 3)\n return s, t\n}\n",
         {0},
         0},
        {"model m(x: f32[70,65]) {\n y = transpose(x) + 1\n z = y * y\n return z, y\n}\n", {0}, 0},
        {"model m(x: f64[], y: f64[1], z: f64[0,3]) {\n a = x + y\n b = z * 2\n return a, b\n}\n", {0}, 0},
    };
    check_cases(cases, COUNT(cases));
}

static void test_reductions(void **state) {
    (void)state;
    static const Case cases[] = {
        {"model m(x: f64[6,7,9]) {\n a = sum(x, axis=0)\n b = sum(x, axis=1)\n c = sum(x, axis=2)\n"
         " d = mean(x)\n e = max(x, axis=1)\n f = argmax(x, axis=2)\n g = sum(x, axis=(0, 2))\n"
         " return a, b, c, d, e, f, g\n}\n",
         {0},
         400},
        {"model m(x: f32[11,37], k: i32[11]) {\n loss = cross_entropy(x, k)\n s = softmax(x, axis=0)\n"
         " return loss, s\n}\n",
         {"x"},
         400},
        {"model m(x: f64[5,40], gamma: f64[40]) {\n y = layer_norm(x, gamma)\n loss = sum(y^3)\n"
         " return loss, y\n}\n",
         {"x", "gamma"},
         4000},
        {"model m(x: f64[40000]) {\n s = sum(x * x)\n return s\n}\n", {0}, 40000},
    };
    check_cases(cases, COUNT(cases));
}

static void test_products(void **state) {
    (void)state;
    static const Case cases[] = {
        {"model m(x: f64[9,13], y: f64[13,6]) {\n z = x @ y\n return z\n}\n", {0}, 100},
        {"model m(x: f64[13,9], y: f64[6,13]) {\n z = transpose(x) @ transpose(y) + 1\n return z\n}\n",
         {0},
         100},
        {"model m(x: f32[3,12,20], y: f32[20,16], w: f32[16]) {\n loss = sum((x @ y + w)^2)\n"
         " return loss\n}\n",
         {"x", "y", "w"},
         2000},
        {"model m(x: f64[90,80], y: f64[80,96]) {\n z = x @ y\n return z\n}\n", {0}, 400},
        {"model m(x: f32[2,96,96], y: f32[2,96,96]) {\n z = x @ y\n t = transpose(z, [0, 2, 1])\n"
         " return z, t\n}\n",
         {0},
         400},
        {"model m(x: f64[80,90], y: f64[100,80]) {\n z = transpose(x) @ transpose(y)\n loss = sum(z * z)\n"
         " return loss, z\n}\n",
         {"x", "y"},
         40000},
        {"model m(x: f64[2,40,90], y: f64[90,96]) {\n z = reshape(x, [80,90]) @ y\n return z\n}\n", {0}, 400},
        {"model m(x: f32[1,50], y: f32[50,1], u: f32[30,1]) {\n z = x @ y\n o = u @ x\n return z, o\n}\n",
         {0},
         200},
    };
    check_cases(cases, COUNT(cases));
}

static void test_fractional(void **state) {
    (void)state;
    static const Case cases[] = {
        {"model m(x: f32[8,32], a: f32[8]) {\n y = frac(x, a[:, none], kind=weyl)\n loss = sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "a"},
         4000},
        {"model m(x: f64[24,5], a: f64[]) {\n y = frac(x, a, kind=weyl, axis=0)\n loss = sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "a"},
         20000},
        {"model m(x: f64[3,16,20], a: f64[]) {\n y = frac(x, a, kind=laplacian, axes=(1, 2))\n loss = "
         "sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "a"},
         40000},
        {"model m(x: f64[4,60], d: f64[4]) {\n y = frac(x, d[:, none], kind=grunwald)\n loss = sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "d"},
         8000},
        {"model m(x: f64[600,3], d: f64[]) {\n y = frac(x, d, kind=grunwald, axis=0)\n loss = sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "d"},
         200000},
        {"model m(w: f64[3,9], x: f64[3,50]) {\n y = causal_conv(w, x, engine=direct)\n loss = sum(y^2)\n"
         " return loss, y\n}\n",
         {"x", "w"},
         4000},
        {"model m(w: f64[200], x: f64[6,200]) {\n y = causal_conv(reshape(w, [1,200]), x, engine=fft)\n"
         " return y\n}\n",
         {0},
         4000},
        {"model m(w: f64[4,10], x: f64[40]) {\n y = causal_conv(reshape(w, [40]), x, engine=direct)\n"
         " return y\n}\n",
         {0},
         400},
        {"model m(c: f64[2,6], r: f64[2,6], x: f64[2,700]) {\n y = exponential_conv(c, r, x)\n loss = "
         "sum(y^2)\n"
         " return loss, y\n}\n",
         {"c", "x", "r"},
         200000},
        {"model m(x: f32[4,32], p: f32[17], q: f32[4,17]) {\n"
         " y = spectral_filter(x, w => (1 / (1 + w^2), 0.1 * w))\n return y\n}\n",
         {0},
         400},
        {"model m(a: f64[5]) {\n w = grunwald_weights(a[:, none], 40)\n loss = sum(w^2)\n return loss, "
         "w\n}\n",
         {"a"},
         4000},
    };
    check_cases(cases, COUNT(cases));
}

/* ---- What is particular ---- */

static FraxExecutable *compile_text(const char *text, const FraxLayout *layouts, size_t n,
                                    FraxStatus expected, FraxError *err) {
    FraxModel *model;
    FraxExecutable *exe;
    FraxOptions options = frax_default_options();
    options.layouts = layouts;
    options.nlayouts = n;
    options.no_cache = 1;
    if (strstr(text, "loss")) options.mode = FRAX_REVERSE;
    if (frax_model_parse(text, "m.frax", NULL, &model, err)) fail_msg("%s", err->message);
    FraxStatus status = frax_compile(model, &options, &exe, err);
    if (status != expected) fail_msg("status %d: %s", status, err->message);
    frax_model_destroy(model);
    return exe;
}

/* Each row ends where a page ends, and the next page is out of bounds. */
static void test_forbidden_gaps(void **state) {
    (void)state;
    enum { ROWS = 5, N = 13 };
    static const char text[] = "model m(x: f32[5,13], w: f32[13,13]) {\n y = exp(x) @ w\n s = softmax(x)\n"
                               " f = frac(x, 0.5, kind=weyl)\n t = sum(x, axis=0)\n return y, s, f, t\n}\n";
    const int64_t page = sysconf(_SC_PAGESIZE), stride = 2 * page;
    FraxError err;
    FraxLayout layouts[] = {{FRAX_INPUT, "x", 2, {stride, 4}},
                            {FRAX_OUTPUT, "y", 2, {stride, 4}},
                            {FRAX_OUTPUT, "s", 2, {stride, 4}},
                            {FRAX_OUTPUT, "f", 2, {stride, 4}}};
    float w[N * N] = {0}, dense[ROWS * N], results[3][ROWS * N], t[2][N], *rows[4];
    char *base[4];
    for (int a = 0; a < 4; a++) {
        base[a] =
            mmap(NULL, (size_t)stride * ROWS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(base[a] != MAP_FAILED);
        for (int r = 0; r < ROWS; r++)
            assert_int_equal(mprotect(base[a] + r * stride + page, (size_t)page, PROT_NONE), 0);
        rows[a] = (float *)(base[a] + page) - N;
    }
    for (int i = 0; i < ROWS * N; i++)
        dense[i] = (float)(i % 7) / 8, rows[0][i / N * (stride / 4) + i % N] = dense[i];
    for (int i = 0; i < N * N; i++) w[i] = (float)(i % 5) / 4;
    FraxExecutable *plain = compile_text(text, NULL, 0, FRAX_OK, &err),
                   *exe = compile_text(text, layouts, 4, FRAX_OK, &err);
    assert_int_equal(frax_run(plain, (const void *[]){dense, w}, NULL,
                              (void *[]){results[0], results[1], results[2], t[0]}, NULL),
                     FRAX_OK);
    assert_int_equal(
        frax_run(exe, (const void *[]){rows[0], w}, NULL, (void *[]){rows[1], rows[2], rows[3], t[1]}, NULL),
        FRAX_OK);
    for (int o = 0; o < 3; o++) /* sums of 13 terms of order one, in another order perhaps */
        for (int i = 0; i < ROWS * N; i++)
            assert_true(fabsf(rows[o + 1][i / N * (stride / 4) + i % N] - results[o][i]) <= 1e-5f);
    for (int i = 0; i < N; i++) assert_true(fabsf(t[0][i] - t[1][i]) <= 1e-6f);
    for (int a = 0; a < 4; a++) munmap(base[a], (size_t)stride * ROWS);
    frax_executable_destroy(plain);
    frax_executable_destroy(exe);
}

/* The message counts elements in row-major order, wherever they lie. */
static void test_guards(void **state) {
    (void)state;
    static const char text[] = "model m(x: f64[4,50]) {\n y = guard(x, 0, 1) * 2\n return y\n}\n";
    FraxError err, expected;
    FraxLayout layout = {FRAX_INPUT, "x", 2, {-8, 4 * 8}};
    FraxExecutable *plain = compile_text(text, NULL, 0, FRAX_OK, &expected),
                   *exe = compile_text(text, &layout, 1, FRAX_OK, &err);
    double x[200] = {0}, turned[200] = {0}, y[200];
    for (int bad = 0; bad < 200; bad += 33) {
        x[bad] = turned[bad % 50 * 4 + 3 - bad / 50] = 2;
        assert_int_equal(frax_run(plain, (const void *[]){x}, NULL, (void *[]){y}, &expected), FRAX_VALUE);
        assert_int_equal(frax_run(exe, (const void *[]){turned + 3}, NULL, (void *[]){y}, &err), FRAX_VALUE);
        assert_string_equal(err.message, expected.message);
        x[bad] = turned[bad % 50 * 4 + 3 - bad / 50] = 0;
    }
    assert_int_equal(frax_run(exe, (const void *[]){turned + 3}, NULL, (void *[]){y}, &err), FRAX_OK);
    frax_executable_destroy(plain);
    frax_executable_destroy(exe);
}

/* Real and imaginary parts side by side in memory, on both sides, without a copy. */
static void test_woven(void **state) {
    (void)state;
    enum { N = 37 };
    static const char text[] =
        "model m(re: f64[37], im: f64[37]) {\n p = re * 2 - im\n q = im + re\n return p, q\n}\n";
    FraxLayout layouts[] = {{FRAX_INPUT, "re", 1, {16}},
                            {FRAX_INPUT, "im", 1, {16}},
                            {FRAX_OUTPUT, "p", 1, {16}},
                            {FRAX_OUTPUT, "q", 1, {-16}}};
    double in[2 * N], out[2 * N];
    FraxView views[4];
    FraxError err;
    FraxExecutable *exe = compile_text(text, layouts, 4, FRAX_OK, &err);
    double *starts[] = {in, in + 1, out, out + 2 * N - 1};
    for (int i = 0; i < 2 * N; i++) in[i] = i * i % 11;
    for (size_t i = 0; i < 4; i++) {
        views[i] = frax_executable_view(exe, i < 2 ? FRAX_INPUT : FRAX_OUTPUT, i % 2);
        views[i].data = starts[i];
    }
    for (int call = 0; call < 2; call++) {
        long before = mem_count();
        if (frax_run_views(exe, views, 4, &err)) fail_msg("%s", err.message);
        if (call) assert_int_equal(mem_count() - before, 0);
        for (int i = 0; i < N; i++) {
            assert_true(out[2 * i] == in[2 * i] * 2 - in[2 * i + 1]);
            assert_true(out[2 * (N - 1 - i) + 1] == in[2 * i + 1] + in[2 * i]);
        }
    }
    views[3].data = out + 2 * N - 2; /* now they meet: copied, and the later one is seen */
    if (frax_run_views(exe, views, 4, &err)) fail_msg("%s", err.message);
    assert_true(out[2 * (N - 1)] == in[1] + in[0]);
    frax_executable_destroy(exe);
}

/* Views in other layouts than the compiled ones are copied; where that cannot be, they are refused. */
static void test_other_views(void **state) {
    (void)state;
    static const char text[] = "model m(x: f32[3,5], c: f32[5]) {\n y = x * c\n return y\n}\n";
    FraxLayout layouts[] = {
        {FRAX_INPUT, "x", 2, {-4, 16}}, {FRAX_INPUT, "c", 1, {0}}, {FRAX_OUTPUT, "y", 2, {4, 24}}};
    FraxError err;
    FraxExecutable *exe = compile_text(text, layouts, 3, FRAX_OK, &err);
    float x[15], y[15], c = 3, many[5] = {3, 3, 3, 3, 3};
    for (int i = 0; i < 15; i++) x[i] = (float)i;
    FraxView views[3] = {frax_executable_view(exe, FRAX_INPUT, 0), frax_executable_view(exe, FRAX_INPUT, 1),
                         frax_executable_view(exe, FRAX_OUTPUT, 0)};
    for (int v = 0; v < 3; v += 2) views[v].strides[0] = 20, views[v].strides[1] = 4;
    views[0].data = x, views[1].data = &c, views[2].data = y;
    if (frax_run_views(exe, views, 3, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 15; i++) assert_true(y[i] == 3 * x[i]);
    views[1].data = many;
    views[1].strides[0] = 4;
    assert_int_equal(frax_run_views(exe, views, 3, &err), FRAX_VALUE);
    assert_non_null(
        strstr(err.message, "input c: it was compiled for strides that lay its elements over each other"));
    frax_executable_destroy(exe);
}

/* Rows that are windows of one signal, each a sample on: read where they lie, and never from a copy. */
static void test_windows(void **state) {
    (void)state;
    enum { ROWS = 9, WIDTH = 6 };
    static const char text[] = "model m(x: f64[9,6]) {\n y = frac(x, 0.3, kind=grunwald)\n"
                               " g = 2 * reshape(x, [54])\n return y, g\n}\n";
    FraxLayout layout = {FRAX_INPUT, "x", 2, {8, 8}};
    FraxError err;
    double signal[ROWS + WIDTH - 1], x[ROWS * WIDTH], y[2][ROWS * WIDTH], g[2][ROWS * WIDTH];
    for (int i = 0; i < ROWS + WIDTH - 1; i++) signal[i] = i * i % 7;
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = signal[i / WIDTH + i % WIDTH];
    FraxExecutable *plain = compile_text(text, NULL, 0, FRAX_OK, &err),
                   *exe = compile_text(text, &layout, 1, FRAX_OK, &err);
    assert_int_equal(frax_run(plain, (const void *[]){x}, NULL, (void *[]){y[0], g[0]}, NULL), FRAX_OK);
    assert_int_equal(frax_run(exe, (const void *[]){signal}, NULL, (void *[]){y[1], g[1]}, NULL), FRAX_OK);
    for (int i = 0; i < ROWS * WIDTH; i++) /* sums of 6 terms of order one */
        assert_true(fabs(y[1][i] - y[0][i]) <= 1e-13 && g[1][i] == g[0][i]);
    FraxView views[3] = {frax_executable_view(plain, FRAX_INPUT, 0),
                         frax_executable_view(exe, FRAX_OUTPUT, 0),
                         frax_executable_view(exe, FRAX_OUTPUT, 1)};
    views[0].data = x, views[1].data = y[1], views[2].data = g[1];
    assert_int_equal(frax_run_views(exe, views, 3, &err), FRAX_VALUE);
    assert_non_null(strstr(err.message, "lay its elements over each other"));
    frax_executable_destroy(plain);
    frax_executable_destroy(exe);
}

/* A state is written over its own param, in a layout of both; with another one beside it. */
static void test_states(void **state) {
    (void)state;
    enum { CHANNELS = 3, CHUNK = 16, CHUNKS = 4 };
    static const char text[] =
        "model m(x: f64[3,T]) {\n y = frac(x, 0.4, kind=caputo_fabrizio)\n return y\n}\n";
    const FraxSize size = {"T", CHUNK * CHUNKS};
    double x[CHANNELS * CHUNK], expected[CHANNELS * CHUNK], y[CHANNELS * CHUNK], room[2][8][256] = {{{0}}};
    FraxModel *model;
    FraxExecutable *exe[2];
    FraxError err;
    FraxLayout layouts[24] = {{FRAX_INPUT, "x", 2, {8, CHANNELS * 8}}};
    FraxOptions options = frax_default_options();
    options.sizes = &size, options.nsizes = 1, options.no_cache = 1;
    options.stream = "T", options.chunk = CHUNK;
    assert_int_equal(frax_model_parse(text, "m.frax", NULL, &model, NULL), FRAX_OK);
    if (frax_compile(model, &options, &exe[0], &err)) fail_msg("%s", err.message);
    size_t k = frax_executable_states(exe[0]), np = frax_executable_count(exe[0], FRAX_PARAM), n = 1;
    assert_true(k > 0 && k <= 8 && np == k);
    for (size_t i = 0; i < k; i++)
        for (FraxRole role = FRAX_PARAM; role <= FRAX_OUTPUT; role++) {
            FraxTensor type = frax_executable_type(exe[0], role, role == FRAX_OUTPUT ? i + 1 : i);
            FraxLayout *l = &layouts[n++];
            *l = (FraxLayout){
                role, frax_executable_name(exe[0], role, role == FRAX_OUTPUT ? i + 1 : i), type.rank, {0}};
            int64_t step = 16;
            for (int axis = 0; axis < type.rank; axis++) l->strides[axis] = step, step *= type.dims[axis];
        }
    options.layouts = layouts, options.nlayouts = n;
    if (frax_compile(model, &options, &exe[1], &err)) fail_msg("%s", err.message);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        double turned[CHANNELS * CHUNK];
        for (int i = 0; i < CHANNELS * CHUNK; i++)
            turned[i % CHUNK * CHANNELS + i / CHUNK] = x[i] = sin(i * 0.3 + chunk);
        for (int e = 0; e < 2; e++) {
            const void *params[8];
            void *outputs[9] = {e ? y : expected};
            for (size_t i = 0; i < k; i++) params[i] = outputs[i + 1] = room[e][i];
            if (frax_run(exe[e], (const void *[]){e ? turned : x}, params, outputs, &err))
                fail_msg("%s", err.message);
        }
        for (int i = 0; i < CHANNELS * CHUNK; i++) assert_true(fabs(y[i] - expected[i]) <= 1e-14);
    }
    for (int e = 0; e < 2; e++) frax_executable_destroy(exe[e]);
    frax_model_destroy(model);
}

/* A layout makes another entry of the kernel cache. */
static void test_cache(void **state) {
    (void)state;
    char folder[] = "/tmp/frax-strides-XXXXXX", command[64];
    static const char text[] = "model m(x: f64[4,6]) {\n y = x * 1.25\n return y\n}\n";
    assert_non_null(mkdtemp(folder));
    char *old = getenv("XDG_CACHE_HOME") ? strdup(getenv("XDG_CACHE_HOME")) : NULL;
    setenv("XDG_CACHE_HOME", folder, 1);
    FraxLayout layouts[] = {{FRAX_INPUT, "x", 2, {8, 32}}, {FRAX_OUTPUT, "y", 2, {8, 32}}};
    FraxModel *model;
    assert_int_equal(frax_model_parse(text, "m.frax", NULL, &model, NULL), FRAX_OK);
    for (int again = 0; again < 2; again++)
        for (size_t n = 0; n <= 2; n++) {
            FraxOptions options = frax_default_options();
            FraxExecutable *exe;
            double x[24], y[24];
            options.layouts = layouts, options.nlayouts = n;
            assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
            assert_int_equal(frax_executable_memory(exe).from_cache, again);
            for (int i = 0; i < 24; i++) x[i] = i;
            assert_int_equal(frax_run(exe, (const void *[]){x}, NULL, (void *[]){y}, NULL), FRAX_OK);
            for (int i = 0; i < 24; i++) {
                int turned = i % 6 * 4 + i / 6;
                assert_true(y[n > 1 ? turned : i] == 1.25 * x[n > 0 ? turned : i]);
            }
            frax_executable_destroy(exe);
        }
    frax_model_destroy(model);
    if (old) setenv("XDG_CACHE_HOME", old, 1);
    free(old);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_refused(void **state) {
    (void)state;
    static const char text[] = "model m(x: f64[4,6]) {\n param w: f64[6] = ones\n y = x * w\n loss = sum(y)\n"
                               " return loss, y\n}\n";
    static const struct {
        FraxLayout layout;
        FraxStatus status;
        const char *message;
    } cases[] = {
        {{FRAX_INPUT, "xx", 2, {48, 8}}, FRAX_NAME, "model m has no input xx; did you mean x?"},
        {{FRAX_INPUT, "w", 1, {8}}, FRAX_NAME, "model m has no input w, but a param of that name"},
        {{FRAX_INPUT, NULL, 1, {8}}, FRAX_USAGE, "options.layouts[0] has no name"},
        {{(FraxRole)3, "x", 1, {8}}, FRAX_USAGE, "role 3"},
        {{FRAX_INPUT, "x", 1, {8}}, FRAX_SHAPE, "input x: got strides of rank 1, expected those of f64[4,6]"},
        {{FRAX_PARAM, "w", 1, {12}},
         FRAX_VALUE,
         "param w: 12 bytes along axis 0 are not a multiple of the 8 of f64"},
        {{FRAX_OUTPUT, "y", 2, {0, 8}}, FRAX_VALUE, "output y: its elements may lie over each other"},
        {{FRAX_OUTPUT, "grad.w", 1, {0}}, FRAX_VALUE, "output grad.w: its elements may lie over each other"},
        {{FRAX_OUTPUT, "y", 2, {40, 8}}, FRAX_VALUE, "output y: its elements may lie over each other"},
        {{FRAX_INPUT, "x", 2, {INT64_MAX / 8 * 8, 8}}, FRAX_VALUE, "input x: its strides reach beyond"},
        {{FRAX_INPUT, "x", 2, {INT64_MIN, 8}}, FRAX_VALUE, "input x: its strides reach beyond"},
    };
    FraxError err;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_null(compile_text(text, &cases[i].layout, 1, cases[i].status, &err));
        if (!strstr(err.message, cases[i].message)) fail_msg("%s", err.message);
    }
    FraxLayout twice[] = {{FRAX_INPUT, "x", 2, {48, 8}}, {FRAX_INPUT, "x", 2, {8, 48}}};
    assert_null(compile_text(text, twice, 2, FRAX_NAME, &err));
    assert_non_null(strstr(err.message, "input x is given twice"));
    assert_null(compile_text(text, NULL, 1, FRAX_USAGE, &err));
    FraxModel *model;
    FraxTrainer *trainer;
    FraxOptions options = frax_default_options();
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    options.layouts = twice, options.nlayouts = 1;
    assert_int_equal(frax_model_parse(text, NULL, NULL, &model, NULL), FRAX_OK);
    assert_int_equal(frax_trainer_create(model, &options, &fit, &trainer, &err), FRAX_USAGE);
    frax_model_destroy(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements),       cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_products),       cmocka_unit_test(test_fractional),
        cmocka_unit_test(test_forbidden_gaps), cmocka_unit_test(test_guards),
        cmocka_unit_test(test_woven),          cmocka_unit_test(test_other_views),
        cmocka_unit_test(test_windows),        cmocka_unit_test(test_states),
        cmocka_unit_test(test_cache),          cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
