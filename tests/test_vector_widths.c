/* test_vector_widths.c — whole programs for vectors of 16, 32 and 64 bytes, whichever of them this machine
 * has by itself: models with their gradients, in f64 and f32, against the reference.
 *
 * On x86 code is generated for machines that have no longer vectors: plain x86-64, x86-64-v3, and this one if
 * it has AVX-512. What this machine cannot run is skipped. Every model meets all sizes, others on each
 * machine in each dtype: compiling takes nearly all of the time.
 *
 * Bounds are relative to the largest element of a result, or to 1; gradients are sums over all elements, of
 * some hundred roundings: 1e-13 in f64, 1e-5 in f32.
 */
#include "jit.h"
#include "model_run.h"
#include "passes.h"
#include "target_run.h"
#include <stdio.h>

/* Bodies of `model m(x: f64[B, C, N], p: f64[C, 1], q: f64, w: f64[N, M])`, which give y; for f32 each f64
 * is replaced. */
static const char *const bodies[] = {
    /* periodic: one order for all, an order for each channel, one after the other, two of one signal */
    " e = exp(0.3 * x)\n y = frac(e, q, kind=weyl) * e + tanh(x)\n",
    " y = x + frac(x, p, kind=weyl, step=0.5)\n",
    " a = frac(x, p, kind=weyl)\n b = frac(sin(a), q, kind=riesz)\n y = frac(b * a, p, kind=weyl)\n",
    " y = frac(x, q, kind=weyl) - 0.5 * frac(x, 0.3, kind=riesz)\n",
    /* between reductions along the row */
    " a = frac(x - mean(x, axis=-1, keep=true), q, kind=weyl)\n y = 8 * softmax(a)\n",
    /* each row has its own filter */
    " k = 0.5 + 0.1 * mean(x, axis=-1, keep=true)\n y = frac(x, k, kind=weyl)\n",
    /* along another axis, and two axes at once */
    " y = transpose(frac(transpose(x, (2, 0, 1)), q, kind=weyl, axis=0), (1, 2, 0))\n",
    " y = frac(tanh(x), q, kind=laplacian, axes=(1, 2)) * x\n",
    /* causal: by padded transforms, directly, far more zeros than signal */
    " y = frac(x * x, p, kind=grunwald, engine=fft)\n",
    " y = frac(x, q, kind=riemann_liouville, scheme=bdf2, engine=direct)\n",
    " y = frac(pad(x, (0, 7 * N), axis=2), q, kind=weyl)[:, :, :N]\n",
    /* recurrences */
    " y = frac(x, q, kind=grunwald, engine=soe)\n",
    " y = frac(x, q, kind=caputo_fabrizio)\n",
    /* products, with what stands around them */
    " y = tanh(exp(0.1 * x) @ w + q)\n",
    " y = softmax(transpose(x, (0, 2, 1)) @ x) * 8 * q\n",
    /* pointwise, reductions, shapes */
    " y = layer_norm(x) * log(2 + erf(x)) + digamma(1.5 + 0.3 * sin(x)) ^ p - sqrt(1 + x^2) * floor(9 * x)\n",
    " y = concat([x[:, :, ::2], flip(x, 2) * q, pad(x, (1, 2), axis=2)], 2) * logsumexp(x, axis=1, "
    "keep=true)[:, :, :1]\n",
    " k = cast(floor(8 * x), i32)\n y = where(k > 1, cast(k * k, f64) * q, x)\n",
};

/* Causal, by transforms of 32 samples however few there are. */
static const char *const short_body = " y = frac(x * x, p, kind=grunwald, engine=fft)\n";

typedef struct Sizes {
    int64_t batch, channels, samples, columns;
} Sizes;

static const Sizes sizes[] = {{3, 2, 48, 5}, {37, 1, 15, 3},  {2, 3, 1, 1},
                              {5, 4, 64, 9}, {1, 2, 210, 17}, {19, 2, 7, 2}};

typedef struct Machine {
    const char *cpu; /* on x86; NULL: this one */
    int vector_bytes;
    char vector_isa;
} Machine;

/* ---- Targets ---- */

static void rename_target(HostTarget *target, const char *cpu) {
    mem_free(target->cpu);
    mem_free(target->features);
    target->cpu = mem_strdup(cpu);
    target->features = mem_strdup("");
    assert_true(target->cpu && target->features);
}

/* Skips the test that asks for what this machine lacks. */
static HostTarget open_target(const Machine *machine) {
    HostTarget target;
    FraxError err;
    if (host_target(&target, &err)) fail_msg("%s", err.message);
    bool x86 = !strncmp(target.triple, "x86_64", 6);
    if (machine->vector_bytes > target.vector_bytes) {
        print_message("this machine has no vectors of %d bytes\n", machine->vector_bytes);
        host_target_free(&target);
        skip();
    }
    if (x86 && machine->cpu) rename_target(&target, machine->cpu);
    if (x86) target.vector_isa = machine->vector_isa;
    target.vector_bytes = machine->vector_bytes;
    return target;
}

/* ---- Models ---- */

/* loss and y; then the gradients in all inputs. */
static Graph *graph_of(const char *body, FraxDType dtype, Sizes size) {
    char text[1024], name[16];
    FraxError err;
    Value wrt[4], grads[4];
    snprintf(text, sizeof text,
             "model m(x: f64[B, C, N], p: f64[C, 1], q: f64, w: f64[N, M]) {\n%s loss = sum(y^2)\n"
             " return loss, y\n}\n",
             body);
    for (char *at = text; dtype == FRAX_F32 && (at = strstr(at, "f64"));) memcpy(at, "f32", 3);
    const int64_t values[] = {size.batch, size.channels, size.samples, size.columns};
    Graph *g = lower_text(text, values);
    assert_int_equal(g->ninputs, COUNT(wrt));
    for (size_t i = 0; i < COUNT(wrt); i++) wrt[i] = g->inputs[i];
    if (gradient(g, g->outputs[0].value, NO_VALUE, wrt, COUNT(wrt), grads, &err))
        fail_msg("%s\n%s", err.message, text);
    for (size_t i = 0; i < COUNT(wrt); i++) {
        snprintf(name, sizeof name, "grad%zu", i);
        graph_output(g, name, grads[i]);
    }
    return g;
}

/* Orders lie between 0.2 and 0.8, all else between −1 and 1. */
static void **inputs_of(const Graph *g) {
    void **in = make_inputs(g, (Fill){3, -1, 1});
    for (int i = 1; i <= 2; i++) {
        const Type *type = graph_type(g, g->inputs[i]);
        for (int64_t k = 0; k < shape_size(&type->shape); k++)
            element_set(in[i], type->dtype, k, 0.5 + 0.3 * element_get(in[i], type->dtype, k));
    }
    return in;
}

static void run_for(const HostTarget *target, const Graph *g, void *const *in, void *const *out,
                    const char *name) {
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 1, .no_cache = true, .host = target};
    FraxError err;
    Executable *exe;
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    if (!copy) fail_msg("%s: %s", name, err.message);
    if (executable_create(copy, &options, &exe, &err)) fail_msg("%s: %s", name, err.message);
    for (int i = 0; i < 2; i++) run_poisoned(g, exe, in, out, name);
    executable_destroy(exe);
}

static void check_model(const HostTarget *target, const char *body, FraxDType dtype, Sizes size) {
    char name[512];
    Graph *g = graph_of(body, dtype, size);
    void **in = inputs_of(g), **expected = make_outputs(g), **got = make_outputs(g);
    snprintf(name, sizeof name, "%s, vectors of %d bytes, %lld x %lld x %lld\n%s", frax_dtype_name(dtype),
             target->vector_bytes, (long long)size.batch, (long long)size.channels, (long long)size.samples,
             body);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    run_for(target, g, in, got, name);
    expect_outputs(g, expected, got, (Bound){0, dtype == FRAX_F64 ? 1e-13 : 1e-5}, name);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    graph_destroy(g);
}

/* ---- Cases ---- */

/* `number` of the machine: each has other sizes for a model, in either dtype. */
static void check_machine(const Machine *machine, size_t number) {
    HostTarget target = open_target(machine);
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
        for (size_t i = 0; i < COUNT(bodies); i++)
            check_model(&target, bodies[i], dtype, sizes[(i + number + 3 * dtype) % COUNT(sizes)]);
        for (int64_t n = 1; n <= 4; n++)
            check_model(&target, short_body, dtype, (Sizes){n % 2 ? 37 : 5, 2, n, 1});
    }
    host_target_free(&target);
}

static void test_16_bytes(void **state) {
    (void)state;
    check_machine(&(Machine){"x86-64", 16, 'b'}, 0);
}

static void test_32_bytes(void **state) {
    (void)state;
    check_machine(&(Machine){"x86-64-v3", 32, 'd'}, 1);
}

static void test_64_bytes(void **state) {
    (void)state;
    check_machine(&(Machine){NULL, 64, 'e'}, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_16_bytes),
        cmocka_unit_test(test_32_bytes),
        cmocka_unit_test(test_64_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
