/* test_cli_stream.c — frax run --stream: files through a model in chunks, against the same files whole.
 */
#include "program_run.h"
#include "half.h"
#include <math.h>
#include <sys/resource.h>

enum { SAMPLES = 1000, CHANNELS = 3, ROWS = 50 };

static const char models[] = "model filter(x: f64[T], w: f64[5]) {\n"
                             "    y    = causal_conv(w, x)\n"
                             "    d    = y[1:] - y[:-1]\n"
                             "    loss = mean(x^2)\n"
                             "    return y, d, loss\n"
                             "}\n"
                             "model channels(x: f64[C, T]) {\n"
                             "    param g: f64[C] = 2\n"
                             "    y = tanh(x) * g[:, none] + cast(iota(T), f64) / T\n"
                             "    m = mean(x, axis=1)\n"
                             "    return y, m\n"
                             "}\n"
                             "model rows(x: f64[B, C], s: i32[B]) {\n"
                             "    param alpha: f64 = 0.5\n"
                             "    y = frac(x, alpha, kind=weyl) * cast(s, f64)[:, none]\n"
                             "    return y\n"
                             "}\n"
                             "model both(x: f64[T], y: f64[2, T]) {\n"
                             "    z = x * y\n"
                             "    return z\n"
                             "}\n"
                             "model checked(x: f64[T]) {\n"
                             "    y = guard(x, -10, 0.9)\n"
                             "    return y\n"
                             "}\n"
                             "model places(x: f64[A, T, B]) {\n"
                             "    y = guard(2 * x, -10, 0.9)\n"
                             "    return y\n"
                             "}\n"
                             "model late(x: f64[T]) {\n"
                             "    y = guard(x[3:] - x[:-3], -10, 0.9)\n"
                             "    return y\n"
                             "}\n"
                             "model total(x: f64[T]) {\n"
                             "    s = sum(x + 1)\n"
                             "    return s\n"
                             "}\n";

/* ---- Files ---- */

static double *noise(size_t n) {
    double *values = calloc(n, sizeof *values);
    uint32_t seed = 5;
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        values[i] = (double)(seed >> 8) / (1 << 24) - 0.5;
    }
    return values;
}

static void write_noise(const char *name, FraxTensor type) {
    type.data = noise((size_t)tensor_count(&type));
    assert_int_equal(npy_write(in_folder(name), &type, NULL), FRAX_OK);
    free(type.data);
}

/* The file `from` with `change` for `what` in its header, of the same length, and other data. */
static void write_variant(const char *name, const FraxTensor *type, const char *what, const char *change,
                          const void *data, size_t bytes) {
    Text text = {0};
    npy_header(&text, type);
    char *at = strstr(text.data + 10, what); /* after the length, which holds a 0 */
    assert_non_null(at);
    memcpy(at, change, strlen(change));
    text_append(&text, data, bytes);
    assert_int_equal(file_replace(in_folder(name), text.data, text.len, NULL), FRAX_OK);
    text_free(&text);
}

static void write_variants(void) {
    FraxTensor t = {.dtype = FRAX_F64, .rank = 2, .dims = {CHANNELS, SAMPLES}};
    double *columns = noise(CHANNELS * SAMPLES), *swapped = noise(SAMPLES);
    write_variant("fortran.npy", &t, "False", "True ", columns, CHANNELS * SAMPLES * sizeof *columns);
    t = (FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {SAMPLES}};
    swap_bytes(swapped, SAMPLES, sizeof *swapped);
    write_variant("big_endian.npy", &t, "<f8", ">f8", swapped, SAMPLES * sizeof *swapped);
    int8_t bytes[ROWS];
    for (int i = 0; i < ROWS; i++) bytes[i] = (int8_t)(i % 7 - 3);
    t = (FraxTensor){.dtype = FRAX_I32, .rank = 1, .dims = {ROWS}};
    write_variant("signs.npy", &t, "'<i4'", "'|i1'", bytes, sizeof bytes);
    free(columns);
    free(swapped);
}

static int set_up(void **state) {
    (void)state;
    if (make_folder()) return -1;
    write_model("m.frax", models);
    write_noise("x.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {SAMPLES}});
    write_noise("short.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 2, .dims = {2, SAMPLES - 1}});
    write_noise("one.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {1}});
    write_noise("w.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {5}});
    write_noise("channels.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 2, .dims = {CHANNELS, SAMPLES}});
    write_noise("rows.npy", (FraxTensor){.dtype = FRAX_F64, .rank = 2, .dims = {ROWS, 16}});
    write_variants();
    if (symlink("/dev/null", in_folder("null.npy")) || symlink("/dev/full", in_folder("full.npy"))) return -1;
    write_model("stdout", "");
    write_model("stderr", "");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return remove_folder();
}

/* ---- Streamed and whole ---- */

static void expect_same_file(const char *a, const char *b, const char *arguments) {
    FraxTensor left, right;
    FraxError err;
    if (npy_read(in_folder(a), &left, &err) || npy_read(in_folder(b), &right, &err))
        fail_msg("%s", err.message);
    assert_int_equal(left.dtype, right.dtype);
    assert_int_equal(left.rank, right.rank);
    assert_memory_equal(left.dims, right.dims, sizeof left.dims);
    for (int64_t i = 0; i < tensor_count(&left); i++) {
        double u = element_get(left.data, left.dtype, i), v = element_get(right.data, right.dtype, i);
        if (!(fabs(u - v) <= 1e-12 * fmax(1, fabs(u))))
            fail_msg("frax run %s\n%s, element %lld: %.17g streamed, %.17g whole", arguments, a, (long long)i,
                     u, v);
    }
    tensor_free(&left);
    tensor_free(&right);
}

typedef struct Agreement {
    const char *arguments, *size, *outputs[4];
} Agreement;

/* Runs with `how`, the outputs in files PREFIXname.npy. */
static void run_into(const Agreement *c, const char *how, const char *prefix) {
    char command[1024];
    snprintf(command, sizeof command, "run %s%s", c->arguments, how);
    for (int o = 0; c->outputs[o]; o++)
        sprintf(command + strlen(command), " --out %s=@/%s%s.npy", c->outputs[o], prefix, c->outputs[o]);
    succeeds(command);
    assert_string_equal(out, "");
}

static void test_files_agree(void **state) {
    (void)state;
    static const Agreement cases[] = {
        {"@/m.frax --in x=@/x.npy --in w=@/w.npy", "T", {"y", "d", "loss"}},
        {"@/m.frax --in x=@/big_endian.npy --in w=@/w.npy", "T", {"y", "d", "loss"}},
        {"@/m.frax:channels --in x=@/channels.npy --set g=1,2,3", "T", {"y", "m"}},
        {"@/m.frax:channels --in x=@/fortran.npy", "T", {"y", "m"}},
        {"@/m.frax:rows --in x=@/rows.npy --in s=@/signs.npy", "B", {"y"}},
        {"@/m.frax --in x=@/one.npy --in w=@/w.npy", "T", {"y", "d", "loss"}},
    };
    static const char *const how[] = {
        ":1 --target reference", ":7 --target eager", ":64", ":1000", "", ":2000"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        run_into(&cases[i], "", "w_");
        for (size_t k = 0; k < COUNT(how); k++) {
            char stream[64];
            snprintf(stream, sizeof stream, " --stream %s%s", cases[i].size, how[k]);
            run_into(&cases[i], stream, "s_");
            for (int o = 0; cases[i].outputs[o]; o++) {
                char a[64], b[64];
                snprintf(a, sizeof a, "s_%s.npy", cases[i].outputs[o]);
                snprintf(b, sizeof b, "w_%s.npy", cases[i].outputs[o]);
                expect_same_file(a, b, stream);
            }
        }
    }
}

static void test_summaries(void **state) {
    (void)state;
    succeeds("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:300");
    says("loss f64[] = ");
    says("y f64[1000]: streamed; --out y=FILE.npy writes it\nd f64[999]: streamed");
    cJSON *tree = json("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:300 --json --out y=@/y.npy");
    assert_true(first_value(tree, "outputs", "loss") > 0);
    assert_int_equal(at(tree, "stream", "length", NULL)->valueint, 1000);
    assert_int_equal(at(tree, "stream", "chunk", NULL)->valueint, 300);
    assert_int_equal(at(tree, "stream", "runs", NULL)->valueint, 4);
    assert_int_equal(at(tree, "stream", "states", NULL)->valueint, 4);
    assert_int_equal(at(tree, "stream", "state_bytes", NULL)->valueint, 8 * (4 + 1 + 1 + 1));
    cJSON_Delete(tree);
    succeeds("show @/m.frax --size T=100 --stream T:8");
    says("state.0 = ");
    /* What is no regular file takes the parts of a leading axis as they come. */
    succeeds("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:10 --out y=@/null.npy");
}

static void test_faults(void **state) {
    (void)state;
    size_t files = count_files();
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream S", 2, "model filter has no size 'S'");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:0", 2, "expected SIZE or SIZE:CHUNK");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:x", 2, "expected SIZE or SIZE:CHUNK");
    fails("run @/m.frax --in w=@/w.npy --stream T", 2, "input x f64[T] is missing");
    fails("run @/m.frax --in x=@/x.npz --in w=@/w.npy --stream T", 2, "is read from an NPY file");
    fails("run @/m.frax --in x=@/none.npy --in w=@/w.npy --stream T", 1, "No such file");
    fails("run @/m.frax --in x=@/m.frax.npy --in w=@/w.npy --stream T", 1, "m.frax.npy");
    fails("run @/m.frax --in x=@/channels.npy --in w=@/w.npy --stream T", 1, "expected f64[T]");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T --out y=@/y.npz", 2, "goes to an NPY file");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T --out q=@/q.npy", 2,
          "no result of this name");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T --out y=@/a.npy --out d=@/a.npy", 2,
          "cannot hold y and d");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T --out y=@/a.npy --out d=@/./a.npy", 2,
          "cannot hold y and d");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T --out y=@/./x.npy", 2,
          "x.npy would overwrite --in x=");
    fails("run @/m.frax:both --in x=@/x.npy --in y=@/short.npy --stream T", 1, "input y has size 999");
    fails("run @/m.frax:rows --in x=@/rows.npy --in s=@/signs.npy --stream C", 1,
          "m.frax:15:9: streaming C: a periodic operator along the streamed axis needs the whole signal");
    fails("run @/m.frax:channels --in x=@/channels.npy --stream C", 1, "it may be an input with the size C");
    fails("run @/m.frax:channels --in x=@/channels.npy --stream T:9 --out y=@/null.npy", 1, "in one go only");
    fails("run @/m.frax --in x=@/x.npy --in w=@/w.npy --stream T:9 --out y=@/full.npy", 1, "No space left");
    fails("fit @/m.frax --stream T --steps 1", 2, "--stream is not an option of frax fit");
    /* a fault in the midst leaves nothing behind */
    double *values = noise(SAMPLES);
    values[700] = 2;
    FraxTensor t = {.dtype = FRAX_F64, .rank = 1, .dims = {SAMPLES}, .data = values};
    assert_int_equal(npy_write(in_folder("far.npy"), &t, NULL), FRAX_OK);
    free(values);
    fails("run @/m.frax:checked --in x=@/far.npy --stream T:64 --out y=@/far_y.npy", 1,
          "is 2 at element 700");
    assert_int_equal(count_files(), files + 1);
}

/* A sparse file beyond what the program may keep. */
static void test_memory(void **state) {
    (void)state;
    enum { MEGABYTES = 400, MOST = 350 };
    FraxTensor t = {.dtype = FRAX_F64, .rank = 1, .dims = {MEGABYTES / 8 << 20}};
    Text header = {0};
    npy_header(&header, &t);
    assert_int_equal(file_replace(in_folder("large.npy"), header.data, header.len, NULL), FRAX_OK);
    assert_int_equal(truncate(in_folder("large.npy"), (off_t)header.len + ((off_t)MEGABYTES << 20)), 0);
    text_free(&header);
    succeeds("run @/m.frax:total --in x=@/large.npy --stream T");
    says("s f64[] = 52428800.000000000");
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    assert_in_range(usage.ru_maxrss, 1, MOST << 10); /* of all runs so far */
}

/* A file of zeros but for element `at`. */
static void write_fault(const char *name, FraxTensor type, int64_t at) {
    double *values = calloc((size_t)tensor_count(&type), sizeof *values);
    assert_non_null(values);
    values[at] = 0.95;
    type.data = values;
    assert_int_equal(npy_write(in_folder(name), &type, NULL), FRAX_OK);
    free(values);
}

/* A fault is placed in the whole signal, as a run without chunks does. */
static void test_guards_count_the_whole(void **state) {
    (void)state;
    static const struct {
        const char *model, *size;
        FraxTensor type;
        int64_t fault, element;
    } cases[] = {{"checked", "T", {.dtype = FRAX_F64, .rank = 1, .dims = {SAMPLES}}, 777, 777},
                 {"late", "T", {.dtype = FRAX_F64, .rank = 1, .dims = {SAMPLES}}, 777, 774},
                 {"places", "A", {.dtype = FRAX_F64, .rank = 3, .dims = {40, 3, 2}}, 227, 227},
                 {"places", "T", {.dtype = FRAX_F64, .rank = 3, .dims = {3, 40, 2}}, 227, 227},
                 {"places", "B", {.dtype = FRAX_F64, .rank = 3, .dims = {2, 3, 40}}, 227, 227}};
    static const char *const ways[] = {"",
                                       "--stream %s:7",
                                       "--stream %s:7 --target eager",
                                       "--stream %s:7 --target reference",
                                       "--stream %s:1",
                                       "--stream %s:2000"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_fault("fault.npy", cases[i].type, cases[i].fault);
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            char command[256], says[64];
            int n = snprintf(command, sizeof command, "run @/m.frax:%s --in x=@/fault.npy --out y=@/o.npy ",
                             cases[i].model);
            snprintf(command + n, sizeof command - (size_t)n, ways[k], cases[i].size);
            snprintf(says, sizeof says, " at element %d, expected", (int)cases[i].element);
            fails(command, 1, says);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_agree),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_guards_count_the_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
