/* embed.c — frax in a C program: learn how much memory a series has, with plain gradient steps.
 *
 *     cc embed.c -lfrax -o embed && ./embed
 */
#include <frax.h>
#include <stdio.h>

static const char text[] = "model memory(x: f64[T]) {\n"
                           "    param d: f64 = 0.3\n"
                           "    loss = mean(frac(x, d, kind=grunwald)^2)\n"
                           "    return loss\n"
                           "}\n";

int main(void) {
    double x[64] = {1}, d, loss, slope;
    for (int t = 1; t < 64; t++) x[t] = 0.8 * x[t - 1] + (t * 7 % 5 - 2);

    FraxModel *model;
    FraxExecutable *exe = NULL;
    FraxError err;
    FraxOptions options = frax_default_options();
    options.mode = FRAX_REVERSE; /* also grad.d, the derivative of loss by d */
    options.sizes = (FraxSize[]){{"T", 64}};
    options.nsizes = 1;

    if (frax_model_parse(text, "memory.frax", NULL, &model, &err)) goto failed;
    if (frax_compile(model, &options, &exe, &err)) goto failed;
    if (frax_initial_param(exe, 0, 0, &d, &err)) goto failed;
    for (int step = 0; step <= 100; step++) {
        if (frax_run(exe, (const void *[]){x}, (const void *[]){&d}, (void *[]){&loss, &slope}, &err))
            goto failed;
        if (step % 25 == 0) printf("step %3d  d = %.6f  loss = %.6f\n", step, d, loss);
        d -= 0.05 * slope;
    }
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return 0;
failed:
    fprintf(stderr, "%s\n", err.message);
    frax_model_destroy(model);
    return 1;
}
