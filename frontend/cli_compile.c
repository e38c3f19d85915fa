/* cli_compile.c — the verb compile: an object file, its header, and what else was asked for. Files appear all
 * or not at all. */
#include "api.h"
#include "cli.h"
#include "files.h"
#include "model.h"
#include "object_header.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_FILES = 6 };

/* Files written so far, to be removed after a failure. */
typedef struct Written {
    Arena paths;
    const char *path[MOST_FILES];
    size_t bytes[MOST_FILES];
    int count;
} Written;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static FraxStatus check_usage(const Cli *cli, FraxError *err) {
    if (!cli->output)
        return fail(err, FRAX_USAGE, "frax compile needs -o PREFIX: it writes PREFIX.o and PREFIX.h");
    if (!cli->grad && (cli->of || cli->wrt)) return fail(err, FRAX_USAGE, "--of and --wrt need --grad");
    if (cli->grad && cli->stream)
        return fail(err, FRAX_USAGE, "--grad and --stream exclude each other in frax compile");
    if (cli->cpu && cli->multi_version)
        return fail(err, FRAX_USAGE, "--cpu and --multi-version exclude each other");
    if (is_c_identifier(base_name(cli->output))) return FRAX_OK;
    return fail(err, FRAX_USAGE, "-o %s: '%s' begins the names of the functions, so it must be a name in C",
                cli->output, base_name(cli->output));
}

/* ---- Files ---- */

static const char *path_of(Written *w, const char *prefix, const char *extension) {
    return arena_printf(&w->paths, "%s%s", prefix, extension);
}

static FraxStatus write_file(Written *w, const char *prefix, const char *extension, const char *data,
                             size_t n, FraxError *err) {
    const char *path = path_of(w, prefix, extension);
    if (!path) return fail_memory(err, "the files");
    FraxStatus status = file_replace(path, data, n, err);
    if (status) return status;
    w->bytes[w->count] = n;
    w->path[w->count++] = path;
    return FRAX_OK;
}

static void remove_written(Written *w) {
    for (int i = 0; i < w->count; i++) unlink(w->path[i]);
    w->count = 0;
}

/* ---- The shared object: the linker is the C compiler's ---- */

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
    return fail(err, FRAX_FILE, "--shared: %s could not link the object; its own words stand above",
                command[0]);
}

static FraxStatus link_shared(Written *w, const Cli *cli, const ObjectCode *code, FraxError *err) {
    const char *cc = getenv("CC"), *object = path_of(w, cli->output, ".o"),
               *shared = path_of(w, cli->output, ".so"), *temporary = path_of(w, cli->output, ".so.tmp");
    if (!object || !shared || !temporary) return fail_memory(err, "the files");
    if (!cc || !*cc) cc = strncmp(code->triple, "aarch64", 7) ? "cc" : "aarch64-linux-gnu-gcc";
#if defined(__aarch64__)
    if (!getenv("CC")) cc = "cc";
#endif
    char *command[] = {(char *)cc,
                       "-shared",
                       "-o",
                       (char *)temporary,
                       (char *)object,
                       "-Wl,-z,defs",
                       "-lm",
                       cli->threads > 1 ? "-fopenmp" : NULL,
                       NULL};
    FraxStatus status = run_linker(command, err);
    if (!status && rename(temporary, shared))
        status = fail(err, FRAX_FILE, "cannot write '%s': %s", shared, strerror(errno));
    if (status)
        unlink(temporary);
    else
        w->path[w->count++] = shared;
    return status;
}

/* ---- Compiling ---- */

static FraxStatus list_order(const FraxExecutable *exe, size_t ninputs, size_t **order, FraxError *err) {
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
    if (!status) status = list_order(s->exe, g->ninputs, &order, err);
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
    static const char *const extensions[OBJECT_FORMS] = {".o", ".ll", ".s"};
    Text header = {0};
    FraxStatus status = header_text(s, cli, code, &header, err);
    for (int form = 0; form < OBJECT_FORMS && !status; form++)
        if (code->data[form])
            status = write_file(w, cli->output, extensions[form], code->data[form], code->bytes[form], err);
    if (!status) status = write_file(w, cli->output, ".h", header.data, header.len, err);
    if (!status && cli->shared) status = link_shared(w, cli, code, err);
    if (!status && cli->save) status = session_save_params(s, cli->save, err);
    text_free(&header);
    return status;
}

FraxStatus cli_compile(Cli *cli, FraxError *err) {
    Session s = {0};
    ObjectCode code = {0};
    Written w = {0};
    FraxStatus status = check_usage(cli, err);
    if (status) return status;
    status = session_open(&s, cli, err);
    s.options.mode = cli->grad ? FRAX_REVERSE : FRAX_FORWARD;
    s.options.target = FRAX_REFERENCE; /* for the signature and the parameters */
    if (!status) status = session_prepare(&s, err);
    if (!status) status = compile_object(&s, cli, &code, err);
    if (!status) status = write_all(&s, cli, &code, &w, err);
    if (status) remove_written(&w);
    for (int i = 0; i < w.count; i++) text_printf(&cli->text, "%s\n", w.path[i]);
    arena_free(&w.paths);
    object_free(&code);
    session_close(&s);
    return status;
}
