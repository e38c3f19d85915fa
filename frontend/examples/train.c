/* train.c — frax in a C program that trains: which of three kinds of noise is it, however loud it comes?
 *
 *     cc train.c -lfrax -lm -o train && ./train
 *
 * White noise and its integrals of order 0.4 and 0.8 differ in their memory alone. The classifier has two
 * derivatives whose orders are learnt, compares the energy behind each, and maps that to classes. Adam fits
 * orders and weights together; then the parameters move into a second executable, which classifies one
 * sequence a call.
 */
#include <frax.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Two models of one text, with the same parameters: one to learn with labels, one to use without. */
static const char text[] =
    "model learn(x: f32[B, N], label: i32[B]) {\n"
    "    param rho: f32[2]    = uniform(-1, 1)      # orders in (0, 2), by a sigmoid\n"
    "    param w:   f32[2, 3] = glorot\n"
    "    param b:   f32[3]    = zeros\n"
    "    loss = cross_entropy(scores(x, rho, w, b), label)\n"
    "    return loss\n"
    "}\n"
    "model use(x: f32[B, N]) {\n"
    "    param rho: f32[2]    = zeros                # what was learnt comes from outside\n"
    "    param w:   f32[2, 3] = zeros\n"
    "    param b:   f32[3]    = zeros\n"
    "    class = argmax(scores(x, rho, w, b), axis=-1)\n"
    "    order = 2 * sigmoid(rho)\n"
    "    return class, order\n"
    "}\n"
    "fn scores(x, rho, w, b) {\n"
    "    alpha  = 2 * sigmoid(rho)\n"
    "    both   = frac(expand(x, 1, 2), alpha[:, none], kind=weyl)              # [B, 2, N]\n"
    "    energy = log(mean(both^2, axis=-1)) - log(mean(x^2, axis=-1, keep=true))\n"
    "    return energy @ w + b\n"
    "}\n";

enum { ROWS = 384, LENGTH = 128, CLASSES = 3, PARAMS = 3 };

/* Uniform in (-1, 1). */
static float noise(void) {
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return (float)seed / 2147483648.0f - 1;
}

/* One row: the fractional integral of white noise, of order 0.4 times its class, times a random loudness. The
   weights are those of (1 - z)^-order. */
static void make(float *x, int32_t label) {
    float white[LENGTH], order = 0.4f * (float)label, loudness = expf(2 * noise());
    for (int t = 0; t < LENGTH; t++) white[t] = noise(), x[t] = 0;
    float weight = loudness;
    for (int j = 0; j < LENGTH; weight *= ((float)j + order) / (float)(j + 1), j++)
        for (int t = j; t < LENGTH; t++) x[t] += weight * white[t - j];
}

/* Called after each step; another result than 0 would stop the fit. */
static int report(void *context, int64_t step, int64_t evaluations, double loss) {
    int64_t every = *(const int64_t *)context;
    (void)evaluations;
    if (step % every == 0) printf("step %4lld  loss = %.4f\n", (long long)step, loss);
    return 0;
}

/* Learns from x and label, and copies the parameters out. */
static FraxStatus train(const float *x, const int32_t *label, float *params[PARAMS], FraxError *err) {
    FraxModel *model;
    FraxTrainer *trainer = NULL;
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"B", ROWS}, {"N", LENGTH}};
    options.nsizes = 2;
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    fit.lr = 0.05;
    fit.steps = 300;
    fit.batch = 64; /* rows a step, drawn anew for each epoch */
    fit.progress = report;
    fit.context = &(int64_t){75};

    FraxStatus status = frax_model_parse(text, "noise.frax", "learn", &model, err);
    if (!status) status = frax_trainer_create(model, &options, &fit, &trainer, err);
    if (!status) status = frax_trainer_run(trainer, (const void *[]){x, label}, NULL, err);
    for (size_t i = 0; i < PARAMS && !status; i++)
        status = frax_trainer_get_param(trainer, i, params[i], err);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
    return status;
}

/* Classifies new rows one by one; how many were right. */
static FraxStatus use(float *const params[PARAMS], int rows, int *right, float order[2], FraxError *err) {
    FraxModel *model;
    FraxExecutable *exe = NULL;
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"B", 1}, {"N", LENGTH}};
    options.nsizes = 2;

    FraxStatus status = frax_model_parse(text, "noise.frax", "use", &model, err);
    if (!status) status = frax_compile(model, &options, &exe, err);
    for (int row = 0; row < rows && !status; row++) {
        float x[LENGTH];
        int32_t class;
        make(x, row % CLASSES);
        status =
            frax_run(exe, (const void *[]){x}, (const void *const *)params, (void *[]){&class, order}, err);
        *right += class == row % CLASSES;
    }
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return status;
}

int main(void) {
    static float x[ROWS][LENGTH];
    static int32_t label[ROWS];
    float rho[2], w[2 * 3], b[3], order[2], *params[PARAMS] = {rho, w, b};
    int right = 0;
    FraxError err;
    for (int row = 0; row < ROWS; row++) make(x[row], label[row] = row % CLASSES);

    FraxStatus status = train(x[0], label, params, &err);
    if (!status) status = use(params, 300, &right, order, &err);
    if (status) return fprintf(stderr, "%s\n", err.message), 1;
    printf("orders %.3f and %.3f; of 300 new sequences %d are recognised\n", order[0], order[1], right);
    return right < 240; /* a third would be chance */
}
