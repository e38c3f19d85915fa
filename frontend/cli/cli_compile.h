/* cli_compile.h — what the verb compile shares between its targets. */
#ifndef FRAX_CLI_COMPILE_H
#define FRAX_CLI_COMPILE_H

#include "cli.h"
#include "cli_written.h"

/* args[order[i]] of the functions is the graph's i-th input. */
FraxStatus compile_order(const FraxExecutable *exe, size_t ninputs, size_t **order, FraxError *err);

/* ---- --target cuda (cli_compile_cuda.c) ---- */

FraxStatus compile_cuda_usage(const Cli *cli, FraxError *err);
/* Of a session that is prepared. Writes all files but does not move them. */
FraxStatus compile_cuda(const Session *session, const Cli *cli, const char *prefix, Written *written,
                        FraxError *err);

#endif
