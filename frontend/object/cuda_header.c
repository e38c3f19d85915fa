/* cuda_header.c — see cuda_header.h. The functions are those that codegen/cuda/cuda_launcher.c defines. */
#include "cuda_header.h"
#include "cuda_launcher.h"
#include "object.h"
#include "object_arguments.h"

static const char own_constants[] = " CHUNK DEVICE_BYTES OK NULL MISALIGNED MEMORY FILE OUT_OF_RANGE CUDA ";

static void head(const ObjectHeader *h, const Arguments *list, Text *out) {
    text_printf(
        out,
        "/* %s.h — model %s, compiled ahead of time by frax %s for NVIDIA GPUs.\n *\n"
        " * Compile %s.c with it and link with -lcuda; %s_load reads the kernels from the files that "
        "frax wrote\n * beside them. Nothing else of frax or of the CUDA toolkit is needed to run.\n *\n"
        " * Arrays lie on the device: dense, row-major, aligned to 16 bytes; outputs overlap nothing%s.\n"
        " *\n",
        h->prefix, frax_model_name(h->model), FRAX_VERSION, h->prefix, h->prefix,
        frax_executable_states(h->exe) ? " but the states that they replace" : "");
    object_describe(h, list, out);
}

/* @ stands for the prefix, ~ for the prefix in capitals. */
static void with_prefix(const ObjectHeader *h, const char *text, Text *out) {
    char big[NAME];
    object_upper(h->prefix, big);
    for (; *text; text++)
        if (*text == '@')
            text_printf(out, "%s", h->prefix);
        else if (*text == '~')
            text_printf(out, "%s", big);
        else
            text_append(out, text, 1);
}

static const char status_names[] = "\n/* What the functions return. */\n"
                                   "enum {\n"
                                   "    ~_OK = 0,\n"
                                   "    ~_NULL = 1,       /* a pointer is NULL */\n"
                                   "    ~_MISALIGNED = 2, /* an array is not aligned to 16 bytes */\n"
                                   "    ~_MEMORY = 3,     /* the host is out of memory */\n"
                                   "    ~_FILE = 4,       /* there is no file with kernels at the path */\n";

static const char status_texts[] =
    "    ~_CUDA = 1000     /* and above: a CUresult is added, see cuGetErrorString */\n"
    "};\n\n"
    "static inline const char *@_status_string(int status) {\n"
    "    switch (status) {\n"
    "    case ~_OK: return \"done\";\n"
    "    case ~_NULL: return \"a pointer is NULL\";\n"
    "    case ~_MISALIGNED: return \"an array is not aligned to 16 bytes\";\n"
    "    case ~_MEMORY: return \"the host is out of memory\";\n"
    "    case ~_FILE: return \"there is no file with kernels at the path\";\n";

static void statuses(const ObjectHeader *h, const Graph *g, Text *out) {
    char big[NAME];
    object_upper(h->prefix, big);
    with_prefix(h, status_names, out);
    object_check_constant(h, big, g, out);
    with_prefix(h, status_texts, out);
    object_check_statuses(g, out);
    with_prefix(
        h,
        "    default: return status > ~_CUDA ? \"an error of the CUDA driver\" : \"unknown status\";\n"
        "    }\n}\n",
        out);
}

static const char functions[] =
    "\n#ifdef __cplusplus\n"
    "extern \"C\" {\n"
    "#endif\n\n"
    "typedef struct @_program @_program;\n\n"
    "/* Loads the kernels for the context that is current, from PATH.fatbin, or PATH.sm_90.cubin, "
    "PATH.sm_80.cubin\n"
    "   and PATH.ptx, whichever the device takes; allocates ~_DEVICE_BYTES on the device, and computes the "
    "tables\n"
    "   there. *program is NULL after a failure. */\n"
    "int @_load(@_program **program, const char *path);\n\n"
    "/* Puts one run on the stream: kernels and copies. The runs of a program share its memory, so they must "
    "follow\n"
    "   each other: in one stream, or ordered by events; and one thread may call at a time. Where the arrays "
    "are\n"
    "   others than in the run before, a table of pointers is copied first, which cannot be captured into a\n"
    "   graph: on a stream that captures that is ~_CUDA + 900 (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED), and "
    "nothing\n"
    "   is changed. */\n"
    "int @_launch(@_program *program, const CUdeviceptr args[], const CUdeviceptr outs[], CUstream "
    "stream);\n\n"
    "/* The same, and looks at the model's guarded values where it has some: then it waits for the stream, "
    "which\n   must not capture (~_CUDA + 900). */\n"
    "int @_run(@_program *program, const CUdeviceptr args[], const CUdeviceptr outs[], CUstream stream);\n\n"
    "/* In the context of @_load, when its runs are done. NULL is fine. */\n"
    "void @_destroy(@_program *program);\n";

static void list_of(const Arguments *list, size_t first, size_t end, const char *name, Text *out) {
    text_printf(out, "    const CUdeviceptr %s[] = {", name);
    if (first == end) text_printf(out, "0");
    for (size_t i = first; i < end; i++)
        text_printf(out, "%s%s", i > first ? ", " : "", list->items[i].c_name);
    text_printf(out, "};\n");
}

/* No argument's name begins with the prefix. */
static void wrapper(const ObjectHeader *h, const Arguments *list, Text *out) {
    with_prefix(h,
                "\n/* The same with named arguments. */\n"
                "static inline int @_call(@_program *@_self,\n        ",
                out);
    for (size_t i = 0; i < list->count; i++)
        text_printf(out, "CUdeviceptr %s, /* %s%s */\n        ", list->items[i].c_name,
                    i < list->nargs ? "const " : "", object_c_type(list->items[i].type.dtype));
    with_prefix(h, "CUstream @_stream) {\n", out);
    list_of(list, 0, list->nargs, "args", out);
    list_of(list, list->nargs, list->count, "outs", out);
    with_prefix(h, "    return @_run(@_self, args, outs, @_stream);\n}\n", out);
}

void cuda_header_text(const ObjectHeader *h, const CudaProgram *p, Text *out) {
    Arguments list;
    char big[NAME];
    object_upper(h->prefix, big);
    if (!object_arguments(h, &list)) {
        out->failed = true;
        return;
    }
    head(h, &list, out);
    with_prefix(h, "#ifndef FRAX_CUDA_~\n#define FRAX_CUDA_~\n\n#include <cuda.h>\n#include <stddef.h>\n\n",
                out);
    object_size_constants(h, big, own_constants, out);
    text_printf(out, "#define %s_DEVICE_BYTES %zu\n", big, cuda_launcher_bytes(p));
    statuses(h, p->program.graph, out);
    with_prefix(h, functions, out);
    wrapper(h, &list, out);
    text_printf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    mem_free(list.items);
}
