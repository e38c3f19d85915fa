/* cli.h — the command line: verbs, options, and what the verbs share.
 *
 * A verb reads a Cli, does its work through frax.h, and appends what belongs on standard output to cli->text,
 * which main writes at the end: after a failure nothing stands there. Results to files are written before
 * that.
 */
#ifndef FRAX_CLI_H
#define FRAX_CLI_H

#include "base.h"
#include "cpus.h"

/* ---- Verbs: name, what follows it, one line of help ---- */

#define VERBS(X)                                                                                             \
    X(check, "M", "parse and type-check the model, print its signature")                                     \
    X(show, "M", "print the graph as lowered, or what the compiler makes of it")                             \
    X(run, "M", "run the model, print its outputs")                                                          \
    X(grad, "M", "print gradients, directional derivatives or Hessian-vector products")                      \
    X(fit, "M", "minimise the loss over the parameters")                                                     \
    X(bench, "M", "time eager and fused execution side by side")                                             \
    X(compile, "M", "write an object file and a C header, to be used without frax")                          \
    X(devices, "", "list the targets, and why one is not available here")                                    \
    X(help, "[TOPIC]", "this text, or a topic: a verb, frac, builtins, passes")

typedef enum Verb {
#define X(name, operand, summary) VERB_##name,
    VERBS(X)
#undef X
        VERB_COUNT
} Verb;

/* ---- Options: field, kind, argument, verbs it belongs to, help ---- */

#define RUNS     (V(run) | V(grad) | V(fit) | V(bench))
#define COMPILES (V(show) | RUNS)
#define SIZED    (COMPILES | V(compile))

#define CLI_OPTIONS(X)                                                                                       \
    X(in, PAIRS, "NAME=FILE", SIZED, "an input: FILE.npy, FILE.npz[:member] or FILE.safetensors[:member]")   \
    X(size, PAIRS, "NAME=N", SIZED, "what a size symbol stands for, where no input tells")                   \
    X(set, PAIRS, "PARAM=V[,V...]", RUNS | V(compile), "a parameter's value; one number fills it")           \
    X(load, WORD, "P.safetensors", RUNS | V(compile), "values of all parameters")                            \
    X(out, PAIRS, "NAME=FILE", V(run) | V(grad) | V(fit),                                                    \
      "write a result to FILE.npy, FILE.npz or FILE.safetensors")                                            \
    X(stream, WORD, "SIZE[:CHUNK]", V(show) | V(run) | V(compile),                                           \
      "take the data along a size in chunks (run: from and to NPY files of any length)")                     \
    X(target, WORD, "TARGET", RUNS | V(show) | V(compile),                                                   \
      "cpu (default), eager, reference or cuda (bench, show, compile: cpu or cuda)")                         \
    X(device, COUNT0, "N", RUNS, "the GPU of --target cuda, as frax devices counts them (default 0)")        \
    X(threads, COUNT, "N", RUNS | V(compile), "threads to use (default: one per processor; compile: one)")   \
    X(seed, COUNT0, "N", RUNS | V(compile),                                                                  \
      "seed of initial parameters, mini-batches and noise (default 0)")                                      \
    X(json, FLAG, "", V(check) | V(devices) | RUNS, "print one JSON object")                                 \
    X(no_cache, FLAG, "", COMPILES, "leave the kernel cache on disk alone")                                  \
    X(debug_jit, FLAG, "", RUNS, "make compiled code known to gdb and perf")                                 \
    X(grad, FLAG, "", V(show) | V(bench) | V(compile),                                                       \
      "with the gradients, not the forward computation alone")                                               \
    X(of, WORD, "OUT", V(show) | V(grad) | V(fit) | V(bench) | V(compile),                                   \
      "the scalar output to differentiate (default loss)")                                                   \
    X(wrt, WORD, "NAME,NAME", V(show) | V(grad) | V(fit) | V(bench) | V(compile),                            \
      "params or inputs to differentiate by (default: all params)")                                          \
    X(mode, WORD, "MODE", V(grad), "forward, reverse (default) or hvp")                                      \
    X(tangent, PAIRS, "NAME=FILE|V", V(grad), "direction for forward and hvp (default: ones)")               \
    X(after, WORD, "PASS", V(show), "the graph after this pass")                                             \
    X(kernels, FLAG, "", V(show), "the kernels, and the memory of a run")                                    \
    X(llvm, FLAG, "", V(show) | V(compile), "LLVM IR of the kernels (compile: as PREFIX.ll)")                \
    X(asm_, FLAG, "", V(show) | V(compile), "machine code of the kernels (compile: as PREFIX.s)")            \
    X(cuda, FLAG, "", V(show), "CUDA text of the kernels")                                                   \
    X(dot, FLAG, "", V(show), "the graph in Graphviz's language")                                            \
    X(output, WORD, "PREFIX", V(compile), "or -o PREFIX: write PREFIX.o and PREFIX.h (required)")            \
    X(cpu, WORD, "CPU", V(compile), "native (default), generic" CPUS_LISTED)                                 \
    X(multi_version, FLAG, "", V(compile), "code for x86-64-v2, -v3 and -v4, chosen when it is loaded")      \
    X(shared, FLAG, "", V(compile), "write PREFIX.so too")                                                   \
    X(params, FLAG, "", V(compile), "put the initial parameters into the object")                            \
    X(steps, COUNT, "N", V(fit), "steps to take (required)")                                                 \
    X(lr, REAL, "X", V(fit), "learning rate (default, as 0: 0.01 for sgd, 0.001 for adam and adamw)")        \
    X(optimizer, WORD, "NAME", V(fit), "sgd, adam (default), adamw or lbfgs")                                \
    X(momentum, REAL, "X", V(fit), "sgd (default 0)")                                                        \
    X(beta1, REAL, "X", V(fit), "adam, adamw (default 0.9)")                                                 \
    X(beta2, REAL, "X", V(fit), "adam, adamw (default 0.999)")                                               \
    X(eps, REAL, "X", V(fit), "adam, adamw (default 1e-8)")                                                  \
    X(weight_decay, REAL, "X", V(fit),                                                                       \
      "decoupled for adamw (default 0.01), added to the gradient for sgd and adam")                          \
    X(clip_norm, REAL, "X", V(fit), "limit of the norm over all gradients (default 0: none)")                \
    X(clip_value, REAL, "X", V(fit), "limit of each entry of the gradients (default 0: none)")               \
    X(batch, COUNT, "N", V(fit), "rows of the inputs' leading axis in one step (default: all)")              \
    X(tolerance, REAL, "X", V(fit),                                                                          \
      "lbfgs: end when the gradient is below it, relative to the loss (default 1e-9)")                       \
    X(save, WORD, "P.safetensors", V(fit) | V(compile),                                                      \
      "write the fitted parameters (compile: the initial ones)")                                             \
    X(repeat, COUNT, "N", V(bench),                                                                          \
      "runs of each kind; the median counts (default: about half a second's worth)")                         \
    X(plot, WORD, "F.svg", V(fit) | V(bench), "fit: series and loss against steps; bench: bar chart")        \
    X(man, WORD, "DIR", V(help), "write the manual pages frax.1, frax-check.1 ... into a folder")            \
    X(completion, WORD, "SHELL", V(help), "print the completion of this command line for bash, zsh or fish")

/* The words of --mode. */
#define CLI_MODES(X) X("forward", FRAX_JVP) X("reverse", FRAX_REVERSE) X("hvp", FRAX_HVP)

/* NAME=VALUE arguments in the order given; both point into the arguments of main or strings of the Cli. */
typedef struct Pair {
    const char *name, *value;
} Pair;

typedef struct Pairs {
    Pair *items;
    size_t count, cap;
} Pairs;

/* What an option of each kind is stored as. COUNT: a whole number ≥ 1; COUNT0: ≥ 0; both 0 when not given.
   REAL: NaN when not given. */
typedef bool CliFLAG;
typedef const char *CliWORD;
typedef int64_t CliCOUNT;
typedef int64_t CliCOUNT0;
typedef double CliREAL;
typedef Pairs CliPAIRS;

/* A bit for each option, as in cli->given. */
typedef enum OptionIndex {
#define X(field, kind, argument, verbs, help) OPTION_##field,
    CLI_OPTIONS(X)
#undef X
        OPTION_COUNT
} OptionIndex;
_Static_assert(OPTION_COUNT <= 64, "Cli.given has a bit for each option");

/* Was the option given, with whatever value? */
#define CLI_GIVEN(cli, field) ((cli)->given >> OPTION_##field & 1)

typedef struct Cli {
    Verb verb;
    uint64_t given;
    const char *operand; /* the model, or the topic of help; NULL: none */
    bool wants_help;
#define X(field, kind, argument, verbs, help) Cli##kind field;
    CLI_OPTIONS(X)
#undef X
    Arena strings;
    Text text; /* for standard output */
} Cli;

/* Errors: FRAX_USAGE. */
FraxStatus cli_parse(int argc, char **argv, Cli *cli, FraxError *err);
/* Writes what has gathered in cli->text to standard output. Main does so after a verb; a verb that undoes its
   work when even that fails does it before. */
FraxStatus cli_flush(Cli *cli, FraxError *err);
void cli_free(Cli *cli);
void cli_help_all(Text *out);
void cli_help_verb(Verb verb, Text *out);

/* A row of the table of options, for what is written from it (cli_docs.c); false when there is none. */
typedef struct OptionRow {
    char name[20]; /* as typed, without the leading -- */
    const char *argument, *help;
    bool takes_value;
    uint32_t verbs; /* a bit for each */
} OptionRow;

bool cli_option_row(size_t i, OptionRow *row);
/* --man and --completion. */
FraxStatus cli_write_manual(const char *folder, FraxError *err);
FraxStatus cli_completion(const char *shell, Text *out, FraxError *err);

/* The index of `name` among names[0..n), or a FRAX_USAGE error that lists them and suggests the near one. */
FraxStatus cli_choose(const char *what, const char *name, const char *const *names, size_t n, size_t *index,
                      FraxError *err);

/* Of a search for what an option names: not the model is at fault that lacks it, the call is wrong. */
FraxStatus cli_name_status(FraxStatus status, FraxError *err);

/* ---- Files (cli_files.c) ---- */

/* Of a verb with a model, before it works (session_open asks): no file that it writes is one that it reads,
   or two results at once; names end as their formats want; each file can be written, as far as that is known
   beforehand. Errors: FRAX_USAGE, FRAX_FILE. */
FraxStatus cli_check_files(const Cli *cli, FraxError *err);
bool has_extension(const char *path, const char *extension); /* ".npy" */

/* ---- A model with its data (cli_data.c) ---- */

/* Everything that a run needs: buffers belong to the session. */
typedef struct Session {
    const Cli *cli;
    FraxModel *model;
    FraxExecutable *exe;
    FraxOptions options;
    FraxTensor *inputs; /* as read; rank −1: not given */
    size_t ninputs;
    void **input_data, **param_data, **output_data; /* in the order of exe's signature */
    const char **wrt;
    FraxSize *sizes;
    struct NpyReader *readers; /* of inputs that are streamed from files; NULL: --stream is not given */
} Session;

/* The model M. A name that the file lacks is wrong usage; names inside the text have their place in it. */
FraxStatus cli_load_model(const Cli *cli, FraxModel **model, FraxError *err);
/* Loads the model, reads --in, and fills session->options from the command line. */
FraxStatus session_open(Session *session, const Cli *cli, FraxError *err);
/* Compiles for session->options and allocates outputs and params; params get their initial values, --load and
   --set. missing_noise: inputs that were not given are filled with seeded noise; otherwise they are an error.
 */
/* Compiles for session->options; allocates params and gives them their values. */
FraxStatus session_prepare(Session *session, FraxError *err);
/* Writes the params to a safetensors file. */
FraxStatus session_save_params(const Session *session, const char *path, FraxError *err);
FraxStatus session_compile(Session *session, bool missing_noise, FraxError *err);
FraxStatus session_run(Session *session, FraxError *err);
void session_close(Session *session);

/* --stream (cli_stream.c). Reads the option; opens the file of a streamed input, which then has a shape and
   no data, and leaves any other input alone; runs chunk by chunk and reports. */
FraxStatus stream_options(Session *session, FraxError *err);
FraxStatus stream_open_input(Session *session, size_t input, const char *path, FraxError *err);
/* Settles options.chunk: what was asked for, or what fits; not beyond the signal. */
FraxStatus stream_choose_chunk(Session *session, FraxError *err);
FraxStatus stream_run(Session *session, FraxError *err);
void stream_close(Session *session);
/* Is the data of an input read chunk by chunk? */
bool stream_has_input(const Session *session, size_t input);

FraxTensor session_output(const Session *session, size_t i);
FraxTensor session_param(const Session *session, size_t i);
size_t tensor_bytes(const FraxTensor *tensor);

/* ---- Results (cli_print.c) ---- */

typedef struct Results {
    struct Result {
        const char *name;  /* not owned */
        FraxTensor tensor; /* data not owned */
    } * items;
    size_t count, cap;
} Results;

FraxStatus results_add(Results *results, const char *name, FraxTensor tensor, FraxError *err);
/* Every --out names an output from `first` on: better known before the work than after it. */
FraxStatus results_check(const Session *session, size_t first, FraxError *err);
/* Writes what --out asks for; names must be among the results. */
FraxStatus results_write(const Results *results, const Pairs *out, FraxError *err);
void results_print(const Results *results, Text *out);
/* "KEY": {NAME: {dtype, shape, data}, …} */
void results_json(const Results *results, const char *key, Text *out);
void json_string(Text *out, const char *s);
void json_number(Text *out, double value); /* null if not finite */

/* ---- The verbs ---- */

typedef FraxStatus CliVerb(Cli *cli, FraxError *err);
#define X(name, operand, summary) CliVerb cli_##name;
VERBS(X)
#undef X

#endif
