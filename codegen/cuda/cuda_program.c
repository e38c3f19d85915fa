/* cuda_program.c — see cuda_program.h: the prelude, the launches, and how blocks of the schedule are shared
 * out to warps. */
#include "cuda_program.h"
#include "cuda_emitter.h"
#include "cuda_special.h"
#include "cuda_transform.h"

enum {
    WARPS = 4,              /* of a block of threads */
    MOST_SHARED = 48 << 10, /* bytes of shared memory that any device gives a block */
    MOST_BLOCKS = 1 << 12,  /* of threads in a launch: warps take further blocks of the schedule in turn */
    MOST_SCRATCH =
        32 << 20, /* bytes that long teams' scratch should have in all, to stay in the second cache; */
    FEWEST_BLOCKS = 1 << 9 /* but no fewer blocks than these */
};

/* Types, constants and conversions that the emitted text uses. 16-bit floats round to nearest even. */
static const char prelude[] = "#ifdef __cplusplus\n"
                              "#define KERNEL extern \"C\" __global__ void\n"
                              "#define INLINE inline __device__\n"
                              "#pragma nv_diag_suppress 177\n" /* names that nothing reads */
                              "#pragma nv_diag_suppress 550\n"
                              "#else\n"
                              "#define KERNEL __global__ void\n"
                              "#define INLINE static inline\n"
                              "#endif\n"
                              "#define FULL_WARP 0xffffffffu\n"
                              "#define LANE ((int)(threadIdx.x & 31))\n"
                              "#define INF64 __longlong_as_double(0x7ff0000000000000ll)\n"
                              "#define NAN64 __longlong_as_double(0x7ff8000000000000ll)\n"
                              "#ifndef WORD\n" /* of several elements, side by side */
                              "#define WORD(type, address) (*(type *)(address))\n"
                              "#endif\n"
                              "\n"
                              "typedef struct KernelContext {\n"
                              "    char *arena, *statics, *workspace;\n"
                              "    const void *const *inputs;\n"
                              "    void *const *outputs;\n"
                              "    long long first;\n" /* in the place of plans, which are the CPU's */
                              "} KernelContext;\n"
                              "\n"
                              "INLINE int f32_to_i32(float x) {\n"
                              "    return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f "
                              "? -2147483647 - 1 : (int)x;\n"
                              "}\n"
                              "INLINE int f64_to_i32(double x) {\n"
                              "    return x != x ? 0 : x >= 2147483647.0 ? 2147483647 : x <= -2147483648.0 ? "
                              "-2147483647 - 1 : (int)x;\n"
                              "}\n";

static const char prelude_16_bits[] =
    "INLINE float bf16_to_f32(unsigned short h) {\n"
    "    return __uint_as_float((unsigned)h << 16);\n"
    "}\n"
    "INLINE unsigned short f32_to_bf16(float x) {\n"
    "    const unsigned bits = __float_as_uint(x);\n"
    "    if (x != x) return (unsigned short)((bits | 0x400000u) >> 16);\n"
    "    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);\n"
    "}\n"
    "INLINE float f16_to_f32(unsigned short h) {\n"
    "    const unsigned sign = (unsigned)(h & 0x8000) << 16, magnitude = h & 0x7fffu;\n"
    "    if (magnitude >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);\n"
    "    const float x = __uint_as_float(magnitude << 13) * 5.192296858534828e33f; /* 2^112 */\n"
    "    return __uint_as_float(sign | __float_as_uint(x));\n"
    "}\n"
    "INLINE unsigned short f32_to_f16(float x) {\n"
    "    const unsigned bits = __float_as_uint(x), magnitude = bits & 0x7fffffffu;\n"
    "    const unsigned short sign = (unsigned short)(bits >> 16 & 0x8000u);\n"
    "    if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));\n"
    "    if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);\n"
    "    if (magnitude < 0x38800000u) /* below 2^-14 the last place is 2^-24: adding 1/2 rounds there */\n"
    "        return (unsigned short)(sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - "
    "0x3f000000u));\n"
    "    return (unsigned short)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> "
    "13));\n"
    "}\n";

/* The op `uniform`: see ir/philox.h. Random bits are the mantissa of a number in [1, 2), from which 1 less
   half a step is taken. */
static const char prelude_random[] =
    "INLINE void philox(unsigned c[4], unsigned k0, unsigned k1) {\n"
    "    for (int round = 0; round < 10; round++) {\n"
    "        const unsigned long long p = (unsigned long long)0xd2511f53u * c[0];\n"
    "        const unsigned long long q = (unsigned long long)0xcd9e8d57u * c[2];\n"
    "        c[0] = (unsigned)(q >> 32) ^ c[1] ^ k0;\n"
    "        c[1] = (unsigned)q;\n"
    "        c[2] = (unsigned)(p >> 32) ^ c[3] ^ k1;\n"
    "        c[3] = (unsigned)p;\n"
    "        k0 += 0x9e3779b9u;\n"
    "        k1 += 0xbb67ae85u;\n"
    "    }\n"
    "}\n"
    "INLINE float uniform_f32(int i, int key_low, int key_high, unsigned stream, int which) {\n"
    "    unsigned c[4] = {(unsigned)i, 0, stream, 1};\n"
    "    philox(c, (unsigned)key_low, (unsigned)key_high);\n"
    "    return __uint_as_float(c[which] >> 9 | 0x3f800000u) - 0.999999940395355224609375f;\n"
    "}\n"
    "INLINE double uniform_f64(int i, int key_low, int key_high, unsigned stream, int which) {\n"
    "    unsigned c[4] = {(unsigned)i, 0, stream, 1};\n"
    "    philox(c, (unsigned)key_low, (unsigned)key_high);\n"
    "    const unsigned long long bits = c[2 * which] | (unsigned long long)c[2 * which + 1] << 32;\n"
    "    return __longlong_as_double((long long)(bits >> 12 | 0x3ffull << 52)) - "
    "0.99999999999999988897769753748434595763683319091796875;\n"
    "}\n\n";

/* ---- Sizes ---- */

static bool fits_i32(double bytes) {
    return bytes < INT32_MAX;
}

/* Places are counted in 32 bits where all of them fit: divisions of 64 bits take a hundred instructions. */
static bool needs_wide_index(const Program *p) {
    bool narrow = fits_i32((double)p->arena_bytes) && fits_i32((double)p->static_bytes) &&
                  fits_i32((double)p->workspace_bytes);
    for (size_t v = 0; v < p->graph->count; v++)
        narrow = narrow && fits_i32((double)type_bytes(graph_type(p->graph, (Value)v)));
    for (int i = 0; i < p->nkernels; i++) narrow = narrow && fits_i32((double)p->kernels[i].scratch);
    return !narrow;
}

/* ---- Launches ---- */

static unsigned team_of(const ProgramKernel *pk) {
    return (unsigned)MAX(pk->team, WARP);
}

CudaLaunch *cuda_add_launch(CudaProgram *p, int kernel, const char *suffix, CudaMoment moment) {
    if (!mem_grow(&p->launches, &p->launches_capacity, p->nlaunches + 1, sizeof *p->launches)) return NULL;
    CudaLaunch *l = &p->launches[p->nlaunches++];
    *l = (CudaLaunch){.kernel = kernel, .moment = moment, .grid = 1, .threads = WARP};
    snprintf(l->name, sizeof l->name, "k%d%s", kernel, suffix);
    return l;
}

/* The shared memory of a block: for the exchanges of each team, then the teams' scratch, if there is room. */
static void place_memory(CudaProgram *p, CudaLaunch *l, size_t *scratch) {
    const ProgramKernel *pk = &p->program.kernels[l->kernel];
    size_t teams = l->threads / team_of(pk);
    *scratch = (pk->scratch + 127) / 128 * 128;
    l->shared = pk->exchange * teams;
    if (!*scratch || l->shared + *scratch * teams <= MOST_SHARED) {
        l->shared += *scratch * teams;
    } else {
        size_t fit = MOST_SCRATCH / (*scratch * teams);
        if (pk->team > WARP) l->grid = (unsigned)MIN(l->grid, MAX(fit, FEWEST_BLOCKS));
        l->scratch = *scratch * teams * l->grid;
    }
    p->scratch_bytes = MAX(p->scratch_bytes, l->scratch);
}

/* The function that a launch starts: each team takes a range of the schedule's blocks. */
static void print_launch(CudaProgram *p, const CudaLaunch *l, const char *suffix, int64_t blocks,
                         size_t scratch) {
    const ProgramKernel *pk = &p->program.kernels[l->kernel];
    unsigned teams = l->threads / team_of(pk);
    const char *member = teams > 1 ? "threadIdx.x / 32" : "0";
    Text *out = &p->source;
    char residents[24] = "";
    if (pk->resident > (int)l->threads)
        snprintf(residents, sizeof residents, ", %u", (unsigned)pk->resident / l->threads);
    text_printf(out,
                "\nKERNEL __launch_bounds__(%u%s) %s(const __grid_constant__ KernelContext context, char "
                "*scratch) {\n",
                l->threads, residents, l->name);
    text_printf(out, "    const long long team = (long long)blockIdx.x * %u + %s;\n", teams, member);
    if (l->scratch || !scratch)
        text_printf(out, "    char *const own = scratch + team * %zu;\n", scratch);
    else
        text_printf(out, "    char *const own = shared + %zu + %s * %zu;\n", pk->exchange * teams, member,
                    scratch);
    text_printf(
        out,
        "    const long long blocks = %lld, teams = %lld;\n"
        "    frax_k%d%s((char *)&context, own, (idx)(blocks * team / teams), (idx)(blocks * (team + 1) "
        "/ teams));\n}\n",
        (long long)blocks, (long long)teams * l->grid, l->kernel, suffix);
}

/* Of function frax_kN`suffix` over `blocks` blocks; 0: nothing to do. */
static bool launch(CudaProgram *p, int kernel, const char *suffix, CudaMoment moment, int64_t blocks) {
    const ProgramKernel *pk = &p->program.kernels[kernel];
    int64_t teams = team_of(pk) > WARP ? 1 : MIN(blocks, WARPS);
    size_t scratch;
    if (!blocks) return true;
    CudaLaunch *l = cuda_add_launch(p, kernel, suffix, moment);
    if (!l) return false;
    l->threads = (unsigned)teams * team_of(pk);
    l->grid = (unsigned)MIN((blocks + teams - 1) / teams, MOST_BLOCKS);
    place_memory(p, l, &scratch);
    print_launch(p, l, suffix, blocks, scratch);
    return true;
}

static void print_matrix(Text *out, const char *dtype, int64_t rows, int64_t columns, bool turned) {
    text_printf(out, "%s[%lld,%lld]%s", dtype, (long long)(turned ? columns : rows),
                (long long)(turned ? rows : columns), turned ? "^T" : "");
}

/* A line for the reader: k3, by cuBLASLt: 8 products f32[64,32] @ f32[128,32]^T + f32[128] */
static void print_product(CudaProgram *p, const CudaLaunch *l) {
    const Graph *g = p->program.graph;
    const Kernel *k = &p->program.kernels[l->kernel].kernel;
    const char *dtype = frax_dtype_name(graph_type(g, k->product)->dtype);
    GpuProduct product;
    if (!gpu_product(g, k, &product)) return;
    text_printf(&p->source, "\n/* %s, by cuBLASLt: %lld product%s ", l->name, (long long)product.batch,
                product.batch == 1 ? "" : "s");
    print_matrix(&p->source, dtype, k->m, k->k, product.left.turned);
    text_printf(&p->source, " @ ");
    print_matrix(&p->source, dtype, k->k, k->n, product.right.turned);
    if (product.bias != NO_VALUE) text_printf(&p->source, " + %s[%lld]", dtype, (long long)k->n);
    text_printf(&p->source, " */\n");
}

/* A product that a library computes is a launch without a function. */
static bool leave_to_library(CudaProgram *p, int kernel, CudaMoment moment) {
    CudaLaunch *l = cuda_add_launch(p, kernel, "", moment);
    if (!l) return false;
    l->kind = CUDA_PRODUCT;
    l->grid = l->threads = 0;
    print_product(p, l);
    return true;
}

/* In the order of the kernels; filters are prepared when all tables are there. */
static bool list_launches(CudaProgram *p) {
    bool ok = true;
    for (int i = 0; i < p->program.nkernels && ok; i++) {
        const ProgramKernel *pk = &p->program.kernels[i];
        CudaMoment moment = pk->kernel.is_static ? CUDA_STATIC : CUDA_RUN;
        if (!pk->kernel.blocks) continue;
        if (pk->kernel.kind == KERNEL_GEMM) {
            ok = leave_to_library(p, i, moment);
            continue;
        }
        if (pk->kernel.kind == KERNEL_TRANSFORM) {
            ok = cuda_transform(p, i);
            continue;
        }
        ok = launch(p, i, "_prepare", CUDA_RUN, pk->prepared_blocks) &&
             launch(p, i, "", moment, pk->kernel.blocks) && launch(p, i, "_sum0", moment, pk->sums[0]) &&
             launch(p, i, "_sum1", moment, pk->sums[1]) &&
             launch(p, i, "_finish", moment, kernel_finish_blocks(&pk->kernel));
    }
    for (int i = 0; i < p->program.nkernels && ok; i++)
        if (p->program.kernels[i].kernel.blocks && p->program.kernels[i].prepared)
            ok = launch(p, i, "_prepare", CUDA_STATIC, 1);
    return ok;
}

/* ---- The program ---- */

static FraxStatus emit(CudaProgram *p, FraxError *err) {
    CudaEmitter *c = cuda_emitter_create();
    if (!c) return fail_memory(err, "emitting CUDA code");
    FraxStatus status = program_emit_kernels(&p->program, &c->base, err);
    if (!status) {
        const char *index = needs_wide_index(&p->program) ? "long long" : "int";
        text_printf(&p->source, "/* %s, by frax %s */\n%s\ntypedef %s idx;\ntypedef unsigned %s uidx;\n\n%s",
                    p->program.graph->name, FRAX_VERSION, prelude, index, index, prelude_16_bits);
        text_printf(&p->source, "\nextern __shared__ __align__(128) char shared[];\n\n");
        if (c->needs_random) text_printf(&p->source, "%s", prelude_random);
        if (c->needs_special) cuda_special_text(&p->source);
        if (!cuda_emitter_text(c, &p->source) || !list_launches(p) || p->source.failed)
            status = fail_memory(err, "emitting CUDA code");
    }
    cuda_emitter_destroy(c);
    return status;
}

FraxStatus cuda_program_create(const Graph *graph, const Watch *watch, CudaProgram *p, FraxError *err) {
    *p = (CudaProgram){0};
    FraxStatus status = program_create(graph, &p->program, err);
    p->program.watch = watch;
    if (!status) status = emit(p, err);
    p->program.watch = NULL;
    if (status) cuda_program_destroy(p);
    return status;
}

void cuda_program_destroy(CudaProgram *p) {
    program_destroy(&p->program);
    text_free(&p->source);
    mem_free(p->launches);
    *p = (CudaProgram){0};
}
