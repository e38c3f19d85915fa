/* main.c — the program frax: reads the arguments, calls the verb, writes its output, returns the exit status.
 *
 * Standard output is written once, after everything has gone well; messages go to standard error.
 */
#include "cli.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const int exit_statuses[] = {
#define X(code, exit_status, meaning) exit_status,
    FRAX_STATUSES(X)
#undef X
};

static CliVerb *const verbs[] = {
#define X(name, operand, summary) cli_##name,
    VERBS(X)
#undef X
};

static FraxStatus dispatch(Cli *cli, FraxError *err) {
    if (!cli->wants_help) return verbs[cli->verb](cli, err);
    cli_help_verb(cli->verb, &cli->text);
    return FRAX_OK;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        puts("frax " FRAX_VERSION);
        return 0;
    }
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a fault of writing it */
    Cli cli;
    FraxError err = {0};
    FraxStatus status = cli_parse(argc, argv, &cli, &err);
    if (!status) status = dispatch(&cli, &err);
    if (!status) status = cli_flush(&cli, &err);
    cli_free(&cli);
    if (status) fprintf(stderr, "frax: %s\n", err.message);
    return exit_statuses[status];
}
