/* cli_run.c — the verbs run and grad: compile, run once, print or write the results. */
#include "cli.h"
#include <string.h>

/* Runs and reports the outputs from index `first` on. */
static FraxStatus run_and_report(Session *s, Cli *cli, size_t first, FraxError *err) {
    Results results = {0};
    FraxStatus status = session_compile(s, false, err);
    if (!status) status = results_check(s, first, err);
    if (!status) status = session_run(s, err);
    for (size_t i = first; !status && i < frax_executable_count(s->exe, FRAX_OUTPUT); i++)
        status =
            results_add(&results, frax_executable_name(s->exe, FRAX_OUTPUT, i), session_output(s, i), err);
    if (!status) status = results_write(&results, &cli->out, err);
    if (!status && cli->json) {
        text_printf(&cli->text, "{");
        results_json(&results, "outputs", &cli->text);
        text_printf(&cli->text, "}\n");
    } else if (!status && !cli->out.count) {
        results_print(&results, &cli->text);
    }
    mem_free(results.items);
    return status;
}

FraxStatus cli_run(Cli *cli, FraxError *err) {
    Session s;
    FraxStatus status = session_open(&s, cli, err);
    if (!status && s.options.stream)
        status = stream_run(&s, err);
    else if (!status)
        status = run_and_report(&s, cli, 0, err);
    session_close(&s);
    return status;
}

static const char *const mode_names[] = {
#define X(name, mode) name,
    CLI_MODES(X)
#undef X
};
static const FraxMode modes[] = {
#define X(name, mode) mode,
    CLI_MODES(X)
#undef X
};

FraxStatus cli_grad(Cli *cli, FraxError *err) {
    Session s;
    size_t mode = 1;
    FraxStatus status = FRAX_OK;
    if (cli->mode) status = cli_choose("mode", cli->mode, mode_names, COUNT(mode_names), &mode, err);
    if (status) return status;
    if (modes[mode] == FRAX_JVP && cli->of)
        return fail(err, FRAX_USAGE,
                    "--of means nothing to --mode forward, which gives the tangents of all outputs");
    status = session_open(&s, cli, err);
    s.options.mode = modes[mode];
    if (!status) status = run_and_report(&s, cli, frax_model_count(s.model, FRAX_OUTPUT), err);
    session_close(&s);
    return status;
}
