/* test_cuda_text.c — NVRTC takes the text of every op and of every kernel template without a warning, and a
 * dozen typical models get about the registers and spills of golden/cuda/registers.txt.
 *
 * All is emitted on every machine; where there is no NVRTC the compiling is skipped, and the test says so. It
 * is skipped under the sanitizers too, which would judge NVRTC. With FRAX_UPDATE=1 in the environment the
 * table is rewritten: read the difference before committing it.
 */
#include "api.h"
#include "cuda_emitter.h"
#include "cuda_library.h"
#include "cuda_program.h"
#include "every_op.h"
#include "golden.h"
#include "operators.h"
#include "passes.h"
#include "pointwise_ops.h"

enum { ARCHS = 2, SMALL = 8 };
static const int archs[ARCHS] = {80, 90};
enum { SM_80 = 1, SM_90 = 2, BOTH = SM_80 | SM_90 }; /* what takes long is compiled for one of them */

/* The most that a kernel of a program takes, for each architecture. */
typedef struct Usage {
    int registers[ARCHS], spills[ARCHS]; /* bytes stored to memory */
} Usage;

/* ---- Compiling ---- */

/* The largest number before a word of ptxas's listing, "Used 40 registers" or "0 bytes spill stores". */
static int largest_before(const char *log, const char *word) {
    int largest = 0;
    for (const char *at = log; (at = strstr(at, word)); at++) {
        const char *digit = at;
        while (digit > log && digit[-1] >= '0' && digit[-1] <= '9') digit--;
        largest = MAX(largest, atoi(digit));
    }
    return largest;
}

static char *compile(const Nvrtc *n, const char *source, int arch, int *result) {
    char option[48];
    const char *options[] = {option, "--std=c++17", "--device-as-default-execution-space",
                             "--ptxas-options=-v"};
    NvrtcProgram program;
    size_t size = 0;
    snprintf(option, sizeof option, "--gpu-architecture=sm_%d", arch);
    assert_int_equal(n->create(&program, source, "frax.cu", 0, NULL, NULL), 0);
    *result = n->compile(program, COUNT(options), options);
    assert_int_equal(n->log_size(program, &size), 0);
    char *log = mem_calloc(size + 1, 1);
    assert_non_null(log);
    assert_int_equal(n->log(program, log), 0);
    n->destroy(&program);
    return log;
}

static Usage compile_all(const Nvrtc *n, const char *source, int which, const char *name) {
    Usage usage = {0};
    for (int i = 0; i < ARCHS; i++) {
        int result;
        if (!(which >> i & 1)) continue;
        char *log = compile(n, source, archs[i], &result);
        if (result || strstr(log, "warning"))
            fail_msg("%s for sm_%d: NVRTC says\n%.2000s", name, archs[i], log);
        usage.registers[i] = largest_before(log, " registers");
        usage.spills[i] = largest_before(log, " bytes spill stores");
        mem_free(log);
    }
    return usage;
}

/* Takes the graph over. n may be NULL: the text is emitted alone. */
static Usage check_graph(Graph *g, const Nvrtc *n, int which, const char *name) {
    FraxError err = {0};
    CudaProgram p;
    Usage usage = {0};
    g->gpu = g->self_contained = true;
    if (graph_status(g, &err) || run_passes(&g, NULL, &err) || cuda_program_create(g, NULL, &p, &err))
        fail_msg("%s: %s", name, err.message);
    if (n) usage = compile_all(n, p.source.data, which, name);
    cuda_program_destroy(&p);
    graph_destroy(g);
    return usage;
}

/* ---- Every pointwise op, for every dtype that it has ---- */

static void check_pointwise(const Nvrtc *n) {
    bool seen[OP_COUNT] = {false};
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        char name[64];
        snprintf(name, sizeof name, "pointwise ops of %s", frax_dtype_name(dtypes[i]));
        check_graph(all_pointwise(dtypes[i], SMALL, false, seen), n, BOTH, name);
    }
    check_graph(all_pointwise(FRAX_F64, SMALL, true, seen), n, SM_80, "special functions of f64");
    check_graph(all_pointwise(FRAX_F32, SMALL, true, seen), n, SM_90, "special functions of f32");
    for (int op = 0; op < OP_COUNT; op++)
        if (op_is_pointwise((Op)op) && !seen[op]) fail_msg("%s is not sampled", op_table[op].name);
}

/* ---- What stands between the transforms of a library ---- */

typedef struct Between {
    FraxDType dtype;
    Shape x, k;
    uint32_t axes;
    int which;
} Between;

/* A filter with its gradients: of rows; of channels in several pieces; of images. */
static const Between betweens[] = {{FRAX_F32, SHAPE(300, 20000), SHAPE(1, 10001), 2, SM_80},
                                   {FRAX_F64, SHAPE(40, 3, 50001), SHAPE(1, 3, 25001), 4, SM_90},
                                   {FRAX_F64, SHAPE(9, 5, 9, 30000), SHAPE(1, 5, 1, 15001), 8, SM_80},
                                   {FRAX_F32, SHAPE(2, 60, 70), SHAPE(1, 60, 36), 6, SM_90}};

static void check_between(const Between *b, const Nvrtc *n) {
    Graph *g = start_graph("between transforms");
    Value x = g_input(g, "x", (Type){b->dtype, b->x}), wrt[3] = {x}, grads[3];
    FraxError err;
    for (int i = 1; i < 3; i++) wrt[i] = g_input(g, i == 1 ? "re" : "im", (Type){b->dtype, b->k});
    Value y = g_spectral(g, x, wrt[1], wrt[2], b->axes);
    Value loss = g_reduce(g, OP_sum, g_mul(g, y, y), (1u << b->x.rank) - 1);
    if (gradient(g, g_reshape(g, loss, SCALAR), NO_VALUE, wrt, 3, grads, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 3; i++) graph_output(g, (const char *[]){"x", "re", "im"}[i], grads[i]);
    g->gpu_libraries = GPU_TRANSFORMS;
    check_graph(g, n, b->which, "between transforms");
}

static void check_betweens(const Nvrtc *n) {
    for (size_t i = 0; i < COUNT(betweens); i++) check_between(&betweens[i], n);
}

/* ---- Every op, and every operator with its derivatives ---- */

static void check_every_op(const Nvrtc *n) {
    Graph *g = every_op();
    assert_non_null(g);
    check_graph(g, n, SM_80, "every op");
}

static Graph *differentiated(const FraxModel *model, const char *sizes, const char *wrt) {
    FraxError err = {0};
    Graph *g;
    FraxSize list[8];
    char names[8][16];
    FraxOptions options = frax_default_options();
    options.mode = FRAX_REVERSE;
    options.sizes = list;
    options.wrt = wrt ? &wrt : NULL;
    options.nwrt = wrt != NULL;
    for (int length; *sizes; sizes += length) {
        FraxSize *size = &list[options.nsizes];
        long long value;
        assert_int_equal(sscanf(sizes, " %15[A-Z]=%lld%n", names[options.nsizes], &value, &length), 2);
        *size = (FraxSize){names[options.nsizes++], value};
    }
    if (model_graph(model, &options, &g, NULL, &err)) fail_msg("%s", err.message);
    return g;
}

/* Compiled with one of two derivatives, for one of the architectures: they have most of the text in common.
 */
static void check_operator(const Operator *op, const Nvrtc *n) {
    enum { N = 24 };
    char call[256], text[768];
    FraxModel *model;
    FraxError err;
    long row = op - operators;
    bool is_double = row % 2;
    snprintf(text, sizeof text,
             "model m(x: %s[3, %d], a: f64, l: f64, t: f64, h: f64) {\n y = %s\n loss = sum(y^2)\n"
             " return loss, y\n}\n",
             is_double ? "f64" : "f32", N, frac_text(op, "x", N, "a", "", call));
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s\n%s", err.message, text);
    for (int i = 0; i < 2; i++)
        check_graph(differentiated(model, "", i ? "a" : "x"), is_double == i ? n : NULL, 1 << row / 2 % 2,
                    op->name);
    frax_model_destroy(model);
}

static void check_operators(const Nvrtc *n) {
    for (size_t i = 0; i < COUNT(operators); i++) check_operator(&operators[i], n);
}

/* ---- Registers and spills of typical models ---- */

static const char table_path[] = "tests/golden/cuda/registers.txt";

/* A file of frontend/examples, or a text. */
static const struct Typical {
    const char *name, *model, *sizes, *wrt;
} typical[] = {
    {"map", "model m(x: f32[N]) {\n loss = mean(tanh(x)^2)\n return loss\n}\n", "N=100000", "x"},
    {"softmax", "model m(x: f32[B, N]) {\n loss = mean(log_softmax(x)^2)\n return loss\n}\n", "B=64 N=100",
     "x"},
    {"matmul", "model m(x: f32[B, N], w: f32[N, N]) {\n loss = mean(relu(x @ w)^2)\n return loss\n}\n",
     "B=64 N=256", "w"},
    {"weyl 256", "model m(x: f32[B, N], a: f32) {\n loss = mean(frac(x, a)^2)\n return loss\n}\n",
     "B=64 N=256", "a"},
    {"weyl 509", "model m(x: f32[B, N], a: f32) {\n loss = mean(frac(x, a)^2)\n return loss\n}\n",
     "B=64 N=509", "a"},
    {"laplacian",
     "model m(x: f32[B, N, N], a: f32) {\n loss = mean(frac(x, a, kind=laplacian, axes=(1, 2))^2)\n"
     " return loss\n}\n",
     "B=4 N=64", "a"},
    {"grunwald",
     "model m(x: f32[B, N], a: f64) {\n loss = mean(frac(x, a, kind=grunwald)^2)\n return loss\n}\n",
     "B=64 N=512", "a"},
    {"exponentials",
     "model m(x: f32[B, N], a: f64) {\n loss = mean(frac(x, a, kind=grunwald, engine=soe)^2)\n"
     " return loss\n}\n",
     "B=64 N=4096", "x"},
    {"mittag_leffler",
     "model m(x: f64[N], a: f64) {\n loss = mean(mittag_leffler(a, 1, x))\n return loss\n}\n", "N=1000", "a"},
    {"nile", "frontend/examples/nile.frax", "T=100", NULL},
    {"classifier", "frontend/examples/classifier.frax", "B=32 N=64", NULL},
    {"trend", "frontend/examples/robust.frax", "T=200", NULL},
};

static Usage measure(const struct Typical *t, const Nvrtc *n) {
    FraxModel *model;
    FraxError err = {0};
    FraxStatus status = strchr(t->model, '\n') ? frax_model_parse(t->model, "test.frax", NULL, &model, &err)
                                               : frax_model_load(t->model, &model, &err);
    if (status) fail_msg("%s: %s", t->name, err.message);
    Usage usage = check_graph(differentiated(model, t->sizes, t->wrt), n, BOTH, t->name);
    frax_model_destroy(model);
    return usage;
}

static bool is_near(int got, int expected, int most) {
    return abs(got - expected) <= MAX(most, expected / 4);
}

/* Compilers differ: 25 % or 16 registers, and 64 bytes of spills, are no news. */
static bool agrees(const char *table, const char *name, const Usage *u) {
    char line[128];
    Usage e;
    snprintf(line, sizeof line, "\n%s:", name);
    const char *at = strstr(table, line);
    if (!at || sscanf(at + strlen(line), "%d %d %d %d", &e.registers[0], &e.spills[0], &e.registers[1],
                      &e.spills[1]) != 2 * ARCHS) {
        print_error("%s has no line for %s\n", table_path, name);
        return false;
    }
    bool ok = true;
    for (int i = 0; i < ARCHS; i++) {
        ok = ok && is_near(u->registers[i], e.registers[i], 16) && is_near(u->spills[i], e.spills[i], 64);
        if (!ok)
            print_error("%s, sm_%d: %d registers, %d bytes of spills; expected about %d and %d\n", name,
                        archs[i], u->registers[i], u->spills[i], e.registers[i], e.spills[i]);
    }
    return ok;
}

static void write_table(const Nvrtc *n, const Usage *usages) {
    FILE *file = fopen(table_path, "w");
    assert_non_null(file);
    fprintf(file,
            "The most registers of a thread, and bytes of spills, that a kernel of each model takes:\n"
            "for sm_80, then for sm_90. Compared by tests/test_cuda_text.c.\nmade by NVRTC %d.%d\n",
            n->major, n->minor);
    for (size_t i = 0; i < COUNT(typical); i++) {
        const Usage *u = &usages[i];
        fprintf(file, "%s: %d %d %d %d\n", typical[i].name, u->registers[0], u->spills[0], u->registers[1],
                u->spills[1]);
    }
    assert_int_equal(fclose(file), 0);
}

/* Only for the major version of NVRTC that made the table. */
static void compare_table(const Nvrtc *n, const Usage *usages) {
    static const char maker[] = "made by NVRTC ";
    char *table = golden_read_file(table_path);
    const char *at = strstr(table, maker);
    int failures = 0;
    assert_non_null(at);
    bool is_same = atoi(at + sizeof maker - 1) == n->major;
    for (size_t i = 0; i < COUNT(typical) && is_same; i++)
        failures += !agrees(table, typical[i].name, &usages[i]);
    if (!is_same) print_message("NVRTC %d: %s is of another one, and not compared\n", n->major, table_path);
    mem_free(table);
    if (failures) fail_msg("%d of %zu models differ from %s", failures, COUNT(typical), table_path);
}

static void check_typical(const Nvrtc *n) {
    Usage usages[COUNT(typical)];
    for (size_t i = 0; i < COUNT(typical); i++) usages[i] = measure(&typical[i], n);
    if (n && golden_updates())
        write_table(n, usages);
    else if (n)
        compare_table(n, usages);
}

/* ---- Tests ---- */

/* Emits everything, and compiles it where that can be done. */
static void check(void (*samples)(const Nvrtc *n)) {
    FraxError err = {0};
#if defined(__SANITIZE_ADDRESS__)
    const Nvrtc *n = NULL;
    snprintf(err.message, sizeof err.message, "sanitizers are on");
#else
    const Nvrtc *n = cuda_nvrtc(&err);
#endif
    samples(n);
    if (n) return;
    print_message("emitted, but not compiled: %s\n", err.message);
    skip();
}

static void test_pointwise(void **state) {
    (void)state;
    check(check_pointwise);
}

static void test_between_transforms(void **state) {
    (void)state;
    check(check_betweens);
}

static void test_every_op(void **state) {
    (void)state;
    check(check_every_op);
}

static void test_operators(void **state) {
    (void)state;
    check(check_operators);
}

static void test_registers(void **state) {
    (void)state;
    check(check_typical);
}

/* A value that all lanes read before a loop, or in its round before, and one lane writes after: all have read
   it by then. Between is no access of memory that lanes share, which would have a barrier of its own. */
static void emit_in_place(Emitter *e, bool within) {
    static const EmType types[] = {EM_POINTER, EM_POINTER, EM_INDEX, EM_INDEX};
    const EmitterOps *o = e->ops;
    Em p[4], none = {0};
    o->function_begin(e, "k0", types, 4, p);
    Em arena = o->load_pointer(e, p[0], offsetof(KernelContext, arena)), at = o->index(e, 0);
    Em x = o->load(e, arena, FRAX_F64, at, 1, 1, none);
    EmLoop loop = o->loop_begin(e, p[2], p[3], 1);
    if (within) o->store(e, arena, FRAX_F64, at, 1, x, none);
    o->loop_end(e, &loop);
    if (!within) o->store(e, arena, FRAX_F64, at, 1, x, none);
    o->function_end(e);
}

static void test_stores_of_one_lane(void **state) {
    (void)state;
    for (int within = 0; within < 2; within++) {
        Text text = {0};
        CudaEmitter *c = cuda_emitter_create();
        assert_non_null(c);
        emit_in_place(&c->base, within);
        assert_true(cuda_emitter_text(c, &text));
        const char *loop = strstr(text.data, "for ("), *barrier = loop ? strstr(loop, "__syncwarp();") : NULL,
                   *store = loop ? strstr(loop, "if (lane == 0)") : NULL;
        if (!barrier || !store || barrier > store) fail_msg("%s", text.data);
        text_free(&text);
        cuda_emitter_destroy(c);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise), cmocka_unit_test(test_between_transforms),
        cmocka_unit_test(test_every_op),  cmocka_unit_test(test_operators),
        cmocka_unit_test(test_registers), cmocka_unit_test(test_stores_of_one_lane),
    };
    golden_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
