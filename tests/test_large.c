/* test_large.c — what is compiled otherwise for arrays beyond a megabyte, which the other tests do not have:
 * rows that are fetched ahead of their use, of a length that is no multiple of a vector, and products left to
 * the library; against the eager target.
 */
#include "base.h"
#include "files.h"
#include "rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ROWS = 301, COLUMNS = 1029 };

static void run_on(FraxTarget target, const char *text, const float *x, float *y) {
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    FraxOptions options = frax_default_options();
    options.target = target;
    options.no_cache = 1;
    if (frax_model_parse(text, "rows.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
    if (frax_run(exe, (const void *[]){x}, NULL, (void *[]){y}, &err)) fail_msg("%s", err.message);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* The sums of a row are taken in different orders: 1e-5 of the largest result. */
static void compare(const char *expression) {
    char text[160];
    FraxTensor noise = {FRAX_F32, 2, {ROWS, COLUMNS}, malloc(sizeof(float) * ROWS * COLUMNS)};
    float *fused = malloc(sizeof(float) * ROWS * COLUMNS), *eager = malloc(sizeof(float) * ROWS * COLUMNS);
    double scale = 0;
    assert_true(noise.data && fused && eager);
    fill_noise(&noise, 11, 0, 1);
    snprintf(text, sizeof text, "model m(x: f32[%d, %d]) {\n y = %s\n return y\n}\n", ROWS, COLUMNS,
             expression);
    run_on(FRAX_CPU, text, noise.data, fused);
    run_on(FRAX_EAGER, text, noise.data, eager);
    for (int i = 0; i < ROWS * COLUMNS; i++) scale = fmax(scale, fabs((double)eager[i]));
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        double error = fabs((double)fused[i] - (double)eager[i]);
        if (!(error <= 1e-5 * scale))
            fail_msg("%s: element %d is %.9g, eager %.9g", expression, i, (double)fused[i], (double)eager[i]);
    }
    free(noise.data);
    free(fused);
    free(eager);
}

static void long_rows(void **state) {
    (void)state;
    compare("softmax(x)");
    compare("layer_norm(x)");
    compare("x - max(x, axis=-1, keep=true)");
    compare("rms_norm(flip(x, 0)) * softmax(x)");
}

/* A constant operand, which has no memory, cannot be left to the library. */
static void large_products(void **state) {
    (void)state;
    compare("x @ (x[:1, :] * cast(ones([1029, 1029]), f32))");
    compare("x @ cast(0.5 * ones([1029, 1029]), f32)");
    compare("cast(0.5 * ones([301, 301]), f32) @ x");
    compare("transpose(transpose(x) @ transpose(cast(ones([301, 301]), f32)))");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(long_rows), cmocka_unit_test(large_products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
