/* test_views.c — frax_run_views: arrays of the host in any layout give what dense ones give, dense ones are
 * used where they lie, and what cannot be used is refused with a reason.
 */
#include "base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 3, COLUMNS = 5, N = ROWS * COLUMNS };

static const char text[] = "model m(x: f32[R, C], k: i32[]) {\n"
                           "    param w: f32[C, 2] = ones\n"
                           "    y = x @ w\n"
                           "    z = 2 * x\n"
                           "    n = k + 1\n"
                           "    return y, z, n\n"
                           "}\n";

typedef struct Fixture {
    FraxExecutable *exe;
    float x[N], w[2 * COLUMNS], y[2 * ROWS], z[N]; /* dense, with the right results */
    int32_t k, n;
} Fixture;

static FraxView view_of(const FraxExecutable *exe, FraxRole role, size_t i, void *data) {
    FraxTensor tensor = frax_executable_type(exe, role, i);
    tensor.data = data;
    return frax_view(tensor);
}

/* The six views of the fixture's own dense arrays, but for outputs, which are given. */
static void dense_views(Fixture *f, float *y, float *z, int32_t *n, FraxView views[6]) {
    views[0] = view_of(f->exe, FRAX_INPUT, 0, f->x);
    views[1] = view_of(f->exe, FRAX_INPUT, 1, &f->k);
    views[2] = view_of(f->exe, FRAX_PARAM, 0, f->w);
    views[3] = view_of(f->exe, FRAX_OUTPUT, 0, y);
    views[4] = view_of(f->exe, FRAX_OUTPUT, 1, z);
    views[5] = view_of(f->exe, FRAX_OUTPUT, 2, n);
}

static int setup(void **state) {
    static Fixture f;
    static const FraxSize sizes[] = {{"R", ROWS}, {"C", COLUMNS}};
    FraxModel *model;
    FraxOptions options = frax_default_options();
    options.sizes = sizes;
    options.nsizes = 2;
    options.no_cache = 1;
    assert_int_equal(frax_model_parse(text, "m.frax", NULL, &model, NULL), FRAX_OK);
    assert_int_equal(frax_compile(model, &options, &f.exe, NULL), FRAX_OK);
    frax_model_destroy(model);
    for (int i = 0; i < N; i++) f.x[i] = (float)(i * i % 7) - 2;
    for (int i = 0; i < 2 * COLUMNS; i++) f.w[i] = (float)i - 3;
    f.k = 41;
    assert_int_equal(
        frax_run(f.exe, (const void *[]){f.x, &f.k}, (const void *[]){f.w}, (void *[]){f.y, f.z, &f.n}, NULL),
        FRAX_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    frax_executable_destroy(((Fixture *)*state)->exe);
    return 0;
}

static void run(const Fixture *f, const FraxView views[6]) {
    FraxError err;
    if (frax_run_views(f->exe, views, 6, &err)) fail_msg("%s", err.message);
}

static void test_dense(void **state) {
    Fixture *f = *state;
    float y[2 * ROWS], z[N];
    int32_t n;
    FraxView views[6];
    dense_views(f, y, z, &n, views);
    assert_int_equal(views[0].strides[0], COLUMNS * 4);
    assert_int_equal(views[0].strides[1], 4);
    long before = mem_count();
    run(f, views);
    run(f, views);
    assert_int_equal(mem_count() - before, 0); /* nothing was copied */
    assert_memory_equal(y, f->y, sizeof y);
    assert_memory_equal(z, f->z, sizeof z);
    assert_int_equal(n, 42);
}

/* A transposed input, a param with gaps, an output from back to front, one in every second column. */
static void test_layouts(void **state) {
    Fixture *f = *state;
    float x[N], w[COLUMNS][3], y[2 * ROWS], z[ROWS][2 * COLUMNS];
    FraxView views[6];
    dense_views(f, y, &z[0][0], &f->n, views);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) x[c * ROWS + r] = f->x[r * COLUMNS + c], z[r][2 * c + 1] = 7;
    for (int c = 0; c < COLUMNS; c++) w[c][0] = f->w[2 * c], w[c][2] = f->w[2 * c + 1];
    views[0].data = x;
    views[0].strides[0] = 4, views[0].strides[1] = ROWS * 4;
    views[2].data = w;
    views[2].strides[0] = sizeof w[0], views[2].strides[1] = 8;
    views[3].data = &y[2 * ROWS - 1];
    views[3].strides[0] = -8, views[3].strides[1] = -4;
    views[4].strides[0] = sizeof z[0], views[4].strides[1] = 8;
    run(f, views);
    for (int i = 0; i < 2 * ROWS; i++) assert_true(y[i] == f->y[2 * ROWS - 1 - i]);
    for (int i = 0; i < N; i++) {
        assert_true(z[i / COLUMNS][i % COLUMNS * 2] == f->z[i]);
        assert_true(z[i / COLUMNS][i % COLUMNS * 2 + 1] == 7);
    }
}

/* One element for all of a param; strides of axes of size 1 count for nothing. */
static void test_broadcast_and_size_one(void **state) {
    Fixture *f = *state;
    float one = 1, y[2 * ROWS];
    FraxView views[6];
    dense_views(f, y, f->z, &f->n, views);
    views[2].data = &one;
    views[2].strides[0] = views[2].strides[1] = 0;
    run(f, views);
    for (int r = 0; r < ROWS; r++) {
        float sum = 0;
        for (int c = 0; c < COLUMNS; c++) sum += f->x[r * COLUMNS + c];
        assert_true(y[2 * r] == sum && y[2 * r + 1] == sum); /* small whole numbers: exact in any order */
    }
}

/* In place, and from an address between the elements. */
static void test_overlap_and_misalignment(void **state) {
    Fixture *f = *state;
    float x[N], y[2 * ROWS];
    char bytes[sizeof x + 1];
    FraxView views[6];
    memcpy(x, f->x, sizeof x);
    dense_views(f, y, x, &f->n, views);
    views[0].data = x;
    run(f, views);
    assert_memory_equal(x, f->z, sizeof x);
    assert_memory_equal(y, f->y, sizeof y);

    memcpy(bytes + 1, f->x, sizeof x);
    dense_views(f, y, (float *)(void *)(bytes + 1), &f->n, views);
    views[0].data = bytes + 1;
    run(f, views);
    assert_memory_equal(bytes + 1, f->z, sizeof x);
}

static void refused(const Fixture *f, const FraxView *views, size_t count, FraxStatus status,
                    const char *message) {
    FraxError err;
    assert_int_equal(frax_run_views(f->exe, views, count, &err), status);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
}

static void test_refusals(void **state) {
    Fixture *f = *state;
    FraxView views[6], good[6];
    dense_views(f, f->y, f->z, &f->n, good);
#define REFUSED(i, change, status, message)                                                                  \
    do {                                                                                                     \
        memcpy(views, good, sizeof views);                                                                   \
        views[i].change;                                                                                     \
        refused(f, views, 6, status, message);                                                               \
    } while (0)
    refused(f, good, 5, FRAX_USAGE, "got 5 views, expected 6: inputs (2), params (1), outputs (3)");
    refused(f, NULL, 6, FRAX_USAGE, "views is NULL");
    assert_int_equal(frax_run_views(NULL, good, 6, NULL), FRAX_USAGE);
    REFUSED(0, data = NULL, FRAX_USAGE, "input x: data is NULL");
    REFUSED(0, dtype = FRAX_F64, FRAX_TYPE, "input x: got f64[3,5], expected f32[3,5]");
    REFUSED(0, dtype = (FraxDType)77, FRAX_USAGE, "fill all fields");
    REFUSED(0, dims[1] = 4, FRAX_SHAPE, "got f32[3,4], but this executable was compiled for f32[3,5]");
    REFUSED(2, rank = 1, FRAX_SHAPE, "param w: got f32[5]");
    REFUSED(2, rank = 99, FRAX_USAGE, "rank 99");
    REFUSED(3, read_only = 1, FRAX_VALUE, "output y: the memory is read-only");
    REFUSED(4, strides[0] = 0, FRAX_VALUE, "output z: its elements may lie over each other");
    REFUSED(3, strides[0] = views[3].strides[1], FRAX_VALUE,
            "output y: its elements may lie over each other");
    REFUSED(3, strides[1] = views[3].strides[0], FRAX_VALUE,
            "output y: its elements may lie over each other");
    REFUSED(3, strides[0] = -4, FRAX_VALUE, "output y: its elements may lie over each other");
    REFUSED(3, strides[1] = 3, FRAX_VALUE, "output y: its elements may lie over each other");
    REFUSED(0, strides[0] = INT64_MAX, FRAX_VALUE, "beyond the address space");
#undef REFUSED
    FraxError err;
    char bytes[16];
    void *odd = bytes + ((uintptr_t)bytes % 2 == 0);
    assert_int_equal(frax_run(f->exe, (const void *[]){f->x, odd}, (const void *[]){f->w},
                              (void *[]){f->y, f->z, &f->n}, &err),
                     FRAX_USAGE);
    assert_non_null(strstr(err.message, "an array of i32 begins at a multiple of 4 bytes"));
    assert_int_equal(frax_run(f->exe, (const void *[]){f->x, &f->k}, (const void *[]){f->w},
                              (void *[]){odd, f->z, &f->n}, &err),
                     FRAX_USAGE);
    assert_non_null(strstr(err.message, "output y"));
}

static void test_failing_allocations(void **state) {
    Fixture *f = *state;
    float x[N], y[2 * ROWS];
    FraxView views[6];
    memcpy(x, f->x, sizeof x);
    dense_views(f, y, x, &f->n, views);
    views[0].data = x;
    mem_fail_after(1);
    assert_int_equal(frax_run_views(f->exe, views, 6, NULL), FRAX_MEMORY);
    mem_fail_after(0);
    run(f, views);
}

/* A state may be written over its own param without a buffer; empty arrays need no memory. */
static void test_states_and_empty(void **state) {
    (void)state;
    FraxModel *model;
    FraxExecutable *exe;
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"T", 8}};
    options.nsizes = 1;
    options.stream = "T";
    options.chunk = 4;
    options.no_cache = 1;
    assert_int_equal(frax_model_parse("model m(x: f64[T]) {\n d = x[1:] - x[:-1]\n return d\n}\n", NULL, NULL,
                                      &model, NULL),
                     FRAX_OK);
    assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
    size_t states = frax_executable_states(exe), n = 0;
    double x[8] = {1, 4, 9, 16, 25, 36, 49, 64}, d[4], memory[8][8] = {{0}};
    assert_true(states > 0 && states <= 8);
    FraxView views[2 + 16];
    views[n++] = view_of(exe, FRAX_INPUT, 0, x);
    for (size_t i = 0; i < states; i++) views[n++] = view_of(exe, FRAX_PARAM, i, memory[i]);
    views[n++] = view_of(exe, FRAX_OUTPUT, 0, d);
    for (size_t i = 0; i < states; i++) views[n++] = view_of(exe, FRAX_OUTPUT, 1 + i, memory[i]);
    assert_int_equal(frax_run_views(exe, views, n, NULL), FRAX_OK);
    assert_true(d[1] == 3 && d[3] == 7);
    views[0].data = x + 4;
    long before = mem_count();
    assert_int_equal(frax_run_views(exe, views, n, NULL), FRAX_OK);
    assert_int_equal(mem_count() - before, 0);
    assert_true(d[0] == 9 && d[3] == 15);
    frax_executable_destroy(exe);

    options.stream = NULL;
    options.sizes = (FraxSize[]){{"T", 1}};
    assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
    FraxView few[] = {view_of(exe, FRAX_INPUT, 0, x), view_of(exe, FRAX_OUTPUT, 0, NULL)};
    assert_int_equal(few[1].dims[0], 0);
    assert_int_equal(frax_run_views(exe, few, 2, NULL), FRAX_OK);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_broadcast_and_size_one),
        cmocka_unit_test(test_overlap_and_misalignment),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_states_and_empty),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
