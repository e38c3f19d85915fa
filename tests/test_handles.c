/* test_handles.c — builds with assertions notice handles that were destroyed and handles of another kind;
 * others, with nothing to test here, only NULL.
 */
#include "handle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void is_refused(FraxStatus status, const FraxError *err, const char *message) {
    assert_int_equal(status, FRAX_USAGE);
    if (!strstr(err->message, message)) fail_msg("%s", err->message);
}

static void test_destroyed_handles(void **state) {
    (void)state;
    FraxModel *model, *other;
    FraxExecutable *exe, *none;
    FraxTrainer *trainer;
    FraxBuilder *builder;
    FraxError err;
    FraxOptions options = frax_default_options();
    FraxFitOptions how = frax_default_fit_options(FRAX_SGD);
    double x = 1, loss, p = 1;
    const void *inputs[] = {&x}, *params[] = {&p};
    if (!handles_are_checked()) skip();
    options.no_cache = 1;
    assert_int_equal(
        frax_model_parse("model m(x: f64[]) {\n param p: f64 = 1\n loss = p * x\n return loss\n}\n", NULL,
                         NULL, &model, NULL),
        FRAX_OK);
    assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
    assert_int_equal(frax_trainer_create(model, &options, &how, &trainer, NULL), FRAX_OK);
    assert_int_equal(frax_builder_create("m", &builder, NULL), FRAX_OK);
    const FraxExecutable *step = frax_trainer_executable(trainer);
    frax_executable_destroy((FraxExecutable *)step); /* belongs to the trainer: nothing happens */
    assert_int_equal(frax_trainer_step(trainer, inputs, NULL, NULL), FRAX_OK);
    for (int twice = 0; twice < 2; twice++) {
        frax_model_destroy(model);
        frax_executable_destroy(exe);
        frax_trainer_destroy(trainer);
        frax_builder_destroy(builder);
    }
    static const char destroyed[] = "was destroyed before";
    is_refused(frax_compile(model, &options, &none, &err), &err, destroyed);
    is_refused(frax_compile((FraxModel *)exe, &options, &none, &err), &err, destroyed);
    is_refused(frax_run(exe, inputs, params, (void *[]){&loss}, &err), &err,
               "frax_run: exe was destroyed before");
    is_refused(frax_run(step, inputs, params, (void *[]){&loss}, &err), &err, destroyed);
    is_refused(frax_run_views(exe, NULL, 0, &err), &err, destroyed);
    is_refused(frax_initial_param(exe, 0, 0, &p, &err), &err, destroyed);
    is_refused(frax_trainer_step(trainer, inputs, NULL, &err), &err, "trainer was destroyed");
    is_refused(frax_trainer_get_param(trainer, 0, &p, &err), &err, destroyed);
    is_refused(frax_trainer_create(model, &options, &how, &trainer, &err), &err, destroyed);
    is_refused(frax_builder_finish(builder, &other, &err), &err, destroyed);
    is_refused(frax_executable_find(exe, FRAX_PARAM, "p", &(size_t){0}, &err), &err, destroyed);
    assert_null(frax_model_name(model));
    assert_int_equal(frax_model_count(model, FRAX_INPUT), 0);
    assert_int_equal(frax_executable_count(exe, FRAX_INPUT), 0);
    assert_null(frax_executable_name(exe, FRAX_INPUT, 0));
    assert_int_equal(frax_executable_memory(exe).kernels, 0);
    assert_int_equal(frax_builder_number(builder, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_destroyed_handles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
