/* cli_fit.c — the verb fit: steps with a progress line, then the parameters and the outputs that they give.
 *
 * The trainer minimises; afterwards the model is compiled once more for the outputs alone and run on all data
 * with the fitted parameters, which gives the final loss and the series for the picture.
 */
#include "api.h"
#include "cli.h"
#include "files.h"
#include "half.h"
#include "svg.h"
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SERIES = 4, LONGEST_SUBTITLE = 90 };

/* The loss before each step, and the line on the terminal. */
typedef struct Progress {
    int64_t total, step, evaluations; /* the last two: so far */
    bool shown;                       /* standard error is a terminal */
    double last;                      /* when the line was written */
    double *losses;
    size_t count, cap;
    bool failed;
} Progress;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_progress(const Progress *p) {
    if (!p->shown || !p->count) return;
    fprintf(stderr, "\rstep %lld of at most %lld, %lld evaluations, loss %.9g\033[K", (long long)p->step,
            (long long)p->total, (long long)p->evaluations, p->losses[p->count - 1]);
}

static int on_step(void *context, int64_t step, int64_t evaluations, double loss) {
    Progress *p = context;
    if (!mem_grow(&p->losses, &p->cap, p->count + 1, sizeof *p->losses)) p->failed = true;
    if (p->failed) return 1;
    p->losses[p->count++] = loss;
    p->step = step;
    p->evaluations = evaluations;
    if (seconds() - p->last > 0.1) {
        p->last = seconds();
        show_progress(p);
    }
    return 0;
}

/* The line as it stands at the end stays on the terminal. */
static void end_progress(Progress *p) {
    show_progress(p);
    if (p->shown && p->count) fprintf(stderr, "\n");
    p->shown = false;
}

static void set_real(double *field, double given) {
    if (!isnan(given)) *field = given;
}

static const char *const optimizer_names[] = {
#define X(code, name) name,
    FRAX_OPTIMIZERS(X)
#undef X
};

/* An option that the chosen optimizer would ignore is refused. */
static FraxStatus check_relevant(const Cli *cli, size_t optimizer, FraxError *err) {
    enum { SGD = 1 << FRAX_SGD, ADAMS = 1 << FRAX_ADAM | 1 << FRAX_ADAMW, LBFGS = 1 << FRAX_LBFGS };
    const struct {
        const char *option;
        bool given;
        int optimizers;
    } table[] = {{"lr", !isnan(cli->lr), SGD | ADAMS},
                 {"momentum", !isnan(cli->momentum), SGD},
                 {"beta1", !isnan(cli->beta1), ADAMS},
                 {"beta2", !isnan(cli->beta2), ADAMS},
                 {"eps", !isnan(cli->eps), ADAMS},
                 {"weight-decay", !isnan(cli->weight_decay), SGD | ADAMS},
                 {"clip-norm", !isnan(cli->clip_norm), SGD | ADAMS},
                 {"clip-value", !isnan(cli->clip_value), SGD | ADAMS},
                 {"batch", cli->batch != 0, SGD | ADAMS},
                 {"tolerance", !isnan(cli->tolerance), LBFGS}};
    for (size_t i = 0; i < COUNT(table); i++)
        if (table[i].given && !(table[i].optimizers >> optimizer & 1))
            return fail(err, FRAX_USAGE, "--%s means nothing to optimizer %s", table[i].option,
                        optimizer_names[optimizer]);
    return FRAX_OK;
}

/* The option of that name in FraxFitOptions: --eps of epsilon, --clip-norm of clip_norm. */
static FraxStatus check_numbers(const FraxFitOptions *fit, FraxError *err) {
    double value;
    const char *range, *name = fit_out_of_range(fit, &value, &range);
    char option[32];
    if (!name) return FRAX_OK;
    snprintf(option, sizeof option, "%s", strcmp(name, "epsilon") ? name : "eps");
    for (char *c = option; *c; c++) *c = *c == '_' ? '-' : *c;
    return fail(err, FRAX_USAGE, "--%s %g: expected %s", option, value, range);
}

static FraxStatus fit_options(const Cli *cli, Progress *progress, FraxFitOptions *fit, FraxError *err) {
    size_t optimizer = FRAX_ADAM;
    FraxStatus status = FRAX_OK;
    if (!cli->steps) return fail(err, FRAX_USAGE, "frax fit needs --steps N");
    if (cli->optimizer)
        status =
            cli_choose("optimizer", cli->optimizer, optimizer_names, COUNT(optimizer_names), &optimizer, err);
    if (!status) status = check_relevant(cli, optimizer, err);
    if (status) return status;
    *fit = frax_default_fit_options((FraxOptimizer)optimizer);
    set_real(&fit->lr, cli->lr);
    set_real(&fit->momentum, cli->momentum);
    set_real(&fit->beta1, cli->beta1);
    set_real(&fit->beta2, cli->beta2);
    set_real(&fit->epsilon, cli->eps);
    set_real(&fit->weight_decay, cli->weight_decay);
    set_real(&fit->clip_norm, cli->clip_norm);
    set_real(&fit->clip_value, cli->clip_value);
    set_real(&fit->tolerance, cli->tolerance);
    fit->steps = cli->steps;
    fit->batch = cli->batch;
    fit->seed = (uint64_t)cli->seed;
    fit->progress = on_step;
    fit->context = progress;
    return check_numbers(fit, err);
}

/* What a fit that a guard has ended had reached is not lost: the message says where it is. */
static FraxStatus rescue_params(Session *s, const FraxTrainer *trainer, FraxError *err) {
    FraxError fault = *err, other;
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < frax_model_count(s->model, FRAX_PARAM) && !status; i++)
        status = frax_trainer_get_param(trainer, i, s->param_data[i], &other);
    if (!status) status = session_save_params(s, s->cli->save, &other);
    if (status)
        return fail(err, fault.status, "%s\n(the last params inside are not saved: %s)", fault.message,
                    other.message);
    return fail(err, fault.status, "%s\n(saved to %s: the last params at which every value was in its range)",
                fault.message, s->cli->save);
}

/* Starts from the session's params (--load, --set), fits, and copies the result back. */
static FraxStatus fit_params(Session *s, const FraxFitOptions *fit, Progress *progress, FraxTrainer **trainer,
                             FraxError *err) {
    double loss;
    FraxStatus status = frax_trainer_create(s->model, &s->options, fit, trainer, err);
    size_t n = frax_model_count(s->model, FRAX_PARAM);
    for (size_t i = 0; i < n && !status; i++)
        status = frax_trainer_set_param(*trainer, i, s->param_data[i], err);
    if (!status) status = frax_trainer_run(*trainer, (const void *const *)s->input_data, &loss, err);
    end_progress(progress);
    if (status == FRAX_VALUE && s->cli->save && frax_trainer_steps(*trainer) > 1)
        return rescue_params(s, *trainer, err);
    for (size_t i = 0; i < n && !status; i++)
        status = frax_trainer_get_param(*trainer, i, s->param_data[i], err);
    if (!status && progress->failed) return fail_memory(err, "the losses");
    return status;
}

/* ---- The picture: one panel for each series in and out, then the loss against steps ---- */

typedef struct Picture {
    SvgPanel panels[MAX_SERIES + 1];
    SvgSeries series[MAX_SERIES + 1];
    char titles[MAX_SERIES + 1][96];
    double *values[MAX_SERIES];
    size_t count;
    Text subtitle; /* the scalars */
} Picture;

static void add_scalar(Picture *picture, const char *name, double value) {
    if (picture->subtitle.len > LONGEST_SUBTITLE) return;
    text_printf(&picture->subtitle, "%s%s = %.9g", picture->subtitle.len ? ",  " : "", name, value);
}

static FraxStatus add_series(Picture *picture, const char *role, const char *name, const FraxTensor *tensor,
                             FraxError *err) {
    bool floating = tensor->dtype == FRAX_F64 || tensor->dtype == FRAX_F32;
    if (floating && tensor->rank == 0) add_scalar(picture, name, element_get(tensor->data, tensor->dtype, 0));
    if (!floating || tensor->rank != 1 || tensor->dims[0] < 2 || picture->count == MAX_SERIES) return FRAX_OK;
    size_t n = (size_t)tensor->dims[0], k = picture->count;
    double *values = mem_alloc(n * sizeof *values);
    if (!values) return fail_memory(err, "the picture");
    for (size_t i = 0; i < n; i++) values[i] = element_get(tensor->data, tensor->dtype, (int64_t)i);
    snprintf(picture->titles[k], sizeof picture->titles[k], "%s %s", role, name);
    picture->values[k] = values;
    picture->series[k] = (SvgSeries){.n = n, .y = values};
    picture->panels[k] = (SvgPanel){
        .title = picture->titles[k], .x_label = "sample", .series = &picture->series[k], .nseries = 1};
    picture->count++;
    return FRAX_OK;
}

/* A loss that falls by orders of magnitude is drawn on a logarithmic axis. */
static bool falls_far(const double *values, size_t n) {
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
    }
    return least > 0 && most >= 30 * least;
}

static void add_losses(Picture *picture, const Progress *progress, const char *of) {
    size_t k = picture->count;
    snprintf(picture->titles[k], sizeof picture->titles[k], "%s against steps", of);
    picture->series[k] = (SvgSeries){.n = progress->count, .y = progress->losses};
    picture->panels[k] = (SvgPanel){.title = picture->titles[k],
                                    .x_label = "steps taken",
                                    .series = &picture->series[k],
                                    .nseries = 1,
                                    .log_y = falls_far(progress->losses, progress->count)};
}

static FraxStatus draw(const Session *s, const Progress *progress, const char *path, FraxError *err) {
    Picture picture = {0};
    Text svg = {0};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < s->ninputs && !status; i++)
        status =
            add_series(&picture, "input", frax_executable_name(s->exe, FRAX_INPUT, i), &s->inputs[i], err);
    for (size_t i = 0; i < frax_executable_count(s->exe, FRAX_PARAM) && !status; i++) {
        FraxTensor param = session_param(s, i);
        status = add_series(&picture, "param", frax_executable_name(s->exe, FRAX_PARAM, i), &param, err);
    }
    for (size_t i = 0; i < frax_executable_count(s->exe, FRAX_OUTPUT) && !status; i++) {
        FraxTensor output = session_output(s, i);
        status = add_series(&picture, "output", frax_executable_name(s->exe, FRAX_OUTPUT, i), &output, err);
    }
    add_losses(&picture, progress, s->cli->of ? s->cli->of : "loss");
    SvgChart chart = {frax_model_name(s->model), picture.panels, picture.count + 1, picture.subtitle.data};
    if (picture.subtitle.failed && !status) status = fail_memory(err, "the picture");
    if (!status) status = svg_lines(&chart, &svg);
    if (!status) status = file_replace(path, svg.data, svg.len, err);
    for (size_t i = 0; i < picture.count; i++) mem_free(picture.values[i]);
    text_free(&picture.subtitle);
    text_free(&svg);
    return status;
}

/* ---- Report ---- */

static void report_json(const FraxTrainer *trainer, const Results *outputs, const Results *params,
                        Text *out) {
    text_printf(out, "{");
    results_json(outputs, "outputs", out);
    text_printf(out, ", ");
    results_json(params, "params", out);
    text_printf(out, ", \"steps\": %lld, \"evaluations\": %lld, \"converged\": %s, \"outcome\": ",
                (long long)frax_trainer_steps(trainer), (long long)frax_trainer_evaluations(trainer),
                frax_trainer_converged(trainer) ? "true" : "false");
    json_string(out, frax_trainer_outcome(trainer));
    text_printf(out, "}\n");
}

static FraxStatus report(const Session *s, Cli *cli, const FraxTrainer *trainer, FraxError *err) {
    Results outputs = {0}, params = {0};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < frax_executable_count(s->exe, FRAX_OUTPUT) && !status; i++)
        status =
            results_add(&outputs, frax_executable_name(s->exe, FRAX_OUTPUT, i), session_output(s, i), err);
    for (size_t i = 0; i < frax_executable_count(s->exe, FRAX_PARAM) && !status; i++)
        status = results_add(&params, frax_executable_name(s->exe, FRAX_PARAM, i), session_param(s, i), err);
    if (!status) status = results_write(&outputs, &cli->out, err);
    if (!status && cli->json) {
        report_json(trainer, &outputs, &params, &cli->text);
    } else if (!status) {
        results_print(&params, &cli->text);
        results_print(&outputs, &cli->text);
        text_printf(&cli->text, "%lld steps, %lld evaluations: %s\n", (long long)frax_trainer_steps(trainer),
                    (long long)frax_trainer_evaluations(trainer), frax_trainer_outcome(trainer));
    }
    mem_free(outputs.items);
    mem_free(params.items);
    return status;
}

/* The loss that the fitted params give ends the curve; the trainer reports the one before each step. */
static void add_final_loss(const Session *s, Progress *progress) {
    const char *of = s->cli->of ? s->cli->of : "loss";
    for (size_t i = 0; i < frax_executable_count(s->exe, FRAX_OUTPUT); i++) {
        if (strcmp(frax_executable_name(s->exe, FRAX_OUTPUT, i), of)) continue;
        FraxTensor loss = session_output(s, i);
        on_step(progress, 0, 0, element_get(loss.data, loss.dtype, 0));
    }
}

FraxStatus cli_fit(Cli *cli, FraxError *err) {
    Session s;
    Progress progress = {.total = cli->steps, .shown = isatty(STDERR_FILENO) && !cli->json};
    FraxFitOptions fit;
    FraxTrainer *trainer = NULL;
    FraxStatus status = fit_options(cli, &progress, &fit, err);
    if (status) return status;
    status = session_open(&s, cli, err);
    if (!status) status = session_compile(&s, false, err);
    if (!status) status = results_check(&s, 0, err);
    if (!status) status = fit_params(&s, &fit, &progress, &trainer, err);
    if (!status) status = session_run(&s, err);
    if (!status) add_final_loss(&s, &progress);
    if (!status && cli->save) status = session_save_params(&s, cli->save, err);
    if (!status && cli->plot) status = draw(&s, &progress, cli->plot, err);
    if (!status) status = report(&s, cli, trainer, err);
    frax_trainer_destroy(trainer);
    mem_free(progress.losses);
    session_close(&s);
    return status;
}
