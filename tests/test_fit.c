/* test_fit.c — fitting: L-BFGS on functions with known minima, every optimizer against its formula and
 * against a closed-form solution, clipping, mini-batches, divergence, and the two memory orders of the real
 * series.
 */
#include "files.h"
#include "half.h"
#include "lbfgs.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* ---- L-BFGS by itself ---- */

static FraxStatus rosenbrock(void *context, const double *x, double *value, double *g, FraxError *err) {
    size_t n = *(const size_t *)context;
    (void)err;
    *value = 0;
    memset(g, 0, n * sizeof *g);
    for (size_t i = 0; i + 1 < n; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        *value += 100 * a * a + b * b;
        g[i] += -400 * a * x[i] - 2 * b;
        g[i + 1] += 200 * a;
    }
    return FRAX_OK;
}

static Lbfgs *minimise(size_t n, const double *x, Objective *objective, void *context, double tolerance) {
    LbfgsOptions options = {objective, context, tolerance, 0x1p-52};
    Lbfgs *l = lbfgs_create(n, x, &options);
    assert_non_null(l);
    size_t bad;
    for (int i = 0; i < 200 && lbfgs_outcome(l) == LBFGS_RUNNING; i++)
        assert_int_equal(lbfgs_step(l, &bad, NULL), FRAX_OK);
    assert_true(lbfgs_outcome(l) != LBFGS_RUNNING);
    return l;
}

static void test_rosenbrock(void **state) {
    (void)state;
    size_t n = 10;
    double x[10];
    for (size_t i = 0; i < n; i++) x[i] = i % 2 ? 1 : -1.2;
    Lbfgs *l = minimise(n, x, rosenbrock, &n, 1e-10);
    for (size_t i = 0; i < n; i++) assert_true(fabs(lbfgs_point(l)[i] - 1) < 1e-8);
    assert_true(lbfgs_evaluations(l) < 150);
    lbfgs_destroy(l);
}

/* scale · (x − ln x): minimum at 1, no value for x ≤ 0. */
static FraxStatus barrier(void *context, const double *x, double *value, double *g, FraxError *err) {
    double scale = *(const double *)context;
    (void)err;
    *value = scale * (x[0] - log(x[0]));
    g[0] = scale * (1 - 1 / x[0]);
    return FRAX_OK;
}

static void test_steps_back_from_what_is_not_finite(void **state) {
    (void)state;
    for (double scale = 1e-6; scale < 1e7; scale *= 100) {
        double x = 9;
        Lbfgs *l = minimise(1, &x, barrier, &scale, 1e-12);
        /* The tolerance is relative to max(1, f): for the smallest scale a gradient of 1e-12 means 1e-6 in x.
         */
        assert_true(fabs(lbfgs_point(l)[0] - 1) < 2e-6);
        assert_true(lbfgs_evaluations(l) < 50);
        lbfgs_destroy(l);
    }
}

static void test_start_that_is_not_finite(void **state) {
    (void)state;
    double scale = 1, x = -1;
    LbfgsOptions options = {barrier, &scale, 1e-9, 0x1p-52};
    Lbfgs *l = lbfgs_create(1, &x, &options);
    size_t bad = 7;
    assert_int_equal(lbfgs_step(l, &bad, NULL), FRAX_DIVERGED);
    assert_int_equal(bad, 1);
    x = 2;
    lbfgs_restart(l, &x);
    assert_int_equal(lbfgs_step(l, &bad, NULL), FRAX_OK);
    lbfgs_destroy(l);
}

/* −x³ has no minimum: what is found is no convergence, however steep it is beside the value. */
static FraxStatus falling(void *context, const double *x, double *value, double *g, FraxError *err) {
    (void)context;
    (void)err;
    *value = -x[0] * x[0] * x[0];
    g[0] = -3 * x[0] * x[0];
    return FRAX_OK;
}

static void test_no_convergence_without_a_minimum(void **state) {
    (void)state;
    double x = 3;
    LbfgsOptions options = {falling, NULL, 1e-9, 0x1p-52};
    Lbfgs *l = lbfgs_create(1, &x, &options);
    assert_non_null(l);
    size_t bad;
    for (int i = 0; i < 100 && lbfgs_outcome(l) == LBFGS_RUNNING; i++)
        if (lbfgs_step(l, &bad, NULL)) break;
    assert_true(lbfgs_outcome(l) != LBFGS_GRADIENT);
    lbfgs_destroy(l);
}

static FraxStatus sloped_kink(void *context, const double *x, double *value, double *g, FraxError *err) {
    (void)context;
    (void)err;
    *value = fabs(x[0]);
    g[0] = x[0] > 0 ? 1 : -1;
    return FRAX_OK;
}

static void test_ends_where_no_lower_point_is_found(void **state) {
    (void)state;
    double x = 1;
    Lbfgs *l = minimise(1, &x, sloped_kink, NULL, 1e-9);
    assert_true(fabs(lbfgs_point(l)[0]) < 1e-6);
    assert_true(lbfgs_outcome(l) == LBFGS_FLAT || lbfgs_outcome(l) == LBFGS_STEP);
    lbfgs_destroy(l);
}

/* (x − 1)², known up to 0.6 only */
static FraxStatus walled(void *context, const double *x, double *value, double *g, FraxError *err) {
    (void)context;
    (void)err;
    if (x[0] > 0.6) return FRAX_VALUE;
    *value = (x[0] - 1) * (x[0] - 1);
    g[0] = 2 * (x[0] - 1);
    return FRAX_OK;
}

static void test_says_that_a_bound_ended_it(void **state) {
    (void)state;
    double x = 0;
    Lbfgs *l = minimise(1, &x, walled, NULL, 1e-9);
    assert_true(fabs(lbfgs_point(l)[0] - 0.6) < 1e-9);
    assert_int_equal(lbfgs_outcome(l), LBFGS_BOUND);
    lbfgs_destroy(l);
}

/* ---- Trainers ---- */

static FraxModel *parse(const char *text) {
    FraxModel *model;
    FraxError err;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) print_message("%s\n", err.message);
    assert_non_null(model);
    return model;
}

static FraxTrainer *train(const FraxModel *model, const FraxOptions *options, const FraxFitOptions *fit) {
    FraxTrainer *trainer;
    FraxError err;
    if (frax_trainer_create(model, options, fit, &trainer, &err)) print_message("%s\n", err.message);
    assert_non_null(trainer);
    return trainer;
}

static void get(const FraxTrainer *trainer, size_t i, void *data) {
    assert_int_equal(frax_trainer_get_param(trainer, i, data, NULL), FRAX_OK);
}

/* loss = Σ s (w − c)², gradient 2 s (w − c). */
static const char bowl[] = "model bowl(c: f64[3], s: f64[3]) {\n"
                           "    param w: f64[3] = 1.5\n"
                           "    loss = sum(s * (w - c)^2)\n"
                           "    return loss\n"
                           "}\n";
static const double centre[3] = {-1, 0.25, 8}, stiffness[3] = {0.5, 2, 1};
static const void *const bowl_inputs[] = {centre, stiffness};

static void bowl_gradient(const double *w, double *g) {
    for (int i = 0; i < 3; i++) g[i] = 2 * stiffness[i] * (w[i] - centre[i]);
}

static void clip(const FraxFitOptions *fit, double *g) {
    double norm = 0;
    for (int i = 0; i < 3; i++) {
        if (fit->clip_value && fabs(g[i]) > fit->clip_value) g[i] = copysign(fit->clip_value, g[i]);
        norm += g[i] * g[i];
    }
    norm = sqrt(norm);
    for (int i = 0; i < 3; i++)
        if (fit->clip_norm && norm > fit->clip_norm) g[i] *= fit->clip_norm / norm;
}

/* The optimizers written out for one vector. */
typedef struct Plain {
    double w[3], m[3], v[3];
} Plain;

static void plain_step(const FraxFitOptions *fit, Plain *p, int t) {
    double g[3];
    bowl_gradient(p->w, g);
    clip(fit, g);
    for (int i = 0; i < 3; i++) {
        if (fit->optimizer != FRAX_ADAMW) g[i] += fit->weight_decay * p->w[i];
        if (fit->optimizer == FRAX_SGD) {
            p->m[i] = fit->momentum * p->m[i] + g[i];
            p->w[i] -= fit->lr * p->m[i];
            continue;
        }
        p->m[i] = fit->beta1 * p->m[i] + (1 - fit->beta1) * g[i];
        p->v[i] = fit->beta2 * p->v[i] + (1 - fit->beta2) * g[i] * g[i];
        double mean = p->m[i] / (1 - pow(fit->beta1, t)), square = p->v[i] / (1 - pow(fit->beta2, t));
        double decay = fit->optimizer == FRAX_ADAMW ? fit->weight_decay * p->w[i] : 0;
        p->w[i] -= fit->lr * (mean / (sqrt(square) + fit->epsilon) + decay);
    }
}

static void check_against_formula(const FraxModel *model, const FraxFitOptions *fit) {
    FraxTrainer *trainer = train(model, NULL, fit);
    Plain plain = {.w = {1.5, 1.5, 1.5}};
    double w[3], loss;
    for (int t = 1; t <= 7; t++) {
        double before = 0;
        for (int i = 0; i < 3; i++) before += stiffness[i] * pow(plain.w[i] - centre[i], 2);
        assert_int_equal(frax_trainer_step(trainer, bowl_inputs, &loss, NULL), FRAX_OK);
        plain_step(fit, &plain, t);
        get(trainer, 0, w);
        assert_true(fabs(loss - before) <= 1e-13 * before);
        /* The graph multiplies by reciprocals where the formula divides: a few units in the last place. */
        for (int i = 0; i < 3; i++) assert_true(fabs(w[i] - plain.w[i]) <= 1e-14 * (1 + fabs(plain.w[i])));
    }
    assert_int_equal(frax_trainer_steps(trainer), 7);
    assert_int_equal(frax_trainer_evaluations(trainer), 7);
    frax_trainer_destroy(trainer);
}

static void test_optimizers_follow_their_formulas(void **state) {
    (void)state;
    FraxModel *model = parse(bowl);
    const struct {
        FraxOptimizer optimizer;
        double momentum, decay, norm, value;
    } cases[] = {{FRAX_SGD, 0, 0, 0, 0},     {FRAX_SGD, 0.9, 0, 0, 0},      {FRAX_SGD, 0.5, 0.01, 0, 0},
                 {FRAX_SGD, 0, 0, 3, 0},     {FRAX_SGD, 0, 0, 0, 2.25},     {FRAX_SGD, 0.9, 0, 3, 4},
                 {FRAX_SGD, 0, 0, 1e9, 1e9}, {FRAX_ADAM, 0, 0, 0, 0},       {FRAX_ADAM, 0, 0.1, 2, 0},
                 {FRAX_ADAMW, 0, 0, 0, 0},   {FRAX_ADAMW, 0, 0.05, 0, 0.5}, {FRAX_ADAMW, 0, 0.01, 0, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        FraxFitOptions fit = frax_default_fit_options(cases[i].optimizer);
        fit.lr = 0.03;
        fit.momentum = cases[i].momentum;
        fit.weight_decay = cases[i].decay;
        fit.clip_norm = cases[i].norm;
        fit.clip_value = cases[i].value;
        check_against_formula(model, &fit);
    }
    frax_model_destroy(model);
}

/* The whole change of one SGD step has exactly the norm lr · limit, in the direction of the gradient. */
static void test_clipping_is_exact(void **state) {
    (void)state;
    FraxModel *model = parse(bowl);
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    fit.lr = 1;
    fit.clip_norm = 0.125;
    FraxTrainer *trainer = train(model, NULL, &fit);
    double w[3], g[3], start[3] = {1.5, 1.5, 1.5}, norm = 0, dot = 0, length = 0;
    assert_int_equal(frax_trainer_step(trainer, bowl_inputs, NULL, NULL), FRAX_OK);
    get(trainer, 0, w);
    bowl_gradient(start, g);
    for (int i = 0; i < 3; i++) {
        norm += pow(w[i] - 1.5, 2);
        length += g[i] * g[i];
        dot -= (w[i] - 1.5) * g[i];
    }
    assert_true(fabs(sqrt(norm) - 0.125) < 1e-15);
    assert_true(fabs(dot / sqrt(norm * length) - 1) < 1e-14);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

/* Every optimizer finds the least-squares line through six points; the normal equations give it exactly. */
static void test_linear_regression(void **state) {
    (void)state;
    static const double x[6] = {-1, -0.5, 0, 0.5, 1, 1.5}, y[6] = {2, 1.25, 1.5, 0, -0.5, -0.25};
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (int i = 0; i < 6; i++) {
        sx += x[i];
        sy += y[i];
        sxx += x[i] * x[i];
        sxy += x[i] * y[i];
    }
    double slope = (6 * sxy - sx * sy) / (6 * sxx - sx * sx), offset = (sy - slope * sx) / 6;
    FraxModel *model = parse("model line(x: f64[N], y: f64[N]) {\n"
                             "    param a: f64 = 0\n"
                             "    param b: f64 = 0\n"
                             "    loss = mean((a * x + b - y)^2)\n"
                             "    return loss\n"
                             "}\n");
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"N", 6}};
    options.nsizes = 1;
    for (FraxOptimizer optimizer = FRAX_SGD; optimizer <= FRAX_LBFGS; optimizer++) {
        FraxFitOptions fit = frax_default_fit_options(optimizer);
        fit.weight_decay = 0;
        fit.steps = 2000;
        fit.lr = optimizer == FRAX_SGD ? 0.2 : 0.02;
        fit.momentum = optimizer == FRAX_SGD ? 0.5 : 0;
        FraxTrainer *trainer = train(model, &options, &fit);
        double loss, a, b;
        assert_int_equal(frax_trainer_run(trainer, (const void *[]){x, y}, &loss, NULL), FRAX_OK);
        get(trainer, 0, &a);
        get(trainer, 1, &b);
        assert_true(fabs(a - slope) < 1e-7 && fabs(b - offset) < 1e-7);
        assert_true(frax_trainer_converged(trainer) == (optimizer == FRAX_LBFGS));
        frax_trainer_destroy(trainer);
    }
    frax_model_destroy(model);
}

/* Only what wrt names moves. */
static void test_wrt_holds_the_others_still(void **state) {
    (void)state;
    FraxModel *model = parse("model two(x: f64[]) {\n"
                             "    param a: f64 = 2\n"
                             "    param b: f64 = 3\n"
                             "    loss = (a * b - x)^2\n"
                             "    return loss\n"
                             "}\n");
    FraxOptions options = frax_default_options();
    options.wrt = (const char *[]){"b"};
    options.nwrt = 1;
    for (FraxOptimizer optimizer = FRAX_SGD; optimizer <= FRAX_LBFGS; optimizer += 3) {
        FraxFitOptions fit = frax_default_fit_options(optimizer);
        FraxTrainer *trainer = train(model, &options, &fit);
        double a, b, x = 10;
        assert_int_equal(frax_trainer_run(trainer, (const void *[]){&x}, NULL, NULL), FRAX_OK);
        get(trainer, 0, &a);
        get(trainer, 1, &b);
        assert_true(a == 2);
        assert_true(fabs(b - 5) < 1e-3);
        frax_trainer_destroy(trainer);
    }
    options.wrt = (const char *[]){"x"};
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxTrainer *trainer;
    FraxError err;
    assert_int_equal(frax_trainer_create(model, &options, &fit, &trainer, &err), FRAX_NAME);
    assert_non_null(strstr(err.message, "x is an input"));
    frax_model_destroy(model);
}

/* Params of all floating dtypes move alike, to within their precision. */
static void test_dtypes(void **state) {
    (void)state;
    static const double precision[] = {
        [FRAX_F64] = 1e-12, [FRAX_F32] = 1e-5, [FRAX_BF16] = 0.05, [FRAX_F16] = 5e-3};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F16; dtype++) {
        char text[256];
        const char *name = frax_dtype_name(dtype);
        snprintf(text, sizeof text,
                 "model m(x: %s[2]) {\n param w: %s[2] = 0.5\n loss = sum((w - x)^2)\n return loss\n}\n",
                 name, name);
        FraxModel *model = parse(text);
        FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
        fit.lr = 0.125;
        FraxTrainer *trainer = train(model, NULL, &fit);
        double x[2], w[2]; /* room for any dtype */
        element_set(x, dtype, 0, 2);
        element_set(x, dtype, 1, -1);
        for (int i = 0; i < 4; i++)
            assert_int_equal(frax_trainer_step(trainer, (const void *[]){x}, NULL, NULL), FRAX_OK);
        get(trainer, 0, w);
        /* Four Adam steps from 0.5 towards 2 and −1 in f64, worked out with the written-out formula. */
        double m[2] = {0}, v[2] = {0}, expected[2] = {0.5, 0.5}, target[2] = {2, -1};
        for (int t = 1; t <= 4; t++)
            for (int i = 0; i < 2; i++) {
                double g = 2 * (expected[i] - target[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                expected[i] -= 0.125 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
            }
        for (int i = 0; i < 2; i++)
            assert_true(fabs(element_get(w, dtype, i) - expected[i]) < precision[dtype]);
        frax_trainer_destroy(trainer);
        frax_model_destroy(model);
    }
}

/* ---- Mini-batches ---- */

enum { ROWS = 11, BATCH = 3 };

/* The loss is the sum over the batch, and row i holds 2^i: it tells which rows were drawn. */
static void draw(uint64_t seed, int steps, int *rows) {
    static const char text[] = "model sums(x: f64[B, 2], y: f64[B], z: f64[2]) {\n"
                               "    param p: f64 = 0\n"
                               "    loss = sum(x) + 2048 * sum(y) + z[0] + p^2\n"
                               "    return loss\n"
                               "}\n";
    double x[ROWS][2], y[ROWS], z[2] = {0};
    for (int i = 0; i < ROWS; i++) x[i][0] = x[i][1] = (y[i] = ldexp(1, i)) / 2;
    FraxModel *model = parse(text);
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"B", ROWS}};
    options.nsizes = 1;
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    fit.batch = BATCH;
    fit.seed = seed;
    FraxTrainer *trainer = train(model, &options, &fit);
    assert_int_equal(frax_executable_type(frax_trainer_executable(trainer), FRAX_INPUT, 0).dims[0], BATCH);
    for (int i = 0; i < steps; i++) {
        double loss;
        assert_int_equal(frax_trainer_step(trainer, (const void *[]){x, y, z}, &loss, NULL), FRAX_OK);
        rows[i] = (int)loss % 2048;
        assert_int_equal((int)loss / 2048, rows[i]); /* x and y are drawn together */
        assert_int_equal(__builtin_popcount((unsigned)rows[i]), BATCH);
    }
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

static void test_batches(void **state) {
    (void)state;
    enum { STEPS = 12, EPOCH = ROWS / BATCH };
    int a[STEPS], b[STEPS], other[STEPS];
    draw(5, STEPS, a);
    draw(5, STEPS, b);
    draw(6, STEPS, other);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
    assert_memory_not_equal(a, a + EPOCH, EPOCH * sizeof *a); /* another order in each epoch */
    int all = 0;
    for (int epoch = 0; epoch < STEPS / EPOCH; epoch++) {
        int seen = 0;
        for (int i = 0; i < EPOCH; i++) {
            assert_int_equal(seen & a[epoch * EPOCH + i], 0);
            seen |= a[epoch * EPOCH + i];
        }
        all |= seen;
    }
    assert_int_equal(all, (1 << ROWS) - 1); /* what one epoch drops, another draws */
}

static void test_batches_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        FraxStatus status;
        const char *says;
    } cases[] = {
        {"model m(x: f64[3, B]) {\n param p: f64 = 0\n loss = sum(x) * p\n return loss\n}\n", FRAX_SHAPE,
         "f64[3,B]"},
        {"model m(x: f64[B, B]) {\n param p: f64 = 0\n loss = sum(x) * p\n return loss\n}\n", FRAX_SHAPE,
         "x is"},
        {"model m(x: f64[B]) {\n param p: f64[B] = 0\n loss = sum(x * p)\n return loss\n}\n", FRAX_SHAPE,
         "p is"},
        {"model m(x: f64[B], BB: f64[B + 1]) {\n param p: f64 = 0\n loss = sum(x) * p * sum(BB)\n return "
         "loss\n}\n",
         FRAX_SHAPE, "BB is"},
        {"model m(x: f64[]) {\n param p: f64 = 0\n loss = x * p\n return loss\n}\n", FRAX_SHAPE,
         "x is f64[]"},
        {"model m(x: f64[B]) {\n param p: f64 = 0\n loss = sum(x) * p\n return loss\n}\n", FRAX_VALUE,
         "there are 4"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        FraxModel *model = parse(cases[i].text);
        FraxOptions options = frax_default_options();
        bool symbol = strstr(cases[i].text, "B]") != NULL;
        options.sizes = (FraxSize[]){{"B", 4}};
        options.nsizes = symbol;
        FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
        fit.batch = cases[i].status == FRAX_VALUE ? 5 : 2;
        FraxTrainer *trainer;
        FraxError err = {0};
        assert_int_equal(frax_trainer_create(model, &options, &fit, &trainer, &err), cases[i].status);
        if (!strstr(err.message, cases[i].says)) print_message("%s\n", err.message);
        assert_non_null(strstr(err.message, cases[i].says));
        assert_null(trainer);
        frax_model_destroy(model);
    }
}

/* ---- Divergence, stopping, bad options ---- */

static void test_divergence_names_step_and_param(void **state) {
    (void)state;
    FraxModel *model = parse("model steep(x: f64[]) {\n"
                             "    param calm: f64[4] = 0.5\n"
                             "    param wild: f64[2] = 1\n"
                             "    loss = sum(wild^4) + 1e-3 * sum(calm^2) + x\n"
                             "    return loss\n"
                             "}\n");
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    fit.lr = 10;
    FraxTrainer *trainer = train(model, NULL, &fit);
    double x = 0, loss;
    FraxError err = {0};
    assert_int_equal(frax_trainer_run(trainer, (const void *[]){&x}, &loss, &err), FRAX_DIVERGED);
    char step[32];
    snprintf(step, sizeof step, "step %lld:", (long long)frax_trainer_steps(trainer));
    assert_true(frax_trainer_steps(trainer) > 1 && frax_trainer_steps(trainer) < 20);
    assert_non_null(strstr(err.message, step));
    assert_non_null(strstr(err.message, "param wild"));
    assert_string_equal(frax_trainer_outcome(trainer), "diverged");
    frax_trainer_destroy(trainer);

    fit = frax_default_fit_options(FRAX_LBFGS);
    trainer = train(model, NULL, &fit);
    x = NAN;
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){&x}, &loss, &err), FRAX_DIVERGED);
    assert_non_null(strstr(err.message, "the loss is nan"));
    frax_trainer_destroy(trainer);
    fit = frax_default_fit_options(FRAX_ADAM);
    trainer = train(model, NULL, &fit);
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){&x}, &loss, &err), FRAX_DIVERGED);
    assert_non_null(strstr(err.message, "step 1: the loss is nan"));
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

static int stop_at_three(void *context, int64_t step, int64_t evaluations, double loss) {
    *(double *)context = loss;
    return step == 3 && evaluations == 3;
}

static void test_progress_stops(void **state) {
    (void)state;
    FraxModel *model = parse(bowl);
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    double seen = 0, loss = 1;
    fit.progress = stop_at_three;
    fit.context = &seen;
    FraxTrainer *trainer = train(model, NULL, &fit);
    assert_int_equal(frax_trainer_run(trainer, bowl_inputs, &loss, NULL), FRAX_OK);
    assert_int_equal(frax_trainer_steps(trainer), 3);
    assert_true(seen == loss);
    assert_string_equal(frax_trainer_outcome(trainer), "stopped by the caller");
    double w[3] = {7, 8, 9}, back[3];
    assert_int_equal(frax_trainer_set_param(trainer, 0, w, NULL), FRAX_OK);
    get(trainer, 0, back);
    assert_memory_equal(w, back, sizeof w);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

static void test_bad_options(void **state) {
    (void)state;
    FraxModel *model = parse(bowl);
    FraxTrainer *trainer;
    FraxFitOptions good = frax_default_fit_options(FRAX_ADAM), fit;
    FraxError err;
#define REFUSED(change, expected)                                                                            \
    do {                                                                                                     \
        fit = good;                                                                                          \
        change;                                                                                              \
        assert_int_equal(frax_trainer_create(model, NULL, &fit, &trainer, &err), expected);                  \
        assert_null(trainer);                                                                                \
    } while (0)
    REFUSED(fit.lr = -1, FRAX_VALUE);
    REFUSED(fit.lr = NAN, FRAX_VALUE);
    REFUSED(fit.beta1 = 1, FRAX_VALUE);
    REFUSED(fit.clip_norm = -1, FRAX_VALUE);
    REFUSED(fit.steps = -1, FRAX_VALUE);
    REFUSED(fit.optimizer = (FraxOptimizer)9, FRAX_USAGE);
    REFUSED((fit.optimizer = FRAX_LBFGS, fit.batch = 2), FRAX_USAGE);
    REFUSED((fit.optimizer = FRAX_LBFGS, fit.clip_value = 2), FRAX_USAGE);
    assert_int_equal(frax_trainer_create(NULL, NULL, &good, &trainer, &err), FRAX_USAGE);
    assert_int_equal(frax_trainer_create(model, NULL, NULL, &trainer, &err), FRAX_USAGE);
    trainer = train(model, NULL, &good);
    double w[3];
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){centre, NULL}, NULL, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "input s"));
    assert_int_equal(frax_trainer_get_param(trainer, 1, w, &err), FRAX_USAGE);
    assert_int_equal(frax_trainer_set_param(trainer, 0, NULL, &err), FRAX_USAGE);
    const FraxExecutable *exe = frax_trainer_executable(trainer);
    assert_int_equal(frax_executable_count(exe, FRAX_PARAM), 1);
    assert_int_equal(frax_run(exe, bowl_inputs, (const void *[]){w}, (void *[]){w}, &err), FRAX_USAGE);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

/* The n-th allocation fails, for n = 1, 2, … until none is left to fail. */
static void test_out_of_memory(void **state) {
    (void)state;
    FraxModel *model = parse(bowl);
    for (FraxOptimizer optimizer = FRAX_ADAM; optimizer <= FRAX_LBFGS; optimizer += 2) {
        FraxFitOptions fit = frax_default_fit_options(optimizer);
        FraxStatus status = FRAX_MEMORY;
        for (long n = 1; status; n++) {
            FraxTrainer *trainer;
            mem_fail_after(n);
            status = frax_trainer_create(model, NULL, &fit, &trainer, NULL);
            mem_fail_after(0);
            assert_true(status == FRAX_OK || status == FRAX_MEMORY);
            assert_true((trainer != NULL) == (status == FRAX_OK));
            frax_trainer_destroy(trainer);
        }
    }
    frax_model_destroy(model);
}

/* ---- The two real series ---- */

static const char memory[] = "model memory(x: f64[T]) {\n"
                             "    param d: f64 = 0.1\n"
                             "    e = frac(x - mean(x), d, kind=grunwald)\n"
                             "    loss = mean(e^2)\n"
                             "    return loss, e\n"
                             "}\n";

/* Orders and losses found by an independent optimizer (Granger & Joyeux's model, conditional sum of squares).
 */
static const struct {
    const char *file;
    double order, loss; /* NaN: only the order is known */
} series[] = {{"frontend/examples/data/nile.npy", 0.383052, 20080.7128019795},
              {"frontend/examples/data/sunspots.npy", 1.574052, NAN}};

static void fit_series(const char *file, const FraxFitOptions *fit, double *order, double *loss,
                       int64_t *evaluations) {
    FraxTensor x;
    FraxModel *model = parse(memory);
    assert_int_equal(npy_read(file, &x, NULL), FRAX_OK);
    FraxOptions options = frax_default_options();
    options.inputs = &x;
    FraxTrainer *trainer = train(model, &options, fit);
    assert_int_equal(frax_trainer_run(trainer, (const void *[]){x.data}, loss, NULL), FRAX_OK);
    get(trainer, 0, order);
    *evaluations = frax_trainer_evaluations(trainer);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
    tensor_free(&x);
}

static void test_orders_by_lbfgs(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(series); i++) {
        FraxFitOptions fit = frax_default_fit_options(FRAX_LBFGS);
        double order, loss;
        int64_t evaluations;
        fit_series(series[i].file, &fit, &order, &loss, &evaluations);
        assert_true(fabs(order - series[i].order) < 0.6e-6); /* six digits after the point, rounded */
        if (!isnan(series[i].loss)) assert_true(fabs(loss - series[i].loss) < 1e-9 * loss);
        assert_true(evaluations < 50);
    }
}

static void test_orders_by_adam(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(series); i++) {
        FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
        fit.lr = 0.02;
        fit.steps = 1500;
        double order, loss;
        int64_t evaluations;
        fit_series(series[i].file, &fit, &order, &loss, &evaluations);
        assert_true(fabs(order - series[i].order) < 2e-6);
        assert_int_equal(evaluations, 1500);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rosenbrock),
        cmocka_unit_test(test_steps_back_from_what_is_not_finite),
        cmocka_unit_test(test_start_that_is_not_finite),
        cmocka_unit_test(test_no_convergence_without_a_minimum),
        cmocka_unit_test(test_ends_where_no_lower_point_is_found),
        cmocka_unit_test(test_says_that_a_bound_ended_it),
        cmocka_unit_test(test_optimizers_follow_their_formulas),
        cmocka_unit_test(test_clipping_is_exact),
        cmocka_unit_test(test_linear_regression),
        cmocka_unit_test(test_wrt_holds_the_others_still),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_batches_refused),
        cmocka_unit_test(test_divergence_names_step_and_param),
        cmocka_unit_test(test_progress_stops),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_orders_by_lbfgs),
        cmocka_unit_test(test_orders_by_adam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
