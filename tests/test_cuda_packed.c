/* test_cuda_packed.c — kernels whose threads move several neighbouring elements at once (cuda_memory.c):
 * which they are, by their text; their values against the reference, under several orders of the threads.
 *
 * The stand-ins report accesses at addresses that are no multiple of what is moved.
 */
#include "api.h"
#include "cuda_program.h"
#include "passes.h"
#include "target_run.h"
#include "cuda_fakes.h"

/* `word`: an access that the text has; NULL: elements go one by one. Bounds are of f32 sums in another order;
   0 where an op is exact, or rounded once. */
typedef struct Packed {
    const char *model, *word;
    double bound;
} Packed;

#define MODEL(inputs, ...) "model m(" inputs ") {\n" __VA_ARGS__ "}\n"

static const Packed large[] = {
    {MODEL("x: f32[1024, 1024]", " y = 2 * x + 1\n return y\n"), "WORD(float4, ", 0},
    {MODEL("x: f64[1024, 1024]", " y = 2 * x + 1\n return y\n"), "WORD(double2, ", 0},
    {MODEL("x: bf16[1024, 1024]", " y = 2 * x + 1\n return y\n"), "WORD(ushort4, ", 0},
};

static const Packed small[] = {
    /* Maps: whole vectors, a masked rest of whole words, and one that is none. */
    {MODEL("x: f32[16, 128]", " y = abs(x)\n z = x > 0\n return y, z\n"), "WORD(float4, ", 0},
    {MODEL("x: f32[3, 300]", " y = abs(x)\n z = x > 0\n return y, z\n"), "WORD(uchar4, ", 0},
    {MODEL("x: f32[7, 129]", " y = abs(x)\n z = x > 0\n return y, z\n"), "WORD(const float4, ", 0},
    {MODEL("x: f32[67]", " y = abs(x)\n return y\n"), NULL, 0},
    {MODEL("x: f64[5, 66]", " y = x + x\n z = cast(x, i32)\n return y, z\n"), "WORD(int2, ", 0},
    {MODEL("x: f64[3, 132], a: f32[3, 132]", " y = x * cast(a, f64)\n return y\n"), "WORD(const float2, ", 0},
    {MODEL("x: f16[3, 260], a: bf16[3, 260]", " y = abs(x)\n z = abs(a)\n return y, z\n"), "WORD(ushort4, ",
     0},
    {MODEL("x: i32[260], a: bool[260]", " y = where(a, x, 3 - x)\n return y\n"), "WORD(const uchar4, ", 0},
    /* Rows with an operand of their own; of odd length, threads would gain nothing. */
    {MODEL("x: f32[9, 260], b: f32[260]", " y = x + b\n return y\n"), "WORD(const float4, ", 0},
    {MODEL("x: f32[9, 261], b: f32[261]", " y = x + b\n return y\n"), NULL, 0},
    {MODEL("x: f32[9, 262], b: f32[262]", " y = x + b\n return y\n"), "WORD(const float2, ", 0},
    {MODEL("x: f32[9, 36], b: f32[36]", " y = x + b\n return y\n"), "WORD(const float2, ", 0},
    {MODEL("x: f32[9, 20], b: f32[20]", " y = x + b\n return y\n"), NULL, 0},
    {MODEL("x: f32[9, 264]", " y = x[:, 4:] + x[:, :260]\n return y\n"), "WORD(const float4, ", 0},
    {MODEL("x: f32[9, 264]", " y = x[:, 1:261] + x[:, :260]\n return y\n"), NULL, 0},
    {MODEL("x: f64[260]", " y = lgamma(x^2 + 1)\n return y\n"), NULL, 1e-13}, /* one at a time is enough */
    {MODEL("x: f32[128, 128]", " y = x + transpose(x)\n return y\n"), NULL, 0},
    /* Reductions: of rows, of columns and of everything. */
    {MODEL("x: f32[5, 100]", " y = exp(log_softmax(x))\n return y\n"), "WORD(float4, ", 1e-5},
    {MODEL("x: f32[5, 1200]", " y = log_softmax(x)\n s = max(x, axis=1)\n return y, s\n"), "WORD(float4, ",
     1e-5},
    {MODEL("x: f32[5, 264], g: f32[264]", " d = x - mean(x, axis=1, keep=true)\n"
                                          " y = d / sqrt(mean(d^2, axis=1, keep=true)) * g\n return y\n"),
     "WORD(float4, ", 1e-5},
    {MODEL("x: f32[5, 300]", " y = argmax(x, axis=1)\n return y\n"), "WORD(const float4, ", 0},
    {MODEL("x: f32[40, 192]", " y = max(x, axis=0)\n return y\n"), "WORD(const float", 0},
    {MODEL("x: f32[700, 68]", " y = sum(x, axis=0)\n return y\n"), "WORD(const float", 1e-5},
    {MODEL("x: f32[2000, 384]", " y = max(x, axis=0)\n return y\n"), "WORD(const float", 0},
    {MODEL("x: f32[11, 128]", " y = sum(x, axis=0)\n return y\n"), "WORD(const float", 1e-5},
    {MODEL("x: f32[50000]", " y = mean(x^2)\n return y\n"), "WORD(const float4, ", 1e-5},
    {MODEL("x: f64[20001]", " y = max(x)\n return y\n"), "WORD(const double2, ", 0},
};

static Graph *graph_of(const Packed *p) {
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxError err;
    Graph *g;
    if (frax_model_parse(p->model, "test.frax", NULL, &model, &err))
        fail_msg("%s\n%s", err.message, p->model);
    if (model_graph(model, &options, &g, NULL, &err)) fail_msg("%s\n%s", err.message, p->model);
    frax_model_destroy(model);
    return g;
}

/* Takes the graph over. */
static void check_text(const Packed *p, Graph *g) {
    FraxError err;
    CudaProgram program;
    g->gpu = g->self_contained = true;
    if (run_passes(&g, NULL, &err) || cuda_program_create(g, NULL, &program, &err))
        fail_msg("%s\n%s", err.message, p->model);
    const char *text = program.source.data;
    if (!strstr(text, p->word ? p->word : "KERNEL")) fail_msg("%s\nno %s in\n%s", p->model, p->word, text);
    if (!p->word && strstr(text, "= WORD("))
        fail_msg("%s\nmoves several elements at once:\n%s", p->model, text);
    cuda_program_destroy(&program);
    graph_destroy(g);
}

static void check_values(const Packed *p, const Graph *g) {
    void **in = make_inputs(g, (Fill){5, -2, 2}), **expected = make_outputs(g), **got = make_outputs(g),
         **again = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, p->model);
    for (int order = 0; order < THREAD_ORDERS; order++) {
        use_order(order);
        run_on(g, FRAX_CUDA, 1, in, order ? again : got, p->model);
        if (order) expect_same_bits(g, got, again, p->model);
    }
    use_order(0);
    expect_outputs(g, expected, got, (Bound){0, p->bound}, p->model);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    free_tensors(again, g->noutputs);
}

static void test_large(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(large); i++) check_text(&large[i], graph_of(&large[i]));
}

static void test_small(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(small); i++) {
        Graph *g = graph_of(&small[i]);
        check_values(&small[i], g);
        check_text(&small[i], g);
    }
    assert_int_equal(live_objects(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_large), cmocka_unit_test(test_small)};
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
