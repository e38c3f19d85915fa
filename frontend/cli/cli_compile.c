/* cli_compile.c — the verb compile: an object file, its header, and what else was asked for. Files appear all
 * or not at all. */
#include "api.h"
#include "cli_compile.h"
#include "files.h"
#include "model.h"
#include "object_header.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static FraxStatus check_cpu(const Cli *cli, FraxError *err) {
    static const char *const names[] = {"native", "generic",
#define X(name, ...) name,
                                        CPUS(X)
#undef X
    };
    size_t index;
    return cli->cpu ? cli_choose("cpu", cli->cpu, names, COUNT(names), &index, err) : FRAX_OK;
}

static FraxStatus check_usage(const Cli *cli, FraxError *err) {
    if (!cli->output)
        return fail(err, FRAX_USAGE, "frax compile needs -o PREFIX: it writes PREFIX.o and PREFIX.h");
    if (!cli->grad && (cli->of || cli->wrt)) return fail(err, FRAX_USAGE, "--of and --wrt need --grad");
    if (cli->grad && cli->stream)
        return fail(err, FRAX_USAGE, "--grad and --stream exclude each other in frax compile");
    if (cli->cpu && cli->multi_version)
        return fail(err, FRAX_USAGE, "--cpu and --multi-version exclude each other");
    if (!cli->params && !cli->save && (cli->set.count || cli->load || CLI_GIVEN(cli, seed)))
        return fail(err, FRAX_USAGE,
                    "--set, --load and --seed give initial parameters: they need --params or --save");
    FraxStatus status = check_cpu(cli, err);
    if (status || is_c_identifier(base_name(cli->output))) return status;
    return fail(err, FRAX_USAGE, "-o %s: '%s' begins the names of the functions, so it must be a name in C",
                cli->output, base_name(cli->output));
}

/* ---- The shared object: the linker is the C compiler's ---- */

/* How the linker ended, and what it was told: it may have said nothing itself. */
static FraxStatus fail_linking(char *const *command, int result, FraxError *err) {
    Text words = {0};
    for (int i = 0; command[i]; i++) text_printf(&words, "%s%s", i ? " " : "", command[i]);
    fail(err, FRAX_FILE, "--shared: the linker %s %d: %s",
         WIFEXITED(result) ? "failed with exit status" : "was ended by signal",
         WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result), words.data ? words.data : command[0]);
    text_free(&words);
    return FRAX_FILE;
}

static FraxStatus run_linker(char *const *command, FraxError *err) {
    int result;
    pid_t child = fork();
    if (child < 0) return fail(err, FRAX_INTERNAL, "starting %s: %s", command[0], strerror(errno));
    if (!child) {
        execvp(command[0], command);
        _exit(127);
    }
    while (waitpid(child, &result, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(result) && WEXITSTATUS(result) == 0) return FRAX_OK;
    if (WIFEXITED(result) && WEXITSTATUS(result) == 127)
        return fail(
            err, FRAX_UNSUPPORTED,
            "--shared needs a C compiler as the linker, and there is no %s: install one, or name one in "
            "the environment variable CC",
            command[0]);
    return fail_linking(command, result, err);
}

/* The compiler's words (CC may hold options), then `rest`. */
static FraxStatus linker_command(const char *cc, char **command, const char *const *rest, Arena *strings,
                                 FraxError *err) {
    enum { MOST_WORDS = 16 };
    int n = 0;
    for (cc += strspn(cc, " "); *cc && n < MOST_WORDS; cc += strspn(cc, " ")) {
        size_t length = strcspn(cc, " ");
        command[n] = arena_strndup(strings, cc, length);
        if (!command[n++]) return fail_memory(err, "the linker's command");
        cc += length;
    }
    for (; *rest; rest++) command[n++] = (char *)*rest;
    command[n] = NULL;
    return FRAX_OK;
}

static FraxStatus link_shared(Written *w, const Cli *cli, const ObjectCode *code, FraxError *err) {
    enum { MOST = 32 };
    char *command[MOST];
    const char *cc = getenv("CC"), *object = w->new_path[0], *shared;
    FraxStatus status = written_add(w, cli->output, ".so", &shared, err);
    if (status) return status;
#if defined(__aarch64__)
    bool cross = false;
#else
    bool cross = !strncmp(code->triple, "aarch64", 7);
#endif
    if (!cc || !cc[strspn(cc, " ")]) cc = cross ? "aarch64-linux-gnu-gcc" : "cc";
    const char *rest[] = {"-shared",     "-o",   shared,
                          "-x",          "none", object,
                          "-Wl,-z,defs", "-lm",  cli->threads > 1 ? "-fopenmp" : NULL,
                          NULL};
    status = linker_command(cc, command, rest, &w->paths, err);
    return status ? status : run_linker(command, err);
}

/* ---- Compiling ---- */

FraxStatus compile_order(const FraxExecutable *exe, size_t ninputs, size_t **order, FraxError *err) {
    size_t inputs = frax_executable_count(exe, FRAX_INPUT);
    *order = mem_calloc(MAX(ninputs, 1), sizeof **order);
    if (!*order) return fail_memory(err, "the signature");
    for (size_t i = 0; i < inputs; i++) (*order)[i] = i;
    for (size_t i = 0; i < frax_executable_count(exe, FRAX_PARAM); i++)
        (*order)[param_position(exe, i)] = inputs + i;
    return FRAX_OK;
}

static FraxStatus list_constants(const Session *s, const char *prefix, ObjectConstant **constants,
                                 size_t *count, FraxError *err) {
    Arena *strings = (Arena *)&s->cli->strings;
    *count = s->cli->params ? frax_model_count(s->model, FRAX_PARAM) : 0;
    *constants = mem_calloc(MAX(*count, 1), sizeof **constants);
    if (!*constants) return fail_memory(err, "the parameters");
    for (size_t i = 0; i < *count; i++) {
        char name[256];
        FraxTensor param = session_param(s, i);
        object_constant_name(prefix, frax_executable_name(s->exe, FRAX_PARAM, i), name);
        (*constants)[i] =
            (ObjectConstant){arena_strndup(strings, name, strlen(name)), param.data, tensor_bytes(&param)};
        if (!(*constants)[i].name) return fail_memory(err, "the parameters");
    }
    return FRAX_OK;
}

static FraxStatus compile_object(Session *s, const Cli *cli, ObjectCode *code, FraxError *err) {
    Graph *g = NULL;
    size_t *order = NULL, nconstants = 0;
    ObjectConstant *constants = NULL;
    const char *prefix = base_name(cli->output);
    FraxStatus status = model_graph(s->model, &s->options, &g, NULL, err);
    if (!status) status = compile_order(s->exe, g->ninputs, &order, err);
    if (!status) status = list_constants(s, prefix, &constants, &nconstants, err);
    if (status) {
        graph_destroy(g);
    } else {
        ObjectOptions options = {
            .cpu = cli->cpu ? cli->cpu : "native",
            .multi_version = cli->multi_version,
            .threads = (int)MAX(cli->threads, 1),
            .prefix = prefix,
            .order = order,
            .constants = constants,
            .nconstants = nconstants,
            .wanted = {[OBJECT_FILE] = true, [OBJECT_LLVM] = cli->llvm, [OBJECT_ASSEMBLY] = cli->asm_}};
        status = object_create(g, &options, code, err);
    }
    mem_free(order);
    mem_free(constants);
    return status;
}

static FraxStatus header_text(const Session *s, const Cli *cli, const ObjectCode *code, Text *text,
                              FraxError *err) {
    int64_t *sizes = NULL;
    FraxStatus status = bind_options(s->model, &s->options, &sizes, err);
    if (status) return status;
    object_header_text(&(ObjectHeader){.prefix = base_name(cli->output),
                                       .model = s->model,
                                       .exe = s->exe,
                                       .sizes = sizes,
                                       .stream = s->options.stream,
                                       .chunk = s->options.chunk,
                                       .threads = (int)MAX(cli->threads, 1),
                                       .has_params = cli->params,
                                       .code = code},
                       text);
    mem_free(sizes);
    return text->failed ? fail_memory(err, "the header") : FRAX_OK;
}

static FraxStatus write_all(const Session *s, const Cli *cli, const ObjectCode *code, Written *w,
                            FraxError *err) {
    static const char *const by_form[OBJECT_FORMS] = {".o", ".ll", ".s"};
    Text header = {0};
    FraxStatus status = header_text(s, cli, code, &header, err);
    for (int form = 0; form < OBJECT_FORMS && !status; form++)
        if (code->data[form])
            status = written_file(w, cli->output, by_form[form], code->data[form], code->bytes[form], err);
    if (!status) status = written_file(w, cli->output, ".h", header.data, header.len, err);
    if (!status && cli->shared) status = link_shared(w, cli, code, err);
    text_free(&header);
    return status;
}

static FraxStatus compile_cpu(Session *s, const Cli *cli, Written *w, FraxError *err) {
    ObjectCode code = {0};
    FraxStatus status = compile_object(s, cli, &code, err);
    if (!status) status = write_all(s, cli, &code, w, err);
    object_free(&code);
    return status;
}

static FraxStatus check_target(const Session *s, const Cli *cli, FraxError *err) {
    if (s->options.target == FRAX_CUDA) return compile_cuda_usage(cli, err);
    if (s->options.target == FRAX_CPU) return FRAX_OK;
    return fail(err, FRAX_USAGE, "compile --target %s: code is made for cpu and cuda", cli->target);
}

static FraxStatus save_params(const Session *s, const Cli *cli, Written *w, FraxError *err) {
    const char *path;
    FraxStatus status = written_add(w, cli->save, "", &path, err);
    return status ? status : session_save_params(s, path, err);
}

FraxStatus cli_compile(Cli *cli, FraxError *err) {
    Session s = {0};
    Written w = {0};
    FraxStatus status = check_usage(cli, err);
    if (status) return status;
    status = session_open(&s, cli, err);
    bool is_cuda = s.options.target == FRAX_CUDA;
    if (!status) status = check_target(&s, cli, err);
    s.options.mode = cli->grad ? FRAX_REVERSE : FRAX_FORWARD;
    s.options.target = FRAX_REFERENCE; /* for the signature and the parameters */
    if (!status) status = session_prepare(&s, err);
    if (!status)
        status =
            is_cuda ? compile_cuda(&s, cli, base_name(cli->output), &w, err) : compile_cpu(&s, cli, &w, err);
    if (!status && cli->save) status = save_params(&s, cli, &w, err);
    if (!status) status = written_prepare(&w, err);
    for (int i = 0; i < w.count && !status; i++) text_printf(&cli->text, "%s\n", w.path[i]);
    if (!status) status = cli_flush(cli, err); /* before the files move: they are not there when it fails */
    if (!status) status = written_move(&w, err);
    written_end(&w);
    session_close(&s);
    return status;
}
