/* cli_files.c — the files that an invocation reads and writes, in one list, and what is wrong with it.
 *
 * session_open asks before it reads anything, so that nothing is lost and no long fit ends without its
 * results: a file that would be written must not be one that is read, nor one that is written besides,
 * whatever paths name it, and has to be in a folder where it can be made. Devices and pipes hold nothing to
 * lose. What can go wrong later all the same (a full disk) is found when the file is written.
 *
 * Two options may name one file: --load and --save, since a fit that goes on replaces what it has read by the
 * same parameters, and several --out of a format that holds several arrays.
 */
#include "api.h"
#include "cli.h"
#include "cuda_object.h"
#include "files.h"
#include <string.h>
#include <sys/stat.h>

/* What a file is for; from OBJECT on it is written. */
typedef enum Use { MODEL, IN, TANGENT, LOAD, OBJECT, SAVE, PLOT, OUT } Use;

static const char *const use_words[] = {
    [MODEL] = "the model", [IN] = "--in",     [TANGENT] = "--tangent", [LOAD] = "--load",
    [OBJECT] = "-o",       [SAVE] = "--save", [PLOT] = "--plot",       [OUT] = "--out"};

typedef struct Place {
    Use use;
    const char *path;
    const char *name;   /* of NAME=FILE, or the PREFIX of an object; NULL: none */
    bool may_be_absent; /* whether it is written depends on what the verb finds */
} Place;

typedef struct Files {
    Place *items;
    size_t count, cap;
    Arena paths;
    bool failed; /* out of memory */
} Files;

static bool is_written(const Place *place) {
    return place->use >= OBJECT;
}

/* ---- The list ---- */

static void add(Files *files, Place place) {
    files->failed |= !place.path || !mem_grow(&files->items, &files->cap, files->count + 1, sizeof place);
    if (!files->failed) files->items[files->count++] = place;
}

static void add_word(Files *files, Use use, const char *path) {
    if (path) add(files, (Place){.use = use, .path = path});
}

static void add_pairs(Files *files, Use use, const Pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++) {
        const char *path = pairs->items[i].value;
        size_t n = use == OUT ? strlen(path) : tensor_path_length(path);
        add(files, (Place){use, arena_strndup(&files->paths, path, n), pairs->items[i].name, false});
    }
}

/* What frax compile writes beside --save. */
static void add_objects(Files *files, const Cli *cli) {
    bool cuda = cli->target && !strcmp(cli->target, "cuda");
    const struct {
        const char *extension;
        bool given, may_be_absent;
    } table[] = {{".o", !cuda, false},
                 {".h", true, false},
                 {".ll", cli->llvm, false},
                 {".s", cli->asm_, false},
                 {".so", cli->shared, false},
                 {".c", cuda, false},
                 {".fatbin", cuda, true},
                 {cuda_image_suffix(CUDA_IMAGE_SM_90), cuda, true},
                 {cuda_image_suffix(CUDA_IMAGE_SM_80), cuda, true},
                 {cuda_image_suffix(CUDA_IMAGE_PTX), cuda, true}};
    for (size_t i = 0; cli->output && i < COUNT(table); i++) {
        const char *path = arena_printf(&files->paths, "%s%s", cli->output, table[i].extension);
        if (table[i].given) add(files, (Place){OBJECT, path, cli->output, table[i].may_be_absent});
    }
}

/* What is read stands before what is written. */
static void list_files(const Cli *cli, Files *files) {
    add(files, (Place){.use = MODEL,
                       .path = arena_strndup(&files->paths, cli->operand, model_path_length(cli->operand))});
    add_pairs(files, IN, &cli->in);
    add_pairs(files, TANGENT, &cli->tangent);
    add_word(files, LOAD, cli->load);
    add_objects(files, cli);
    add_word(files, SAVE, cli->save);
    add_word(files, PLOT, cli->plot);
    add_pairs(files, OUT, &cli->out);
}

/* ---- One file, two uses ---- */

static void put_place(const Place *place, Text *text) {
    if (place->use == OBJECT)
        text_printf(text, "%s of -o %s", place->path, place->name);
    else
        text_printf(text, "%s %s%s%s", use_words[place->use], place->name ? place->name : "",
                    place->name ? "=" : "", place->path);
}

bool has_extension(const char *path, const char *extension) {
    size_t n = strlen(path), m = strlen(extension);
    return n >= m && !strcmp(path + n - m, extension);
}

/* Nothing is lost in a device or a pipe. */
static bool keeps_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

static FraxStatus fail_results(const Place *a, const Place *b, FraxError *err) {
    if (!strcmp(a->name, b->name))
        return fail(err, FRAX_USAGE, "--out gives %s twice to %s", b->name, b->path);
    return fail(err, FRAX_USAGE, "--out: %s cannot hold %s and %s; .npz and .safetensors can", b->path,
                a->name, b->name);
}

/* Of places of one file, b is written. */
static FraxStatus fail_pair(const Place *a, const Place *b, FraxError *err) {
    Text one = {0}, two = {0};
    put_place(a, &one);
    put_place(b, &two);
    if (one.failed || two.failed)
        fail_memory(err, "the arguments");
    else if (is_written(a))
        fail(err, FRAX_USAGE, "%s and %s would be one file", one.data, two.data);
    else
        fail(err, FRAX_USAGE, "%s would overwrite %s", two.data, one.data);
    FraxStatus status = one.failed || two.failed ? FRAX_MEMORY : FRAX_USAGE;
    text_free(&one);
    text_free(&two);
    return status;
}

/* a comes before b in the list, and b is written. */
static FraxStatus check_pair(const Place *a, const Place *b, FraxError *err) {
    if (a->use == LOAD && b->use == SAVE) return FRAX_OK;
    if (!is_same_place(a->path, b->path) || !keeps_bytes(b->path)) return FRAX_OK;
    if (a->use != OUT) return fail_pair(a, b, err);
    return has_extension(b->path, ".npy") || !strcmp(a->name, b->name) ? fail_results(a, b, err) : FRAX_OK;
}

static FraxStatus check_pairs(const Files *files, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t j = 0; j < files->count; j++)
        for (size_t i = 0; i < j && is_written(&files->items[j]) && !status; i++)
            status = check_pair(&files->items[i], &files->items[j], err);
    return status;
}

/* ---- Names and folders ---- */

/* From the last dot of the name on; "": there is none. */
static const char *extension(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return dot && dot > name ? dot : "";
}

static FraxStatus check_format(const Place *place, FraxError *err) {
    static const char *const others[] = {".npy", ".npz", ".svg", ".frax"};
    const char *end = extension(place->path);
    if (place->use == OUT) return tensor_check_format(place->path, err);
    if (place->use == PLOT && *end && strcmp(end, ".svg"))
        return fail(err, FRAX_USAGE, "--plot %s: a picture is written as SVG; expected a name in .svg",
                    place->path);
    for (size_t i = 0; place->use == SAVE && i < COUNT(others); i++)
        if (!strcmp(end, others[i]))
            return fail(err, FRAX_USAGE,
                        "--save %s: parameters are written as safetensors; expected a name in .safetensors",
                        place->path);
    return FRAX_OK;
}

FraxStatus cli_check_files(const Cli *cli, FraxError *err) {
    Files files = {0};
    list_files(cli, &files);
    FraxStatus status = files.failed ? fail_memory(err, "the arguments") : check_pairs(&files, err);
    for (size_t i = 0; i < files.count && !status; i++)
        if (is_written(&files.items[i])) status = check_format(&files.items[i], err);
    for (size_t i = 0; i < files.count && !status; i++)
        if (is_written(&files.items[i]) && !files.items[i].may_be_absent)
            status = atomic_check(files.items[i].path, err);
    mem_free(files.items);
    arena_free(&files.paths);
    return status;
}
