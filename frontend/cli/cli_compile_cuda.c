/* cli_compile_cuda.c — frax compile --target cuda: kernels, a header, and a source that launches them. */
#include "api.h"
#include "cli_compile.h"
#include "cuda_header.h"
#include "cuda_launcher.h"
#include "cuda_object.h"
#include <string.h>

FraxStatus compile_cuda_usage(const Cli *cli, FraxError *err) {
    const struct {
        bool given;
        const char *option, *reason;
    } refused[] = {
        {cli->shared, "--shared", "PREFIX.c is what a compiler makes a shared object of"},
        {cli->cpu, "--cpu", "the kernels are for compute capability 8.0, 9.0, and PTX for others"},
        {cli->multi_version, "--multi-version", "there is code for every GPU from compute capability 8.0 on"},
        {cli->llvm, "--llvm", "frax show --cuda prints the source of the kernels"},
        {cli->asm_, "--asm", "frax show --cuda prints the source of the kernels"},
        {CLI_GIVEN(cli, threads), "--threads", "a GPU has its own"},
        {cli->params, "--params", "parameters are arguments; --save writes their initial values to a file"},
    };
    for (size_t i = 0; i < COUNT(refused); i++)
        if (refused[i].given)
            return fail(err, FRAX_USAGE, "%s is not for --target cuda: %s", refused[i].option,
                        refused[i].reason);
    return FRAX_OK;
}

/* ---- Files ---- */

/* Of a file: PTX is text, which NVRTC ends with a zero. */
static size_t image_bytes(const CudaImage *image, int kind) {
    bool ends = kind == CUDA_IMAGE_PTX && image->size && !((const char *)image->data)[image->size - 1];
    return image->size - ends;
}

/* One file of all images where the toolkit can make it, otherwise a file for each. */
static FraxStatus write_images(const CudaObject *o, const Cli *cli, Written *w, FraxError *err) {
    FraxStatus status = FRAX_OK;
    const char *whole = NULL;
    int first = w->count;
    for (int i = 0; i < CUDA_IMAGES && !status; i++)
        status = written_file(w, cli->output, cuda_image_suffix((CudaImageKind)i), o->images[i].data,
                              image_bytes(&o->images[i], i), err);
    if (!status) status = written_add(w, cli->output, ".fatbin", &whole, err);
    if (status) return status;
    if (cuda_fatbinary(&w->new_path[first], whole))
        for (int i = 0; i < CUDA_IMAGES; i++) written_remove(w, first);
    else
        written_remove(w, w->count - 1);
    return FRAX_OK;
}

/* A launcher looks for PREFIX.fatbin first: one from before must not stay beside newer files. */
static FraxStatus replace_older(const Cli *cli, Written *w, FraxError *err) {
    w->older = arena_printf(&w->paths, "%s.fatbin", cli->output);
    if (!w->older) return fail_memory(err, "the files");
    for (int i = 0; i < w->count; i++)
        if (w->older && !strcmp(w->path[i], w->older)) w->older = NULL;
    return FRAX_OK;
}

static FraxStatus header_text(const Session *s, const char *prefix, const CudaProgram *program, Text *text,
                              FraxError *err) {
    int64_t *sizes = NULL;
    FraxStatus status = bind_options(s->model, &s->options, &sizes, err);
    if (status) return status;
    cuda_header_text(&(ObjectHeader){.prefix = prefix,
                                     .model = s->model,
                                     .exe = s->exe,
                                     .sizes = sizes,
                                     .stream = s->options.stream,
                                     .chunk = s->options.chunk},
                     program, text);
    mem_free(sizes);
    return text->failed ? fail_memory(err, "the header") : FRAX_OK;
}

static FraxStatus write_all(const Session *s, const Cli *cli, const CudaObject *o, const char *prefix,
                            const size_t *order, Written *w, FraxError *err) {
    Text header = {0}, source = {0};
    FraxStatus status = header_text(s, prefix, &o->program, &header, err);
    cuda_launcher_text(&o->program, prefix, order, &source);
    if (!status && source.failed) status = fail_memory(err, "the source");
    if (!status) status = write_images(o, cli, w, err);
    if (!status) status = written_file(w, cli->output, ".h", header.data, header.len, err);
    if (!status) status = written_file(w, cli->output, ".c", source.data, source.len, err);
    if (!status) status = replace_older(cli, w, err);
    text_free(&header);
    text_free(&source);
    return status;
}

FraxStatus compile_cuda(const Session *s, const Cli *cli, const char *prefix, Written *w, FraxError *err) {
    Graph *g = NULL;
    size_t *order = NULL;
    CudaObject object = {0};
    FraxStatus status = model_graph(s->model, &s->options, &g, NULL, err);
    if (!status) status = compile_order(s->exe, g->ninputs, &order, err);
    if (status)
        graph_destroy(g);
    else
        status = cuda_object_create(g, &object, err);
    if (!status) {
        status = write_all(s, cli, &object, prefix, order, w, err);
        cuda_object_free(&object);
    }
    mem_free(order);
    return status;
}
