/* cuda_object.c — see cuda_object.h. */
#include "cuda_object.h"
#include "passes.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* PTX is for what is newer than these: the driver compiles it. */
static const struct {
    CudaArch arch;
    const char *suffix, *kind;
} images[CUDA_IMAGES] = {
    [CUDA_IMAGE_SM_90] = {{90, false}, ".sm_90.cubin", "elf"},
    [CUDA_IMAGE_SM_80] = {{80, false}, ".sm_80.cubin", "elf"},
    [CUDA_IMAGE_PTX] = {{80, true}, ".ptx", "ptx"},
};

const char *cuda_image_suffix(CudaImageKind kind) {
    return images[kind].suffix;
}

/* A launcher looks at guarded values in host memory, as C sees them. */
static FraxStatus check_guards(const Graph *g, FraxError *err) {
    for (size_t i = 0; i < g->nchecks; i++) {
        FraxDType dtype = graph_type(g, graph_checked(g, i))->dtype;
        if (dtype == FRAX_F64 || dtype == FRAX_F32) continue;
        return fail(
            err, FRAX_UNSUPPORTED,
            "compile --target cuda: %s is checked in every run, which code compiled ahead of time for a GPU "
            "does for f64 and f32; it is %s: cast it before, or compile for the cpu",
            graph_node(g, g->checks[i])->attrs->name, frax_dtype_name(dtype));
    }
    return FRAX_OK;
}

FraxStatus cuda_object_create(Graph *graph, CudaObject *o, FraxError *err) {
    *o = (CudaObject){.graph = graph};
    graph->gpu = graph->self_contained = true;
    FraxStatus status = run_passes(&o->graph, NULL, err);
    if (!status) status = check_guards(o->graph, err);
    if (!status) status = cuda_program_create(o->graph, NULL, &o->program, err);
    for (int i = 0; i < CUDA_IMAGES && !status; i++)
        status = cuda_compile_for(&o->program, images[i].arch, &o->images[i], err);
    if (status) cuda_object_free(o);
    return status;
}

void cuda_object_free(CudaObject *o) {
    for (int i = 0; i < CUDA_IMAGES; i++) mem_free(o->images[i].data);
    if (o->program.program.graph) cuda_program_destroy(&o->program);
    graph_destroy(o->graph);
    *o = (CudaObject){0};
}

/* ---- One file of all images ---- */

/* Its words would tell of a program that nobody asked for: there is another way. */
static bool run_quietly(char *const *command) {
    int result;
    pid_t child = fork();
    if (child < 0) return false;
    if (!child) {
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0) dup2(nowhere, 1);
        if (nowhere >= 0) dup2(nowhere, 2);
        execvp(command[0], command);
        _exit(127);
    }
    while (waitpid(child, &result, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(result) && !WEXITSTATUS(result);
}

static bool run_one(const char *program, const char *const files[CUDA_IMAGES], const char *path) {
    Arena strings = {0};
    char *command[CUDA_IMAGES + 4] = {(char *)program, (char *)"--64"};
    bool ok = (command[2] = arena_printf(&strings, "--create=%s", path)) != NULL;
    for (int i = 0; i < CUDA_IMAGES && ok; i++) {
        command[3 + i] = arena_printf(&strings, "--image3=kind=%s,sm=%d,file=%s", images[i].kind,
                                      images[i].arch.number, files[i]);
        ok = command[3 + i] != NULL;
    }
    ok = ok && run_quietly(command);
    arena_free(&strings);
    return ok;
}

bool cuda_fatbinary(const char *const files[CUDA_IMAGES], const char *path) {
    static const char *const homes[] = {"CUDA_HOME", "CUDA_PATH"};
    const char *chosen = getenv("FRAX_FATBINARY");
    if (chosen && *chosen) return run_one(chosen, files, path);
    if (run_one("fatbinary", files, path)) return true;
    for (size_t i = 0; i <= COUNT(homes); i++) {
        char program[1024];
        const char *home = i < COUNT(homes) ? getenv(homes[i]) : "/usr/local/cuda";
        if (!home || home[0] != '/') continue;
        snprintf(program, sizeof program, "%s/bin/fatbinary", home);
        if (run_one(program, files, path)) return true;
    }
    return false;
}
