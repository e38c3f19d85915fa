/* test_cli.c — the program frax as scripts see it: exit statuses, standard output, JSON, files.
 */
#include "program_run.h"
#include <math.h>
#include <sys/stat.h>

#define NILE "frontend/examples/nile.frax --in x=frontend/examples/data/nile.npy"

static int set_up(void **state) {
    setenv("FRAX_CUDA_DRIVER", "/nowhere/libcuda.so.1", 1);
    (void)state;
    if (make_folder()) return -1;
    write_model("two.frax", "model first(x: f64[N]) {\n"
                            "    param a: f64[2] = 3\n"
                            "    y    = x * a[0] - a[1]\n"
                            "    loss = mean(y^2)\n"
                            "    return loss, y\n"
                            "}\n"
                            "model second(x: f32[B, 3], on: bool[B]) {\n"
                            "    z = where(on[:, none], x, 0)\n"
                            "    k = argmax(x, axis=1)\n"
                            "    return z, k\n"
                            "}\n");
    write_model("long.frax", "model long(x: f64[T]) {\n"
                             "    y = frac(x, 0.4, kind=grunwald, engine=fft)\n"
                             "    return y\n"
                             "}\n");
    write_model("noise.frax", "model noise(k: key) {\n"
                              "    y = random_normal(k, [3])\n"
                              "    return y\n"
                              "}\n");
    double ramp[4] = {1, 2, 3, 4};
    float table[2][3] = {{1, 5, 2}, {0.1f, -1, NAN}};
    uint8_t on[2] = {1, 0};
    FraxTensor t = {.dtype = FRAX_F64, .rank = 1, .dims = {4}, .data = ramp};
    npy_write(in_folder("ramp.npy"), &t, NULL);
    t = (FraxTensor){.dtype = FRAX_F32, .rank = 2, .dims = {2, 3}, .data = table};
    npy_write(in_folder("table.npy"), &t, NULL);
    t = (FraxTensor){.dtype = FRAX_BOOL, .rank = 1, .dims = {2}, .data = on};
    npy_write(in_folder("on.npy"), &t, NULL);
    write_model("stdout", "");
    write_model("stderr", "");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return remove_folder();
}

/* ---- Usage ---- */

static void test_help(void **state) {
    (void)state;
    static const char *const verbs[] = {"check", "show", "run", "grad", "fit", "bench", "compile", "devices"};
    succeeds("--version");
    assert_string_equal(out, "frax " FRAX_VERSION "\n");
    succeeds("--help");
    says("usage: frax VERB");
    for (size_t i = 0; i < COUNT(verbs); i++) {
        char arguments[64], usage[64];
        succeeds("help");
        says(verbs[i]);
        snprintf(arguments, sizeof arguments, "%s --help", verbs[i]);
        snprintf(usage, sizeof usage, "usage: frax %s", verbs[i]);
        succeeds(arguments);
        says(usage);
    }
    says("--json");
    succeeds("fit --help");
    says("--weight-decay X");
    assert_null(strstr(out, "--after"));
    succeeds("show --help");
    says("--asm ");
    succeeds("help frac");
    says("riemann_liouville\n    scheme=gl: ");
    says("0 < alpha <= 1 (soe: 0.05 <= alpha <= 1), order 2 - alpha; Lin & Xu 2007");
    assert_null(strstr(out, "tanh"));
    succeeds("help builtins");
    says("cross_entropy(");
    says("tanh(x)");
    succeeds("help passes");
    says("sink_broadcast");
}

static void test_wrong_usage(void **state) {
    (void)state;
    fails("", 2, "a verb is missing");
    fails("fitt", 2, "unknown verb fitt (did you mean fit?)");
    fails("compose x.frax", 2, "unknown verb compose");
    fails("run", 2, "frax run needs a model");
    fails("run a.frax b.frax", 2, "unexpected argument b.frax");
    fails("devices cpu", 2, "unexpected argument cpu");
    fails("run a.frax --stpes 3", 2, "did you mean --steps?");
    fails("run a.frax --steps 3", 2, "--steps is not an option of frax run, but of: fit");
    fails("run a.frax -x", 2, "unknown option -x");
    fails("run a.frax --in", 2, "--in needs a value: NAME=FILE");
    fails("run a.frax --in x", 2, "expected NAME=FILE");
    fails("run a.frax --in =x", 2, "expected NAME=FILE");
    fails("run a.frax --in x=a.npy --in x=b.npy", 2, "--in gives x twice");
    fails("run a.frax --json=1", 2, "--json takes no value");
    fails("run a.frax --threads 0", 2, "--threads 0: expected a whole number, 1 or more");
    fails("run a.frax --threads 99999999999999999999", 2, "expected a whole number");
    fails("run a.frax --seed -1", 2, "--seed -1: expected a whole number, 0 or more");
    fails("fit a.frax --lr fast", 2, "--lr fast: expected a number");
    fails("fit " NILE, 2, "frax fit needs --steps N");
    fails("fit " NILE " --steps 3 --optimizer adma", 2, "did you mean adam?");
    fails("grad " NILE " --mode backward", 2, "expected one of: forward, reverse, hvp");
    fails("run " NILE " --target gpu", 2, "expected one of: cpu, eager, reference");
    fails("run " NILE " --size T=x", 2, "expected a whole number");
    fails("run frontend/examples/nile.frax", 2, "input x f64[T] is missing: give --in x=FILE.npy");
    fails("show frontend/examples/nile.frax --size T=4 --dot --llvm", 2, "exclude each other");
    fails("show frontend/examples/nile.frax --size T=4 --after fusion", 2, "unknown pass fusion");
    fails("show @/two.frax --size N=4 --of y", 2, "--of and --wrt need --grad");
    fails("bench @/two.frax --size N=4 --wrt a", 2, "--of and --wrt need --grad");
    fails("grad @/two.frax --in x=@/ramp.npy --mode forward --of y", 2, "--of means nothing");
    fails("fit " NILE " --steps 3 --momentum 0.9", 2, "--momentum means nothing to optimizer adam");
    fails("fit " NILE " --steps 3 --optimizer lbfgs --lr 1", 2, "--lr means nothing to optimizer lbfgs");
    fails("fit " NILE " --steps 3 --lr -1", 2, "--lr -1: expected a finite number, at least 0");
    fails("fit " NILE " --steps 3 --optimizer sgd --momentum 2", 2,
          "--momentum 2: expected at least 0 and below 1");
    fails("fit " NILE " --steps 3 --beta2 1", 2, "--beta2 1: expected at least 0 and below 1");
    fails("fit " NILE " --steps 3 --eps -1", 2, "--eps -1: expected");
    fails("fit " NILE " --steps 3 --clip-norm -1", 2, "--clip-norm -1: expected");
    fails("fit " NILE " --steps 3 --weight-decay -0.5", 2, "--weight-decay -0.5: expected");
    fails("fit " NILE " --steps 3 --optimizer lbfgs --tolerance -1", 2, "--tolerance -1: expected");
    fails("help me", 2, "unknown topic me");
    fails("help --man @ run", 2, "unexpected argument run");
    fails("help run --completion bash", 2, "unexpected argument run");
    fails("compile a.frax --save '' -o a", 2, "--save '': expected P.safetensors");
    fails("compile a.frax -o ''", 2, "--output '': expected PREFIX");
    fails("fit a.frax --plot=", 2, "--plot '': expected F.svg");
    fails("run ''", 2, "frax run needs a model");
    fails("run a.frax --out y=", 2, "--out y=: nothing follows the =; expected NAME=FILE");
}

/* Names that the model lacks: the options are wrong, whatever the verb. */
static void test_unknown_names(void **state) {
    (void)state;
    fails("check @/two.frax:frist", 2, "has no model 'frist'; did you mean 'first'?");
    fails("run @/two.frax:third --in x=@/ramp.npy", 2, "has no model 'third'; the first one is 'first'");
    fails("run " NILE " --in y=@/ramp.npy", 2, "has no such input");
    fails("run @/two.frax --in x=@/ramp.npy --size M=7", 2, "model first has no size 'M'");
    fails("show @/two.frax --size M=7", 2, "has no size 'M'");
    fails("compile @/two.frax --size M=7 -o @/object", 2, "has no size 'M'");
    fails("run @/two.frax --in x=@/ramp.npy --set b=1", 2, "has no such param");
    fails("compile @/two.frax --size N=4 --params --set b=1 -o @/object", 2, "has no such param");
    fails("grad @/two.frax --in x=@/ramp.npy --wrt a,b", 2,
          "--wrt b: model first has no such param or input");
    fails("fit @/two.frax --in x=@/ramp.npy --steps 1 --wrt b", 2,
          "--wrt b: model first has no such param\n");
    fails("grad @/two.frax --in x=@/ramp.npy --wrt a,x,a", 2, "--wrt names a twice");
    fails("fit @/two.frax --in x=@/ramp.npy --steps 1 --wrt x", 2,
          "x is an input; only params can be fitted");
    fails("bench @/two.frax --size N=4 --grad --wrt b", 2, "has no such param");
    fails("grad @/two.frax --in x=@/ramp.npy --of lose", 2, "has no such output; did you mean loss?");
    fails("show @/two.frax --size N=4 --grad --of lose", 2, "has no such output");
    fails("run @/two.frax --in x=@/ramp.npy --out z=@/z.npy", 2, "--out z: there is no result of this name");
    fails("run @/two.frax --in x=@/ramp.npy --stream M", 2, "has no size 'M'");
}

static void test_faults_of_model_and_data(void **state) {
    (void)state;
    write_model("bad.frax", "model m(x: f64[N]) {\n    y = sn(x)\n    return y\n}\n");
    fails("check @/bad.frax", 1, "bad.frax:2:9:");
    assert_non_null(strstr(messages, "^"));
    fails("check @/none.frax", 1, "none.frax: No such file");
    fails("run @/two.frax --in x=@/none.npy", 1, "none.npy");
    fails("run @/two.frax --in x=@/table.npy", 1, "holds f32, the model wants f64[N]");
    assert_non_null(strstr(messages, "cast(x, f64)"));
    fails("run @/noise.frax --in k=@/ramp.npy", 1,
          "holds f64; a key is an i32[2]: convert the file, or leave it out");
    fails("run @/two.frax:second --in on=@/on.npy --in x=@/table.npy --size B=7", 1, "B");
    fails("run @/two.frax --in x=@/ramp.npy --set a=1,2,3", 1, "got 3 numbers, expected 1 or 2");
    fails("run " NILE " --set d=1,2", 1, "got 2 numbers, expected 1\n");
    fails("run @/two.frax --in x=@/ramp.npy --set a=one", 2, "expected numbers");
    fails("run @/two.frax --in x=@/ramp.npy --set a=1,nan", 2,
          "--set a=1,nan: 'nan' is not a finite number of f");
    fails("grad @/two.frax --in x=@/ramp.npy --set a=inf", 2, "'inf' is not a finite number");
    fails("fit " NILE " --steps 1 --set d=1e999", 2, "--set d=1e999: '1e999' is not a finite number of f64");
    fails("bench " NILE " --set d=-inf", 2, "'-inf' is not a finite number");
    fails("grad " NILE " --mode forward --tangent d=nan", 2, "--tangent d=nan: 'nan' is not a finite number");
    fails("compile frontend/examples/nile.frax --size T=4 --params --set d=nan -o @/object", 2, "finite");
    write_model("narrow.frax", "model m(x: bool[N]) {\n    param a: f32 = 1\n    y = where(x, a, 0)\n"
                               "    return y\n}\n");
    fails("run @/narrow.frax --in x=@/on.npy --set a=1e39", 2, "'1e39' is not a finite number of f32");
    fails("run @/two.frax --in x=@/ramp.npy --load @/ramp.npy", 1, "ramp.npy");
    fails("grad @/two.frax --in x=@/ramp.npy --of y", 1, "only a floating scalar");
    fails("grad @/two.frax --in x=@/ramp.npy --tangent a=1", 2, "--tangent");
    fails("fit " NILE " --steps 50 --optimizer sgd --lr 1e9", 1, "param d is not finite");
    assert_non_null(strstr(messages, "step "));
    fails("run " NILE " --target cuda", 3,
          "names /nowhere/libcuda.so.1, which cannot be opened"); /* by set_up */
    fails("fit " NILE " --steps 1 --device 0", 2, "--device chooses a GPU for --target cuda");
    fails("run " NILE " --device 1", 2, "--device chooses a GPU for --target cuda");
    fails("bench " NILE " --target eager", 2, "bench compares cpu or cuda with eager");
    fails("compile frontend/examples/nile.frax --size T=4 -o @/object --target eager", 2, "cpu and cuda");
}

#define SERIES " --in x=frontend/examples/data/nile.npy"

/* A guarded value out of its range: when it is compiled, in every verb, on every target, during a fit. */
static void test_guards(void **state) {
    (void)state;
    static const char *const verbs[] = {"run", "grad", "fit --steps 3"};
    static const char *const targets[] = {"cpu", "eager", "reference"};
    write_model("order.frax", "model order(x: f64[T]) {\n"
                              "    param alpha: f64 = 0.5\n"
                              "    w    = grunwald_weights(guard(alpha, 0, 1), 4)\n"
                              "    loss = 1e-3 * mean(x) - alpha + sum(w)\n"
                              "    return loss\n"
                              "}\n");
    write_model("constant.frax", "model constant(x: f64[T]) {\n"
                                 "    y = x * guard(1.5, 0, 1)\n"
                                 "    return y\n"
                                 "}\n");
    fails("run @/constant.frax" SERIES, 1,
          "constant.frax:2:13: guard: x is 1.5, expected 0 <= x <= 1\n    y = x * guard(1.5, 0, 1)\n         "
          "   ^");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
            char command[256];
            snprintf(command, sizeof command, "%s @/order.frax" SERIES " --set alpha=1.5 --target %s",
                     verbs[i], targets[t]);
            fails(command, 1, "order.frax:3:29: guard: x is 1.5, expected 0 <= x <= 1");
        }
    fails("fit @/order.frax" SERIES " --steps 50 --optimizer sgd --lr 10", 1,
          "order.frax:3:29: guard: x is ");
}

/* What a fit had reached before a guard ended it is saved; a start that is out of range is not. */
static void test_fits_ended_by_a_guard(void **state) {
    (void)state;
    write_model("edge.frax", "model edge(x: f64[T]) {\n"
                             "    param alpha: f64 = 0.5\n"
                             "    loss = (guard(alpha, 0, 0.95) - 2)^2 + 0 * mean(x)\n"
                             "    return loss\n"
                             "}\n");
    const char *fit =
        "fit @/edge.frax" SERIES " --steps 50 --optimizer sgd --lr 0.05 --save @/edge.safetensors";
    fails(fit, 1, "step 5: ");
    fails(fit, 1, "expected 0 <= x <= 0.95; a smaller learning rate may help");
    fails(fit, 1, "edge.safetensors: the last params at which every value was in its range)");
    cJSON *tree = json("run @/edge.frax" SERIES " --load @/edge.safetensors --json");
    double distance = 1.5; /* from 2: each step takes a tenth of it */
    for (int step = 1; 2 - 0.9 * distance <= 0.95; step++) distance *= 0.9;
    assert_true(fabs(first_value(tree, "outputs", "loss") - distance * distance) < 1e-12);
    cJSON_Delete(tree);
    fails("fit @/edge.frax" SERIES " --set alpha=3 --steps 5 --save @/none.safetensors", 1, "step 1: ");
    assert_null(strstr(messages, "safetensors"));
    assert_null(strstr(messages, "learning rate"));
    assert_null(read_all("none.safetensors"));
    tree = json("fit @/edge.frax" SERIES " --steps 50 --optimizer lbfgs --json");
    assert_true(cJSON_IsFalse(at(tree, "converged", NULL, NULL)));
    assert_string_equal(at(tree, "outcome", NULL, NULL)->valuestring,
                        "a guarded value has reached the end of its range");
    cJSON_Delete(tree);
}

/* ---- Verbs ---- */

static void test_check(void **state) {
    (void)state;
    write_model("images.frax",
                "model images(x: f32[B, C, H, W]) {\n y = sum(x / 512, axis=(2, 3))\n return y\n}\n");
    succeeds("check @/images.frax");
    says("f32[B,C]");
    succeeds("check frontend/examples/nile.frax");
    says("f64[T]");
    cJSON *tree = json("check @/two.frax:second --json");
    assert_string_equal(cJSON_GetStringValue(at(tree, "model", NULL, NULL)), "second");
    const cJSON *x = cJSON_GetArrayItem(at(tree, "inputs", NULL, NULL), 0);
    assert_string_equal(cJSON_GetStringValue(at(x, "type", NULL, NULL)), "f32[B,3]");
    assert_int_equal(cJSON_GetArraySize(at(tree, "outputs", NULL, NULL)), 2);
    cJSON_Delete(tree);
}

static void test_run(void **state) {
    (void)state;
    succeeds("run @/two.frax --in x=@/ramp.npy --set a=2,1");
    assert_string_equal(out, "loss f64[] = 21.000000000000000\n"
                             "y f64[4] = [1.0000000000000000, 3.0000000000000000, 5.0000000000000000, "
                             "7.0000000000000000]\n");
    succeeds("run @/two.frax:second --in=x=@/table.npy --in on=@/on.npy --target=reference");
    says("z f32[2,3] = [[1.00000000, 5.00000000, 2.00000000], [0.00000000, 0.00000000, 0.00000000]]\n");
    succeeds("run " NILE " --set d=0.383052");
    says("loss f64[] = 20080.71280");
    says("e f64[100] = min ");
    for (size_t i = 0; i < 3; i++) {
        static const char *const targets[] = {"cpu", "eager", "reference"};
        char arguments[256];
        snprintf(arguments, sizeof arguments, "run @/two.frax --in x=@/ramp.npy --set a=2 --json --target %s",
                 targets[i]);
        cJSON *tree = json(arguments);
        assert_string_equal(cJSON_GetStringValue(at(tree, "outputs", "y", "dtype")), "f64");
        assert_int_equal(cJSON_GetArrayItem(at(tree, "outputs", "y", "shape"), 0)->valueint, 4);
        assert_int_equal(cJSON_GetArraySize(at(tree, "outputs", "y", "data")), 4);
        assert_true(first_value(tree, "outputs", "loss") == 14); /* (0 + 4 + 16 + 36) / 4 */
        cJSON_Delete(tree);
    }
}

static void test_json_of_large_and_not_finite(void **state) {
    (void)state;
    write_model(
        "large.frax",
        "model m(x: f64[4]) {\n    y = log(iota(5000, f64) - 1)\n    z = y + x[0]\n    return z\n}\n");
    cJSON *tree = json("run @/large.frax --in x=@/ramp.npy --json");
    assert_int_equal(cJSON_GetArraySize(at(tree, "outputs", "z", "data")), 4096);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(at(tree, "outputs", "z", "data"), 0)));
    assert_true(cJSON_IsTrue(at(tree, "outputs", "z", "truncated")));
    cJSON_Delete(tree);
}

static void test_out(void **state) {
    (void)state;
    FraxTensor y, loss;
    succeeds("run @/two.frax --in x=@/ramp.npy --out y=@/y.npy --out loss=@/both.npz --out y=@/both.npz "
             "--out loss=@/l.safetensors");
    assert_string_equal(out, "");
    assert_int_equal(npy_read(in_folder("y.npy"), &y, NULL), FRAX_OK);
    assert_int_equal(y.dims[0], 4);
    assert_true(((double *)y.data)[3] == 9);
    tensor_free(&y);
    assert_int_equal(npz_read(in_folder("both.npz"), "y", NULL, &y, NULL), FRAX_OK);
    assert_int_equal(npz_read(in_folder("both.npz"), "loss", NULL, &loss, NULL), FRAX_OK);
    assert_int_equal(loss.rank, 0);
    tensor_free(&y);
    tensor_free(&loss);
    assert_int_equal(tensor_read(in_folder("l.safetensors"), "loss", &loss, NULL), FRAX_OK);
    tensor_free(&loss);
    size_t files = count_files();
    fails("run @/two.frax --in x=@/ramp.npy --out z=@/z.npy", 2, "--out z");
    fails("run @/two.frax --in x=@/ramp.npy --out y=@/none/y.npy", 1, "none/y.npy");
    fails("run @/two.frax --in x=@/ramp.npy --out y=@/y.txt", 2, "y.txt");
    fails("run @/two.frax --in x=@/ramp.npy --out y=@/z.npy --out loss=@/z.npy", 2, "cannot hold");
    fails("run @/two.frax --in x=@/ramp.npy --out y=@/z.npy --out loss=@/./z.npy", 2, "cannot hold");
    assert_int_equal(count_files(), files);
    if (access("/dev/full", W_OK) == 0) {
        char command[2 * PATH_MAX];
        snprintf(command, sizeof command, "'%s' devices >/dev/full 2>%s/stderr", getenv("FRAX_PROGRAM"),
                 folder);
        assert_int_equal(WEXITSTATUS(system(command)), 1);
    }
}

/* Is the file what it was? */
static void stays(const char *name, const char *before) {
    char *now = read_all(name);
    assert_non_null(now);
    assert_string_equal(now, before);
    free(now);
}

/* What is read is not written over, whatever paths name it. */
static void test_inputs_stay(void **state) {
    (void)state;
    static const struct {
        const char *arguments, *says;
    } cases[] = {
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/own.frax",
         "own.frax would overwrite the model "},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --plot @/own.frax",
         "own.frax would overwrite the model "},
        {"fit @/own.frax:first --in x=@/own.npy --steps 1 --save @/./own.frax", "would overwrite the model "},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/link.frax",
         "link.frax would overwrite the model "},
        {"fit @/link.frax --in x=@/own.npy --steps 1 --save @/own.frax", "would overwrite the model "},
        {"bench @/own.frax --size N=4 --repeat 1 --plot @/own.frax", "--plot "},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/own.npy", "own.npy would overwrite --in x="},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --out y=@/own.npy", "--out y="},
        {"run @/own.frax --in x=@/own.npy --out y=@/./own.npy", "own.npy would overwrite --in x="},
        {"run @/own.frax --in x=@/own.npz:x --out y=@/own.npz", "own.npz would overwrite --in x="},
        {"grad @/own.frax --in x=@/ramp.npy --mode forward --tangent a=@/own.npy --out tangent.y=@/own.npy",
         "own.npy would overwrite --tangent a="},
        {"run @/own.frax --in x=@/ramp.npy --load @/own.safetensors --out y=@/own.safetensors",
         "own.safetensors would overwrite --load "},
        {"fit @/own.frax --in x=@/ramp.npy --load @/own.svg --plot @/own.svg --steps 1",
         "own.svg would overwrite --load "},
        {"run @/own.frax --in x=@/own.npy --stream N:2 --out y=@/own.npy", "own.npy would overwrite --in x="},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/q --out loss=@/q", "--out loss="},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/q.safetensors --out loss=@/./q.safetensors",
         "/q.safetensors would be one file"},
        {"fit @/own.frax --in x=@/own.npy --steps 1 --save @/q --plot @/q", "would be one file"},
        {"run @/own.frax --in x=@/own.npy --out y=@/q.npz --out y=@/q.npz", "--out gives y twice to "},
    };
    char *model = read_all("two.frax"), *link = strdup(in_folder("link.frax"));
    write_model("own.frax", model);
    assert_int_equal(symlink("own.frax", link), 0);
    double ramp[4] = {1, 2, 3, 4};
    FraxTensor t = {.dtype = FRAX_F64, .rank = 1, .dims = {4}, .data = ramp};
    assert_int_equal(npy_write(in_folder("own.npy"), &t, NULL), FRAX_OK);
    char *data = read_all("own.npy");
    size_t files = count_files();
    for (size_t i = 0; i < COUNT(cases); i++) {
        fails(cases[i].arguments, 2, cases[i].says);
        stays("own.frax", model);
        stays("own.npy", data);
        assert_int_equal(count_files(), files);
    }
    /* A fit goes on where it ended, and replaces its parameters. */
    succeeds("fit @/own.frax --in x=@/own.npy --steps 1 --save @/on.safetensors");
    succeeds("fit @/own.frax --in x=@/own.npy --steps 1 --load @/on.safetensors --save @/on.safetensors");
    free(model);
    free(data);
    free(link);
}

/* A place that cannot be written is found before the work, not after it. */
static void test_places_are_checked_first(void **state) {
    (void)state;
    static const char fit[] = "fit @/two.frax --in x=@/ramp.npy --steps 1000000000000 ";
    static const struct {
        const char *options;
        int status;
        const char *says;
    } cases[] = {
        {"--save @/none/p.safetensors", 1, "none/p.safetensors': No such file or directory"},
        {"--plot @/none/p.svg", 1, "none/p.svg': No such file or directory"},
        {"--out loss=@/none/l.npy", 1, "none/l.npy': No such file or directory"},
        {"--save @/folder", 1, "folder': Is a directory"},
        {"--save @/folder/", 1, "folder/': Is a directory"},
        {"--out loss=@/folder.npy", 1, "folder.npy': Is a directory"},
        {"--plot @/two.frax/p.svg", 1, "two.frax/p.svg': Not a directory"},
        {"--out loss=@/l.txt", 2, "l.txt': expected a name in .npy, .npz or .safetensors"},
        {"--save @/p.npy", 2, "p.npy: parameters are written as safetensors"},
        {"--save @/p.npz", 2, "expected a name in .safetensors"},
        {"--save @/p.svg", 2, "expected a name in .safetensors"},
        {"--save @/p.frax", 2, "expected a name in .safetensors"},
        {"--plot @/p.png", 2, "p.png: a picture is written as SVG; expected a name in .svg"},
        {"--out nothing=@/l.npy", 2, "--out nothing: there is no result of this name"},
    };
    assert_int_equal(mkdir(in_folder("folder"), 0700), 0);
    assert_int_equal(mkdir(in_folder("folder.npy"), 0700), 0);
    size_t files = count_files();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char command[256];
        snprintf(command, sizeof command, "%s%s", fit, cases[i].options);
        fails(command, cases[i].status, cases[i].says);
    }
    fails("bench @/two.frax --size N=4 --plot @/none/b.svg", 1, "none/b.svg': No such file");
    fails("grad @/two.frax --in x=@/ramp.npy --out grad.a=@/none/a.npy", 1, "none/a.npy': No such file");
    if (geteuid()) { /* root may write anything */
        write_model("kept.svg", "");
        assert_int_equal(chmod(in_folder("kept.svg"), 0400) | chmod(in_folder("folder"), 0500), 0);
        fails("bench @/two.frax --size N=4 --plot @/kept.svg", 1, "kept.svg': Permission denied");
        fails("bench @/two.frax --size N=4 --plot @/folder/b.svg", 1, "b.svg': Permission denied");
        assert_int_equal(unlink(in_folder("kept.svg")), 0);
    }
    assert_int_equal(count_files(), files);
}

/* loss = mean (a₀ x − a₁)²; at a = (3, 3), x = 1…4: r = 0, 3, 6, 9. */
static void test_grad(void **state) {
    (void)state;
    cJSON *tree = json("grad @/two.frax --in x=@/ramp.npy --json");
    const cJSON *data = at(tree, "outputs", "grad.a", "data");
    assert_true(fabs(cJSON_GetArrayItem(data, 0)->valuedouble - (2 * 2 * 3 + 2 * 3 * 6 + 2 * 4 * 9) / 4.0) <
                1e-12);
    assert_true(fabs(cJSON_GetArrayItem(data, 1)->valuedouble + 2 * 18 / 4.0) < 1e-12);
    assert_int_equal(cJSON_GetArraySize(at(tree, "outputs", NULL, NULL)), 1);
    cJSON_Delete(tree);
    tree = json("grad @/two.frax --in x=@/ramp.npy --mode forward --tangent a=0,1 --json");
    assert_true(fabs(first_value(tree, "outputs", "tangent.loss") + 9) < 1e-12);
    assert_true(first_value(tree, "outputs", "tangent.y") == -1);
    cJSON_Delete(tree);
    tree = json(
        "grad @/two.frax --in x=@/ramp.npy --mode hvp --wrt a,x --tangent x=@/ramp.npy --tangent a=0 --json");
    /* ∂/∂x_i of (1/4) Σ r²: a₀ r_i / 2; its derivative along x: a₀² x_i / 2. */
    assert_true(fabs(first_value(tree, "outputs", "hvp.x") - 4.5) < 1e-12);
    assert_true(fabs(cJSON_GetArrayItem(at(tree, "outputs", "grad.x", "data"), 3)->valuedouble - 13.5) <
                1e-12);
    cJSON_Delete(tree);
    succeeds("grad @/two.frax --in x=@/ramp.npy --wrt x --out grad.x=@/gx.npy");
    FraxTensor gx;
    assert_int_equal(npy_read(in_folder("gx.npy"), &gx, NULL), FRAX_OK);
    assert_true(fabs(((double *)gx.data)[2] - 9) < 1e-12);
    tensor_free(&gx);
}

static void test_fit(void **state) {
    (void)state;
    cJSON *tree =
        json("fit " NILE " --optimizer lbfgs --steps 50 --json --save @/p.safetensors --plot @/fit.svg");
    assert_true(fabs(first_value(tree, "params", "d") - 0.383052) < 0.6e-6);
    assert_true(fabs(first_value(tree, "outputs", "loss") - 20080.7128019795) < 1e-5);
    assert_true(cJSON_GetNumberValue(at(tree, "evaluations", NULL, NULL)) < 50);
    assert_true(cJSON_IsTrue(at(tree, "converged", NULL, NULL)));
    cJSON_Delete(tree);
    char *svg = read_all("fit.svg");
    assert_non_null(svg);
    assert_non_null(strstr(svg, "<svg"));
    assert_non_null(strstr(svg, "</svg>"));
    assert_non_null(strstr(svg, "steps taken"));
    free(svg);
    tree = json("run " NILE " --load @/p.safetensors --json");
    assert_true(fabs(first_value(tree, "outputs", "loss") - 20080.7128019795) < 1e-5);
    cJSON_Delete(tree);
    succeeds("fit " NILE " --steps 3 --optimizer adam --lr 0.1 --set d=0.2 --clip-norm 1 --target reference");
    says("d f64[] = 0.");
    says("3 steps, 3 evaluations: all steps taken\n");
    fails("fit " NILE " --steps 3 --save @/none/p.safetensors", 1, "none/p.safetensors");
    fails("run @/two.frax --in x=@/ramp.npy --load @/p.safetensors", 1, "p.safetensors d: model");
}

static void test_fit_in_batches(void **state) {
    (void)state;
    cJSON *a = json("fit @/two.frax --in x=@/ramp.npy --steps 5 --batch 2 --seed 4 --optimizer sgd --json");
    cJSON *b = json("fit @/two.frax --in x=@/ramp.npy --steps 5 --batch 2 --seed 4 --optimizer sgd --json");
    cJSON *c = json("fit @/two.frax --in x=@/ramp.npy --steps 5 --batch 2 --seed 5 --optimizer sgd --json");
    assert_true(first_value(a, "params", "a") == first_value(b, "params", "a"));
    assert_true(first_value(a, "params", "a") != first_value(c, "params", "a"));
    assert_int_equal(cJSON_GetArraySize(at(a, "outputs", "y", "data")), 4); /* of all rows */
    cJSON_Delete(a);
    cJSON_Delete(b);
    cJSON_Delete(c);
    fails("fit @/two.frax --in x=@/ramp.npy --steps 5 --batch 9", 1, "there are 4");
}

/* Rows in random order are no time series: what reads their order is refused, with its place. */
static void test_batches_need_rows_in_any_order(void **state) {
    (void)state;
    static const struct {
        const char *body, *op;
    } cases[] = {
        {"frac(x, a, kind=grunwald)", "3:11: mini-batches draw the rows of T at random, and causal_conv"},
        {"frac(x, a, kind=weyl)", "and spectral needs"},
        {"frac(reshape(2 * x, [1, T]), a, kind=caputo_fabrizio)", "3:11: mini-batches draw"},
        {"a * (x[1:] - x[:-1])", "and slice needs"},
        {"a * (x - mean(x)) + frac(expand(x, 1, 8), a, axis=1, kind=weyl)[:, 0]", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "model series(x: f64[T]) {\n"
                 "    param a: f64 = 0.3\n"
                 "    e   = %s\n"
                 "    loss = mean(e^2)\n"
                 "    return loss\n"
                 "}\n",
                 cases[i].body);
        write_model("series.frax", text);
        if (cases[i].op)
            fails("fit @/series.frax" SERIES " --steps 2 --batch 10", 1, cases[i].op);
        else
            succeeds("fit @/series.frax" SERIES " --steps 2 --batch 10");
    }
}

static void test_bench(void **state) {
    (void)state;
    cJSON *tree =
        json("bench frontend/examples/classifier.frax --size B=4 --size N=33 --grad --repeat 3 --json "
             "--plot @/bench.svg");
    const cJSON *rows = at(tree, "rows", NULL, NULL);
    assert_int_equal(cJSON_GetArraySize(rows), 2);
    for (int i = 0; i < 2; i++) {
        static const char *const keys[] = {"eager_seconds", "fused_seconds", "ratio",
                                           "bytes_moved",   "roofline",      "compile_seconds"};
        for (size_t k = 0; k < COUNT(keys); k++)
            assert_true(cJSON_GetNumberValue(at(cJSON_GetArrayItem(rows, i), keys[k], NULL, NULL)) > 0);
    }
    assert_string_equal(cJSON_GetStringValue(at(cJSON_GetArrayItem(rows, 1), "what", NULL, NULL)),
                        "forward + gradients");
    cJSON_Delete(tree);
    char *svg = read_all("bench.svg");
    assert_non_null(svg);
    assert_non_null(strstr(svg, "forward + gradients"));
    free(svg);
    succeeds("bench @/two.frax --in x=@/ramp.npy --repeat 3");
    says("what ");
    says("bytes moved");
    says("forward ");
    fails("bench @/two.frax", 2, "size N of model first is not known");
}

static void test_show(void **state) {
    (void)state;
    succeeds("show @/two.frax --size N=4");
    says("param {name=a");
    assert_null(strstr(out, "grad.a"));
    succeeds("show @/two.frax --size N=4 --grad");
    says("grad.a");
    succeeds("show @/two.frax --in x=@/ramp.npy --dot");
    says("digraph \"first\" {");
    succeeds("help passes");
    char *passes = strdup(out), *save = NULL;
    int seen = 0;
    for (char *line = strtok_r(passes, "\n", &save); line; line = strtok_r(NULL, "\n", &save), seen++) {
        char name[32], arguments[128];
        assert_int_equal(sscanf(line, " %31s", name), 1);
        snprintf(arguments, sizeof arguments, "show @/two.frax --size N=4 --grad --after %s", name);
        succeeds(arguments);
        says("graph first");
    }
    free(passes);
    assert_true(seen >= 8);
    write_model("auto.frax", "model m(x: f64[N]) {\n    y = frac(x, 0.5, kind=grunwald)\n    return y\n}\n");
    const char *stages[] = {"", " --after cse", " --after engine", " --after plan"};
    for (size_t i = 0; i < COUNT(stages); i++) {
        char arguments[128];
        snprintf(arguments, sizeof arguments, "show @/auto.frax --size N=300%s", stages[i]);
        succeeds(arguments);
        says("\n# 2:9 causal_conv of 300 samples by 300 weights, 1 row: fft (measured at this length: direct "
             "to 100 weights)\n");
    }
    write_model("adjoint.frax", "model m(x: f64[N]) {\n    y = frac(x, 0.5, kind=weyl)\n"
                                "    loss = sum(frac(y, 0.5, kind=grunwald))\n    return loss\n}\n");
    succeeds("show @/adjoint.frax --size N=8 --grad --wrt x");
    says("\n# 2:9 adjoint of spectral: spectral with the conjugate kernel, Re K and -Im K\n");
    says("\n# 3:16 adjoint of causal_conv: the same weights in reversed time, flip of causal_conv of flip\n");
    write_model("tolerant.frax", "model m(x: f64[N], a: f64) {\n    y = frac(x, 0.5, kind=caputo, tol=1e-6)\n"
                                 "    z = frac(x, a, kind=caputo, tol=1e-6)\n    return y, z\n}\n");
    succeeds("show @/tolerant.frax --size N=5000");
    says("\n# 2:9 kind=caputo, scheme=l1 of 5000 samples: soe, ");
    says("\n# 3:9 kind=caputo, scheme=l1: not soe, since alpha is not known to stay in ");
    succeeds("show @/tolerant.frax --size N=500");
    says("\n# 2:9 kind=caputo, scheme=l1 of 500 samples: not soe, measured to pay from ");
    succeeds("show @/two.frax --size N=4 --kernels");
    says("bytes temporary");
    succeeds("show @/long.frax --size T=100000000000 --kernels"); /* allocates and plans nothing */
    says("with this machine's threads: ");
    fails("bench @/long.frax --size T=100000000000", 3, "out of memory: a run needs ");
    succeeds("show @/two.frax --size N=4 --llvm");
    says("define ");
    succeeds("show @/two.frax --size N=4 --asm");
    says("ret");
    succeeds("show @/two.frax --size N=4 --cuda");
    says("__global__");
    fails("show @/two.frax", 2, "size N of model first is not known");
}

static void test_devices(void **state) {
    (void)state;
    succeeds("devices");
    says("cpu        yes ");
    says("cuda       no   CUDA: the environment variable FRAX_CUDA_DRIVER names /nowhere/");
    cJSON *tree = json("devices --json");
    assert_int_equal(cJSON_GetArraySize(at(tree, "devices", NULL, NULL)), 4);
    cJSON_Delete(tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_faults_of_model_and_data),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_fits_ended_by_a_guard),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_json_of_large_and_not_finite),
        cmocka_unit_test(test_out),
        cmocka_unit_test(test_inputs_stay),
        cmocka_unit_test(test_places_are_checked_first),
        cmocka_unit_test(test_grad),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_fit_in_batches),
        cmocka_unit_test(test_batches_need_rows_in_any_order),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_devices),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
