/* test_object.c — frax compile: objects for every level of this machine, with gradients, threads and streams,
 * loaded and compared with the reference target; what they leave undefined; statuses; files and messages.
 *
 * Relative L2 errors against f64 loops: 1e-10 in f64 and 2e-4 in f32, where a sum of thousands of terms
 * stands between some of these results and their inputs.
 */
#include "program_run.h"
#include "frax.h"
#include "half.h"
#include <dlfcn.h>
#include <math.h>
#include <sys/stat.h>

enum { MOST = 24 };

typedef int Run(const void *const args[], void *const outs[], void *workspace);
typedef size_t WorkspaceBytes(void);

typedef struct Object {
    void *library;
    Run *run;
    size_t workspace_bytes;
} Object;

static void *symbol(void *library, const char *name) {
    void *address = dlsym(library, name);
    if (!address) fail_msg("%s", dlerror());
    return address;
}

static Object load(const char *prefix) {
    char name[256];
    Object o;
    void *address;
    snprintf(name, sizeof name, "%s/%s.so", folder, prefix);
    o.library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!o.library) fail_msg("%s", dlerror());
    snprintf(name, sizeof name, "%s_run", prefix);
    address = symbol(o.library, name);
    memcpy(&o.run, &address, sizeof address);
    WorkspaceBytes *bytes;
    snprintf(name, sizeof name, "%s_workspace_bytes", prefix);
    address = symbol(o.library, name);
    memcpy(&bytes, &address, sizeof address);
    o.workspace_bytes = bytes();
    return o;
}

/* ---- The same model in this process ---- */

typedef struct Signature {
    FraxExecutable *exe;
    void *args[MOST], *outs[MOST], *expected[MOST];
    size_t inputs, params, outputs;
} Signature;

static int64_t count_of(FraxTensor t) {
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) n *= t.dims[i];
    return n;
}

static size_t bytes_of(FraxTensor t) {
    return (size_t)count_of(t) * frax_dtype_size(t.dtype);
}

static FraxTensor arg_type(const Signature *s, size_t i) {
    return i < s->inputs ? frax_executable_type(s->exe, FRAX_INPUT, i)
                         : frax_executable_type(s->exe, FRAX_PARAM, i - s->inputs);
}

static void fill(FraxTensor t, void *data, double shift) {
    for (int64_t i = 0; i < count_of(t); i++) {
        double v = 0.6 + 0.3 * sin(12.9898 * (double)(i + 1) * (double)(i % 11 + 1) + shift);
        element_set(data, t.dtype, i, t.dtype == FRAX_I32 ? (double)(i % 3) : v);
    }
}

static void open_signature(Signature *s, const char *path, const FraxSize *sizes, size_t nsizes, bool grad) {
    FraxModel *model;
    FraxError err;
    FraxOptions options = frax_default_options();
    options.target = FRAX_REFERENCE;
    options.mode = grad ? FRAX_REVERSE : FRAX_FORWARD;
    options.sizes = sizes;
    options.nsizes = nsizes;
    if (frax_model_load(path, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &s->exe, &err)) fail_msg("%s", err.message);
    frax_model_destroy(model);
    s->inputs = frax_executable_count(s->exe, FRAX_INPUT);
    s->params = frax_executable_count(s->exe, FRAX_PARAM);
    s->outputs = frax_executable_count(s->exe, FRAX_OUTPUT);
    for (size_t i = 0; i < s->inputs + s->params; i++) {
        s->args[i] = calloc(1, bytes_of(arg_type(s, i)) + 1);
        if (i < s->inputs)
            fill(arg_type(s, i), s->args[i], (double)i);
        else
            assert_int_equal(frax_initial_param(s->exe, i - s->inputs, 7, s->args[i], &err), FRAX_OK);
    }
    for (size_t i = 0; i < s->outputs; i++) {
        size_t bytes = bytes_of(frax_executable_type(s->exe, FRAX_OUTPUT, i));
        s->outs[i] = calloc(1, bytes + 1);
        s->expected[i] = calloc(1, bytes + 1);
    }
    if (frax_run(s->exe, (const void *const *)s->args, (const void *const *)(s->args + s->inputs),
                 s->expected, &err))
        fail_msg("%s", err.message);
}

static void close_signature(Signature *s) {
    for (size_t i = 0; i < s->inputs + s->params; i++) free(s->args[i]);
    for (size_t i = 0; i < s->outputs; i++) {
        free(s->outs[i]);
        free(s->expected[i]);
    }
    frax_executable_destroy(s->exe);
}

static void expect_outputs(const Signature *s, const char *what) {
    for (size_t i = 0; i < s->outputs; i++) {
        FraxTensor t = frax_executable_type(s->exe, FRAX_OUTPUT, i);
        double e = 0, n = 0, bound = t.dtype == FRAX_F64 ? 1e-10 : 2e-4;
        for (int64_t k = 0; k < count_of(t); k++) {
            double a = element_get(s->expected[i], t.dtype, k), b = element_get(s->outs[i], t.dtype, k);
            e += (a - b) * (a - b);
            n += a * a;
        }
        if (!(sqrt(e) <= bound * sqrt(n)))
            fail_msg("%s: %s has relative error %.3g", what, frax_executable_name(s->exe, FRAX_OUTPUT, i),
                     sqrt(e / n));
    }
}

static void run_object(const Object *o, Signature *s, const char *what) {
    void *workspace = o->workspace_bytes ? mem_aligned(o->workspace_bytes) : NULL;
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < s->outputs; i++)
            memset(s->outs[i], 0xff, bytes_of(frax_executable_type(s->exe, FRAX_OUTPUT, i)));
        if (o->workspace_bytes) memset(workspace, 0xff, o->workspace_bytes);
        assert_int_equal(o->run((const void *const *)s->args, s->outs, workspace), 0);
        expect_outputs(s, what);
    }
    mem_free(workspace);
}

/* ---- Models ---- */

static const struct Case {
    const char *model; /* a file among the examples, or the text of model m */
    FraxSize sizes[3];
    size_t nsizes;
    bool grad;
} cases[] = {
    {"nile.frax", {{"T", 100}}, 1, true},
    {"classifier.frax:classifier", {{"B", 8}, {"N", 32}}, 2, true},
    {"classifier.frax:deep", {{"B", 16}, {"N", 128}}, 2, true},
    {"filter.frax:split", {{"T", 1000}}, 1, false},
    {"filter.frax:sharpen", {{"H", 40}, {"W", 56}}, 2, false},
    {"robust.frax", {{"T", 60}}, 1, true},
    /* rows in pairs, one order for each, prepared filters, lengths of all kinds */
    {"model m(x: f32[B, N]) {\n param p: f32 = 0.4\n y = frac(x, p, kind=weyl)\n loss = mean(y^2)\n"
     " return loss, y\n}\n",
     {{"B", 5}, {"N", 512}},
     2,
     true},
    {"model m(x: f64[B, N]) {\n y = frac(x, 0.4, kind=riesz) + frac(x, 0.7, kind=weyl)\n return y\n}\n",
     {{"B", 6}, {"N", 96}},
     2,
     false},
    {"model m(x: f64[B, N]) {\n y = frac(x, 0.4, kind=riesz)\n return y\n}\n",
     {{"B", 33}, {"N", 15}},
     2,
     false},
    {"model m(x: f64[B, N]) {\n y = frac(x, 0.4, kind=riesz)\n return y\n}\n",
     {{"B", 2}, {"N", 509}},
     2,
     false},
    {"model m(x: f64[B, N]) {\n y = frac(x, 0.4, kind=riesz)\n return y\n}\n",
     {{"B", 40}, {"N", 31}},
     2,
     false},
    {"model m(x: f32[B, N]) {\n param a: f32 = 0.5\n y = frac(x, a, kind=caputo, step=0.1)\n"
     " loss = mean(y^2)\n return loss, y\n}\n",
     {{"B", 3}, {"N", 700}},
     2,
     true},
    {"model m(x: f64[T]) {\n y = frac(x, 0.5, kind=grunwald, engine=soe)\n return y\n}\n",
     {{"T", 3000}},
     1,
     false},
    /* special functions that the object carries with it */
    {"model m(x: f64[N]) {\n param a: f64 = 0.7\n y = mittag_leffler(a, 1, -x) + lgamma(x)\n"
     " loss = sum(y)\n return loss, y\n}\n",
     {{"N", 37}},
     1,
     true},
    /* products that go to CBLAS otherwise; outputs that are inputs; tables; integers and bools */
    {"model m(x: f64[N, N], i: i32[N]) {\n y = transpose(x) @ transpose(x) + x @ x\n z = i * 2\n"
     " b = x > 0.6\n return y, z, b, x, i\n}\n",
     {{"N", 130}},
     1,
     false},
    {"model m(x: bf16[B, N]) {\n y = softmax(x)\n h = layer_norm(x)\n return y, h\n}\n",
     {{"B", 4}, {"N", 50}},
     2,
     false},
    {"model m(x: f16[B, N]) {\n param d: f16 = 0.4\n y = cast(2 * x, f32)\n h = guard(x, 0, 1) * d\n"
     " return y, h\n}\n",
     {{"B", 3}, {"N", 37}},
     2,
     false},
    {"model m(x: f64[2]) {\n return x\n}\n", {{0}}, 0, false},
};

static const char *spec_of(const struct Case *c, char spec[PATH_MAX]) {
    if (strncmp(c->model, "model", 5)) {
        snprintf(spec, PATH_MAX, "frontend/examples/%s", c->model);
    } else {
        write_model("m.frax", c->model);
        snprintf(spec, PATH_MAX, "%s/m.frax", folder);
    }
    return spec;
}

static void compile(const struct Case *c, const char *spec, const char *options) {
    char arguments[2 * PATH_MAX];
    int n = snprintf(arguments, sizeof arguments, "compile '%s' %s -o @/object --shared%s", spec,
                     c->grad ? "--grad" : "", options);
    for (size_t i = 0; i < c->nsizes; i++)
        n += snprintf(arguments + n, sizeof arguments - (size_t)n, " --size %s=%lld", c->sizes[i].name,
                      (long long)c->sizes[i].value);
    succeeds(arguments);
}

static void compare(const struct Case *c, const char *options) {
    char spec[PATH_MAX], what[PATH_MAX + 128];
    Signature s;
    spec_of(c, spec);
    compile(c, spec, options);
    open_signature(&s, spec, c->sizes, c->nsizes, c->grad);
    Object o = load("object");
    snprintf(what, sizeof what, "%s with%s", c->model, *options ? options : " nothing more");
    run_object(&o, &s, what);
    dlclose(o.library);
    close_signature(&s);
}

static void test_native(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) compare(&cases[i], "");
}

static const char *const levels[] = {" --cpu generic", " --cpu x86-64-v2", " --cpu x86-64-v3",
                                     " --cpu x86-64-v4", " --multi-version"};

static bool runs_here(size_t level) {
#if defined(__x86_64__)
    if (level == 1) return __builtin_cpu_supports("x86-64-v2");
    if (level == 2) return __builtin_cpu_supports("x86-64-v3");
    if (level == 3) return __builtin_cpu_supports("x86-64-v4");
    return true;
#else
    return level == 0;
#endif
}

static void test_levels(void **state) {
    (void)state;
    for (size_t level = 0; level < COUNT(levels); level++)
        for (size_t i = level % 2; i < COUNT(cases); i += 2)
            if (runs_here(level)) compare(&cases[i], levels[level]);
}

static void test_threads(void **state) {
    (void)state;
    static const struct Case big = {
        "model m(x: f64[B, N], w: f64[N, N]) {\n param p: f64 = 0.4\n y = frac(x @ w, p, kind=weyl)\n"
        " loss = mean(y^2)\n return loss, y\n}\n",
        {{"B", 200}, {"N", 128}},
        2,
        true};
    compare(&big, " --threads 3");
}

/* Chunk by chunk through an object, against the whole signal. */
static void test_stream(void **state) {
    (void)state;
    enum { T = 96, CHUNK = 32 };
    static const char text[] = "model m(x: f64[T]) {\n param g: f64 = 2\n"
                               " y = g * frac(x, 0.5, kind=grunwald, engine=soe)\n return y\n}\n";
    FraxSize size = {"T", T};
    Signature whole;
    char spec[PATH_MAX];
    write_model("m.frax", text);
    snprintf(spec, sizeof spec, "%s/m.frax", folder);
    open_signature(&whole, spec, &size, 1, false);
    succeeds("compile @/m.frax --size T=96 --stream T:32 --shared -o @/object");
    char *header = read_all("object.h");
    assert_non_null(strstr(header, "#define OBJECT_CHUNK 32\n"));
    free(header);
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    FraxOptions options = frax_default_options();
    options.target = FRAX_REFERENCE;
    options.sizes = &size;
    options.nsizes = 1;
    options.stream = "T";
    options.chunk = CHUNK;
    assert_int_equal(frax_model_load(spec, &model, &err), FRAX_OK);
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
    size_t params = frax_executable_count(exe, FRAX_PARAM), outputs = frax_executable_count(exe, FRAX_OUTPUT);
    size_t states = frax_executable_states(exe);
    void *args[MOST], *outs[MOST], *held[MOST];
    double gain = 2, y[T];
    Object o = load("object");
    void *workspace = mem_aligned(o.workspace_bytes);
    assert_true(states > 0);
    for (size_t i = 0; i < states; i++) {
        size_t bytes = bytes_of(frax_executable_type(exe, FRAX_PARAM, params - states + i));
        held[i] = calloc(1, bytes);
        args[1 + params - states + i] = outs[outputs - states + i] = held[i];
    }
    args[1] = &gain;
    for (int at = 0; at < T; at += CHUNK) {
        args[0] = (double *)whole.args[0] + at;
        outs[0] = y + at;
        assert_int_equal(o.run((const void *const *)args, outs, workspace), 0);
    }
    for (int i = 0; i < T; i++) {
        double expected = ((double *)whole.expected[0])[i];
        assert_true(fabs(y[i] - expected) <= 1e-10 * fmax(1, fabs(expected)));
    }
    for (size_t i = 0; i < states; i++) free(held[i]);
    mem_free(workspace);
    dlclose(o.library);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    close_signature(&whole);
}

/* ---- The contract ---- */

static void test_statuses(void **state) {
    (void)state;
    double x[101] = {0}, d = 0.4, loss, e[101], bad = NAN;
    succeeds("compile frontend/examples/nile.frax --size T=100 --shared -o @/nile");
    Object o = load("nile");
    void *workspace = mem_aligned(o.workspace_bytes);
    const void *args[] = {x, &d};
    void *outs[] = {&loss, e};
    for (int i = 0; i < 101; i++) x[i] = i % 7;
    assert_int_equal(o.run(args, outs, workspace), 0);
    assert_int_equal(o.run(NULL, outs, workspace), 1);
    assert_int_equal(o.run(args, NULL, workspace), 1);
    assert_int_equal(o.run(args, outs, NULL), 1);
    assert_int_equal(o.run(args, outs, (char *)workspace + 8), 2);
    args[1] = NULL;
    assert_int_equal(o.run(args, outs, workspace), 1);
    args[1] = &bad;
    assert_int_equal(o.run(args, outs, workspace), 16);
    args[1] = &d;
    args[0] = (char *)x + 4;
    assert_int_equal(o.run(args, outs, workspace), 2);
    mem_free(workspace);
    dlclose(o.library);
}

/* The header compiles as C and C++ without a warning, and its wrapper and constants are there. */
static void test_header(void **state) {
    (void)state;
    char command[4 * PATH_MAX];
    succeeds(
        "compile frontend/examples/nile.frax --size T=100 --grad --params --seed 3 --set d=0.25 -o @/nile");
    write_model("main.c", "#include \"nile.h\"\n#include <stdalign.h>\n#include <stdio.h>\n"
                          "int main(void) {\n static double x[NILE_T], e[NILE_T]; double loss, g;\n"
                          " alignas(64) static char workspace[NILE_WORKSPACE_BYTES];\n"
                          " for (int i = 0; i < NILE_T; i++) x[i] = i % 7;\n"
                          " int status = nile_call(x, nile_initial_d, &loss, e, &g, workspace);\n"
                          " printf(\"%s %.3f %d\\n\", nile_status_string(status), nile_initial_d[0],\n"
                          "  nile_workspace_bytes() == NILE_WORKSPACE_BYTES);\n return status;\n}\n");
    snprintf(
        command, sizeof command,
        "cd %s && ${CC:-cc} -std=c11 -Wall -Wextra -pedantic -Werror main.c nile.o -lm -o main && ./main "
        ">said "
        "&& if command -v g++ >/dev/null; then cp main.c main.cc && g++ -std=c++17 -Wall -Wextra -pedantic "
        "-Werror main.cc nile.o -lm -o main && ./main >said; fi",
        folder);
    assert_int_equal(system(command), 0);
    char *said = read_all("said");
    assert_string_equal(said, "done 0.250 1\n");
    free(said);
}

/* Nothing is left undefined but names of libc and libm, and nothing is writable. */
static void expect_stands_alone(const char *arguments) {
    char command[2 * PATH_MAX];
    succeeds(arguments);
    snprintf(command, sizeof command,
             "cd %s && nm -u alone.o | awk '{print $2}' | grep -vE "
             "'^(_ZGV[a-z]N[0-9]+vv?_)?(exp|log|sin|cos|pow|tanh|erf|expm1|log1p|atan2)f?$|^mem(cpy|set|move)"
             "$' >left; "
             "nm alone.o | awk '$2 ~ /^[BbDd]$/' >>left; test ! -s left",
             folder);
    if (system(command)) {
        char *left = read_all("left");
        fail_msg("frax %s: the object needs: %s", arguments, left);
    }
}

static void test_stands_alone(void **state) {
    (void)state;
    static const char *const options[] = {"--cpu native",    "--cpu generic",   "--cpu x86-64",
                                          "--cpu x86-64-v2", "--cpu x86-64-v3", "--cpu x86-64-v4",
                                          "--cpu aarch64",   "--multi-version"};
    write_model("halves.frax",
                "model m(x: f16[N], z: bf16[N]) {\n param d: f16 = 0.4\n param e: bf16 = 0.3\n"
                " y = frac(x, d, kind=grunwald)\n v = frac(z, e, kind=weyl)\n"
                " h = cast(cast(guard(x, 0, 9), f64) * 2, f16)\n"
                " k = cast(cast(guard(z, 0, 9), f64) * 2, bf16)\n"
                " loss = mean(cast(y, f32)) + mean(cast(v, f32)) + mean(cast(h * cast(k, f16), f32))\n"
                " return loss, y, v, h, k\n}\n");
    for (size_t i = 0; i < COUNT(options); i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "compile @/halves.frax --size N=37 --grad %s -o @/alone",
                 options[i]);
        expect_stands_alone(arguments);
    }
    expect_stands_alone(
        "compile frontend/examples/classifier.frax:deep --size B=16 --size N=128 --grad -o @/alone");
}

static void test_cross(void **state) {
    (void)state;
    char head[20] = {0};
    succeeds("compile frontend/examples/nile.frax --size T=100 --grad --cpu aarch64 -o @/arm");
    FILE *file = fopen(in_folder("arm.o"), "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    fclose(file);
    assert_memory_equal(head, "\177ELF\2\1", 6);
    assert_int_equal(head[18], (char)183); /* EM_AARCH64 */
}

static void test_bad_usage(void **state) {
    (void)state;
    size_t files = count_files();
    fails("compile frontend/examples/nile.frax --size T=100", 2, "needs -o PREFIX");
    fails("compile frontend/examples/nile.frax --size T=100 -o", 2, "--output needs a value");
    fails("compile frontend/examples/nile.frax --size T=100 -o @/3d", 2,
          "'3d' begins the names of the functions");
    fails("compile frontend/examples/nile.frax --size T=100 -o @/none/", 2,
          "begins the names of the functions");
    fails("compile frontend/examples/nile.frax -o @/nile", 2, "size T of model nile is not known");
    fails("compile frontend/examples/nile.frax --size T=100 --of e -o @/nile", 2,
          "--of and --wrt need --grad");
    fails("compile frontend/examples/nile.frax --size T=100 --set d=1 -o @/nile", 2,
          "need --params or --save");
    fails("compile frontend/examples/nile.frax --size T=100 --seed 0 -o @/nile", 2,
          "need --params or --save");
    fails("compile frontend/examples/nile.frax --size T=100 --save @/nile.o -o @/nile", 2,
          "/nile.o would be one file");
    fails("compile frontend/examples/nile.frax --size T=100 --save @/nile.svg -o @/nile", 2,
          "expected a name in .safetensors");
    fails("compile frontend/examples/nile.frax --size T=100 --cpu z80 -o @/nile", 2, "unknown cpu z80");
    fails("compile frontend/examples/nile.frax --size T=100 --cpu haswell --target cuda -o @/nile", 2,
          "expected one of: native, generic, x86-64, x86-64-v2, x86-64-v3, x86-64-v4, aarch64");
    fails("compile frontend/examples/nile.frax --size T=100 --cpu native --multi-version -o @/nile", 2,
          "exclude each other");
    fails("compile frontend/examples/nile.frax --size T=100 -o @/no/such/nile", 1, "cannot write");
    fails("compile frontend/examples/nile.frax --size T=100 --save @/no/such.safetensors -o @/nile", 1,
          "no/such");
    write_model("m.frax", "model m(x: f64[N]) {\n y = frac(x, 0.5, kind=weyl)\n return y\n}\n");
    fails("compile @/m.frax --size N=35184372088832 -o @/nile", 3, "more than 2^47 bytes of workspace");
    write_model("g.frax", "model g(x: f64[N]) {\n y = lgamma(x)\n return y\n}\n");
#if defined(__x86_64__)
    fails("compile @/g.frax --size N=8 --cpu aarch64 -o @/nile", 3, "the architecture of this machine alone");
#endif
    unlink(in_folder("m.frax"));
    unlink(in_folder("g.frax"));
    unlink(in_folder("stdout"));
    unlink(in_folder("stderr"));
    assert_true(count_files() <= files); /* nothing of what failed stays */
}

/* What an earlier compilation wrote stays when a later one fails. */
static void test_failure_leaves_files(void **state) {
    (void)state;
    succeeds("compile frontend/examples/nile.frax --size T=100 -o @/kept");
    char *header = read_all("kept.h");
    struct stat before, after;
    assert_int_equal(stat(in_folder("kept.o"), &before), 0);
    size_t files = count_files();
    char command[4 * PATH_MAX];
    setenv("CC", "false", 1);
    fails("compile frontend/examples/nile.frax --size T=50 --shared -o @/kept", 1,
          "--shared: the linker failed with exit status 1: false -shared -o ");
    unsetenv("CC");
    fails("compile frontend/examples/nile.frax --size T=50 --save @/no/such.safetensors -o @/kept", 1,
          "no/such");
    assert_int_equal(mkdir(in_folder("kept.s"), 0700), 0); /* .o comes before it, .h after it */
    fails("compile frontend/examples/nile.frax --size T=50 --asm --save @/kept.safetensors -o @/kept", 1,
          "kept.s': Is a directory");
    assert_int_equal(rmdir(in_folder("kept.s")), 0);
    fails("compile frontend/examples/nile.frax --size T=50 --save @/./kept.h -o @/kept", 2,
          "/./kept.h would be one file");
    snprintf(command, sizeof command,
             "'%s' compile frontend/examples/nile.frax --size T=50 --save %s/kept.safetensors -o %s/kept "
             ">/dev/full 2>%s/stderr",
             getenv("FRAX_PROGRAM"), folder, folder, folder);
    assert_int_equal(WEXITSTATUS(system(command)), 1);
    free(messages);
    messages = read_all("stderr");
    assert_string_equal(messages, "frax: standard output: No space left on device\n");
    char *again = read_all("kept.h");
    assert_string_equal(header, again);
    assert_int_equal(stat(in_folder("kept.o"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* the same file, not one moved over it */
    assert_int_equal(count_files(), files);
    free(header);
    free(again);
}

/* No file that is read is written, whatever the object's files are. */
static void test_inputs_stay(void **state) {
    (void)state;
    static const char model[] =
        "model m(x: f64[T]) {\n    param a: f64 = 2\n    y = a * x\n    return y\n}\n";
    static const struct {
        const char *file, *options, *says;
    } cases[] = {{"read.h", "", "read.h of -o "},
                 {"read.o", "", "read.o of -o "},
                 {"read.s", "--asm", "read.s of -o "},
                 {"read.ll", "--llvm", "read.ll of -o "},
                 {"read.so", "--shared", "read.so of -o "},
                 {"read.c", "--target cuda", "read.c of -o "},
                 {"read.fatbin", "--target cuda", "read.fatbin of -o "},
                 {"read.sm_90.cubin", "--target cuda", "read.sm_90.cubin of -o "},
                 {"read.sm_80.cubin", "--target cuda", "read.sm_80.cubin of -o "},
                 {"read.ptx", "--target cuda", "read.ptx of -o "},
                 {"read.frax", "--save @/read.frax", "--save "}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char command[256], says[PATH_MAX + 128];
        write_model(cases[i].file, model);
        size_t files = count_files();
        snprintf(command, sizeof command, "compile @/%s:m --size T=4 %s -o @/read", cases[i].file,
                 cases[i].options);
        snprintf(says, sizeof says, " would overwrite the model %s\n", in_folder(cases[i].file));
        fails(command, 2, says);
        assert_non_null(strstr(messages, cases[i].says));
        char *text = read_all(cases[i].file);
        assert_string_equal(text, model);
        free(text);
        assert_int_equal(count_files(), files);
        unlink(in_folder(cases[i].file));
    }
    write_model("read.c", model); /* which is for --target cuda to write */
    succeeds("compile @/read.c --size T=4 -o @/read");
    succeeds("compile @/read.c --size T=4 --save @/read.safetensors -o @/read");
    fails("compile @/read.c --size T=4 --params --load @/read.safetensors -o @/read --save @/read.o", 2,
          "would be one file");
    fails("compile @/read.c --size T=4 --params --load @/read.h -o @/read", 2, "would overwrite --load ");
    fails("compile @/read.c --in x=@/x.npy --save @/x.npy -o @/read", 2, "x.npy would overwrite --in x=");
    char *target = strdup(in_folder("read.c"));
    assert_int_equal(symlink(target, in_folder("read.ll")), 0);
    fails("compile @/read.c --size T=4 --llvm -o @/read", 2, "read.ll of -o ");
    free(target);
}

/* A device is written to, not replaced; a link stays, and what it names is replaced. */
static void test_places(void **state) {
    (void)state;
    struct stat device, link;
    assert_int_equal(symlink("target.h", in_folder("linked.h")), 0);
    char *target = strdup(in_folder("target.h"));
    assert_int_equal(fclose(fopen(target, "w")), 0);
    succeeds("compile frontend/examples/nile.frax --size T=50 --save /dev/null -o @/linked");
    assert_true(stat("/dev/null", &device) == 0 && S_ISCHR(device.st_mode));
    assert_true(lstat(in_folder("linked.h"), &link) == 0 && S_ISLNK(link.st_mode));
    assert_true(stat(target, &link) == 0 && link.st_size > 0);
    free(target);
}

/* Every file that was written is listed. */
static void test_listed(void **state) {
    (void)state;
    char expected[5 * PATH_MAX];
    succeeds(
        "compile frontend/examples/nile.frax --size T=100 --llvm --asm --shared --save @/listed.safetensors "
        "-o @/listed");
    snprintf(expected, sizeof expected,
             "%1$s/listed.o\n%1$s/listed.ll\n%1$s/listed.s\n%1$s/listed.h\n"
             "%1$s/listed.so\n%1$s/listed.safetensors\n",
             folder);
    assert_string_equal(out, expected);
    TensorSet set = {0};
    assert_int_equal(safetensors_read(in_folder("listed.safetensors"), &set, NULL), FRAX_OK);
    assert_non_null(tensor_set_find(&set, "d"));
    tensor_set_free(&set);
}

/* Sizes and arguments called as C, C++, their headers or this one call other things. */
static void test_names(void **state) {
    (void)state;
    static const char *const names[] = {"class",
                                        "new",
                                        "I",
                                        "NULL",
                                        "uint8_t",
                                        "_Bool",
                                        "out_run",
                                        "OUT_T",
                                        "complex",
                                        "constexpr",
                                        "INT_MAX",
                                        "wchar_t",
                                        "workspace",
                                        "args",
                                        "OUT_OK",
                                        "states",
                                        "linux",
                                        "typeof",
                                        "concept",
                                        "__FILE__",
                                        "int",
                                        "errno",
                                        "out_status_string",
                                        "static_assert"};
    char command[4 * PATH_MAX];
    for (size_t i = 0; i < COUNT(names); i++) {
        char model[512];
        snprintf(model, sizeof model,
                 "model m(%s: f64[T, H, OK, WORKSPACE_BYTES]) {\n param p: f64 = 1\n y = p * %s\n"
                 " loss = sum(y)\n return loss, y\n}\n",
                 names[i], names[i]);
        write_model("m.frax", model);
        succeeds("compile @/m.frax --size T=2 --size H=1 --size OK=1 --size WORKSPACE_BYTES=1 --grad "
                 "--params -o @/out");
        write_model("use.c",
                    "#include <assert.h>\n#include <complex.h>\n#include <errno.h>\n#include <limits.h>\n"
                    "#include \"out.h\"\n#include \"out.h\"\nint main(void) { return OUT_T - 2; }\n");
        write_model("use.cc", "#include <cerrno>\n#include \"out.h\"\nint main() { return OUT_H - 1; }\n");
        snprintf(command, sizeof command,
                 "cd %s && ${CC:-cc} -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only use.c && "
                 "${CC:-cc} -Wall -Wextra -Werror -fsyntax-only use.c && if command -v g++ >/dev/null; then "
                 "g++ -std=c++20 -Wall -Wextra -pedantic -Werror -fsyntax-only use.cc; fi",
                 folder);
        if (system(command)) fail_msg("an input called %s", names[i]);
    }
}

static int set_up(void **state) {
    (void)state;
    return make_folder();
}

static int tear_down(void **state) {
    (void)state;
    return remove_folder();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_usage),    cmocka_unit_test(test_failure_leaves_files),
        cmocka_unit_test(test_inputs_stay),  cmocka_unit_test(test_places),
        cmocka_unit_test(test_listed),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_native),       cmocka_unit_test(test_levels),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_stream),
        cmocka_unit_test(test_statuses),     cmocka_unit_test(test_header),
        cmocka_unit_test(test_stands_alone), cmocka_unit_test(test_cross),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
