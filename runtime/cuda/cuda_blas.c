/* cuda_blas.c — see cuda_blas.h.
 *
 * cuBLASLt's matrices are stored column by column. Ours, row by row, are their transposes to it: what is
 * asked for is resultᵀ = rightᵀ leftᵀ, so that A is our right operand and B our left one, and what cuBLASLt
 * adds along rows (its bias) is added along our columns.
 *
 * The same executable gives the same bits in each run: the algorithm is chosen once, sums that are cut are
 * added up in a step of its own, and one workspace serves one stream.
 */
#include "cuda_blas.h"

enum {
    MOST_WORKSPACE = 32 << 20, /* bytes; what cuBLAS takes for itself on Hopper, where it takes most */
    MOST_ALIGNMENT = 256
};

typedef struct Operand {
    BlasLayout layout;
    CudaAddress at;
    uint32_t alignment; /* of all its matrices: a power of two, at most MOST_ALIGNMENT */
} Operand;

typedef struct BlasProduct {
    BlasOperation operation;
    Operand a, b, d;
    BlasAlgorithm algorithm;
    bool is_f64;
} BlasProduct;

struct CudaBlas {
    const CudaBlasLt *lt;
    BlasHandle handle;
    BlasProduct *products; /* for each launch; unused where it is a kernel */
    CudaAddress workspace;
    size_t workspace_bytes;
};

/* How the numbers of a dtype are stored and added up. */
static const struct {
    int type, compute, scale;
} types[] = {
    [FRAX_F64] = {BLAS_R_64F, BLAS_COMPUTE_64F, BLAS_R_64F},
    [FRAX_F32] = {BLAS_R_32F, BLAS_COMPUTE_32F, BLAS_R_32F},
    [FRAX_BF16] = {BLAS_R_16BF, BLAS_COMPUTE_32F, BLAS_R_32F},
    [FRAX_F16] = {BLAS_R_16F, BLAS_COMPUTE_32F, BLAS_R_32F},
};

/* "CUDA: product k3 of model: cuBLASLt 13.0.2: not supported (status 15); …" */
static FraxStatus fail_with(FraxStatus status, const CudaExecutable *exe, size_t launch, int result,
                            FraxError *err) {
    const CudaBlasLt *lt = exe->blas->lt;
    const char *words = lt->status_string ? lt->status_string(result) : NULL;
    return fail(err, status,
                "CUDA: product %s of %s: cuBLASLt %d.%d: %s (status %d); FRAX_CUBLASLT=none does without it",
                exe->program.launches[launch].name, exe->graph->name, lt->version / 10000,
                lt->version % 10000 / 100, words ? words : "an error without a description", result);
}

static FraxStatus blas_fail(const CudaExecutable *exe, size_t launch, int result, FraxError *err) {
    FraxStatus status = result == BLAS_ALLOC_FAILED                                    ? FRAX_MEMORY
                        : result == BLAS_NOT_SUPPORTED || result == BLAS_ARCH_MISMATCH ? FRAX_UNSUPPORTED
                                                                                       : FRAX_INTERNAL;
    return fail_with(status, exe, launch, result, err);
}

/* ---- Operands ---- */

/* A matrix of our rows × columns, or turned, as the batch has it from `at` on. */
typedef struct MatrixPlace {
    FraxDType dtype;
    int64_t rows, columns;
    LibraryMatrix lie;
    CudaAddress at;
    int32_t batch;
    int64_t step;
} MatrixPlace;

static uint32_t alignment_of(const MatrixPlace *m) {
    uint64_t bits = m->at | MOST_ALIGNMENT;
    if (m->batch > 1) bits |= (uint64_t)m->step * frax_dtype_size(m->dtype);
    return (uint32_t)(bits & -bits);
}

static int make_operand(const CudaBlasLt *lt, const MatrixPlace *m, Operand *o) {
    int64_t together = m->lie.turned ? m->rows : m->columns, others = m->lie.turned ? m->columns : m->rows;
    o->at = m->at;
    o->alignment = alignment_of(m);
    int result = lt->layout_create(&o->layout, types[m->dtype].type, (uint64_t)together, (uint64_t)others,
                                   m->lie.leading);
    if (result) o->layout = NULL;
    if (!result && m->batch > 1)
        result = lt->layout_set(o->layout, BLAS_LAYOUT_BATCH_COUNT, &m->batch, sizeof m->batch);
    if (!result && m->batch > 1)
        result = lt->layout_set(o->layout, BLAS_LAYOUT_STRIDED_BATCH_OFFSET, &m->step, sizeof m->step);
    return result;
}

static CudaAddress place_of(const CudaExecutable *exe, Value v, const Affine *at) {
    size_t bytes = frax_dtype_size(graph_type(exe->graph, v)->dtype);
    return cuda_value_address(exe, v) + (CudaAddress)at->base * bytes;
}

static int make_operands(const CudaExecutable *exe, const Kernel *k, const GpuProduct *g, BlasProduct *p) {
    const CudaBlasLt *lt = exe->blas->lt;
    const Store *store = &k->stores[0];
    FraxDType dtype = graph_type(exe->graph, k->product)->dtype;
    int32_t batch = (int32_t)g->batch;
    MatrixPlace right = {dtype, k->k,         k->n, g->right, place_of(exe, k->right.node, &k->right.at),
                         batch, g->right_step},
                left = {dtype, k->m,        k->k, g->left, place_of(exe, k->left.node, &k->left.at),
                        batch, g->left_step},
                product = {dtype, k->m,          k->n, g->result, place_of(exe, store->node, &store->at),
                           batch, g->result_step};
    int result = make_operand(lt, &right, &p->a);
    if (!result) result = make_operand(lt, &left, &p->b);
    if (!result) result = make_operand(lt, &product, &p->d);
    return result;
}

/* ---- Products ---- */

static int make_operation(const CudaExecutable *exe, const Kernel *k, const GpuProduct *g, BlasProduct *p) {
    const CudaBlasLt *lt = exe->blas->lt;
    FraxDType dtype = graph_type(exe->graph, k->product)->dtype;
    const int32_t ta = g->right.turned ? BLAS_OP_T : BLAS_OP_N, tb = g->left.turned ? BLAS_OP_T : BLAS_OP_N;
    const uint32_t epilogue = BLAS_EPILOGUE_BIAS;
    int result = lt->operation_create(&p->operation, types[dtype].compute, types[dtype].scale);
    if (result) p->operation = NULL;
    if (!result) result = lt->operation_set(p->operation, BLAS_DESC_TRANSA, &ta, sizeof ta);
    if (!result) result = lt->operation_set(p->operation, BLAS_DESC_TRANSB, &tb, sizeof tb);
    if (result || g->bias == NO_VALUE) return result;
    const CudaAddress bias = cuda_value_address(exe, g->bias);
    result = lt->operation_set(p->operation, BLAS_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    return result ? result : lt->operation_set(p->operation, BLAS_DESC_BIAS_POINTER, &bias, sizeof bias);
}

/* What an algorithm may count on, and which are out of the question: see the top. */
static int set_preference(const CudaBlasLt *lt, const BlasProduct *p, BlasPreference preference) {
    const uint64_t workspace = MOST_WORKSPACE;
    const uint32_t scheme = BLAS_REDUCTION_COMPUTE_TYPE;
    const struct {
        int attribute;
        const void *value;
        size_t bytes;
    } wanted[] = {{BLAS_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {BLAS_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme},
                  {BLAS_PREF_MIN_ALIGNMENT_A_BYTES, &p->a.alignment, sizeof p->a.alignment},
                  {BLAS_PREF_MIN_ALIGNMENT_B_BYTES, &p->b.alignment, sizeof p->b.alignment},
                  {BLAS_PREF_MIN_ALIGNMENT_C_BYTES, &p->d.alignment, sizeof p->d.alignment},
                  {BLAS_PREF_MIN_ALIGNMENT_D_BYTES, &p->d.alignment, sizeof p->d.alignment}};
    int result = 0;
    for (size_t i = 0; i < COUNT(wanted) && !result; i++)
        result = lt->preference_set(preference, wanted[i].attribute, wanted[i].value, wanted[i].bytes);
    return result;
}

/* The library's first choice. To a product that it does not know it may say that a value is invalid: a
   refusal, too. */
static FraxStatus choose_algorithm(CudaExecutable *exe, size_t launch, BlasProduct *p, FraxError *err) {
    CudaBlas *blas = exe->blas;
    BlasPreference preference = NULL;
    BlasHeuristic found = {0};
    int count = 0, result = blas->lt->preference_create(&preference);
    if (result) return blas_fail(exe, launch, result, err);
    int failed = set_preference(blas->lt, p, preference);
    if (!failed)
        result = blas->lt->heuristic(blas->handle, p->operation, p->a.layout, p->b.layout, p->d.layout,
                                     p->d.layout, preference, 1, &found, &count);
    blas->lt->preference_destroy(preference);
    if (failed) return blas_fail(exe, launch, failed, err);
    if (result == BLAS_INVALID_VALUE) return fail_with(FRAX_UNSUPPORTED, exe, launch, result, err);
    if (!result) result = count ? found.state : BLAS_NOT_SUPPORTED;
    p->algorithm = found.algorithm;
    blas->workspace_bytes = MAX(blas->workspace_bytes, found.workspace);
    return result ? blas_fail(exe, launch, result, err) : FRAX_OK;
}

static FraxStatus make_product(CudaExecutable *exe, size_t launch, FraxError *err) {
    const Kernel *k = &exe->program.program.kernels[exe->program.launches[launch].kernel].kernel;
    BlasProduct *p = &exe->blas->products[launch];
    GpuProduct g;
    if (!gpu_product(exe->graph, k, &g))
        return fail(err, FRAX_INTERNAL, "kernel %d is no product for cuBLASLt", k->id);
    p->is_f64 = graph_type(exe->graph, k->product)->dtype == FRAX_F64;
    int result = make_operation(exe, k, &g, p);
    if (!result) result = make_operands(exe, k, &g, p);
    return result ? blas_fail(exe, launch, result, err) : choose_algorithm(exe, launch, p, err);
}

/* ---- All of an executable ---- */

static FraxStatus open_library(CudaExecutable *exe, size_t first, FraxError *err) {
    CudaBlas *blas = exe->blas = mem_calloc(1, sizeof *blas);
    if (blas) blas->products = mem_calloc(exe->program.nlaunches, sizeof *blas->products);
    if (!blas || !blas->products) return fail_memory(err, "matrix products");
    blas->lt = cuda_blaslt(err);
    if (!blas->lt) return FRAX_UNSUPPORTED;
    int result = blas->lt->create(&blas->handle);
    if (!result) return FRAX_OK;
    blas->handle = NULL;
    return blas_fail(exe, first, result, err);
}

FraxStatus cuda_blas_open(CudaExecutable *exe, FraxError *err) {
    for (size_t i = 0; i < exe->program.nlaunches; i++)
        if (exe->program.launches[i].kind == CUDA_PRODUCT) return open_library(exe, i, err);
    return FRAX_OK;
}

FraxStatus cuda_blas_create(CudaExecutable *exe, FraxError *err) {
    FraxStatus status = FRAX_OK;
    if (!exe->blas) return FRAX_OK;
    for (size_t i = 0; i < exe->program.nlaunches && !status; i++)
        if (exe->program.launches[i].kind == CUDA_PRODUCT) status = make_product(exe, i, err);
    if (status || !exe->blas->workspace_bytes) return status;
    return cuda_device_allocate(&exe->device, exe->blas->workspace_bytes, "the workspace of matrix products",
                                &exe->blas->workspace, err);
}

static void free_product(const CudaBlasLt *lt, const BlasProduct *p) {
    const Operand *operands[] = {&p->a, &p->b, &p->d};
    for (size_t i = 0; i < COUNT(operands); i++)
        if (operands[i]->layout) lt->layout_destroy(operands[i]->layout);
    if (p->operation) lt->operation_destroy(p->operation);
}

void cuda_blas_destroy(CudaExecutable *exe) {
    CudaBlas *blas = exe->blas;
    if (!blas) return;
    for (size_t i = 0; blas->products && i < exe->program.nlaunches; i++)
        free_product(blas->lt, &blas->products[i]);
    if (blas->handle) blas->lt->destroy(blas->handle);
    if (blas->workspace) exe->device.cu->memory_free(blas->workspace);
    mem_free(blas->products);
    mem_free(blas);
    exe->blas = NULL;
}

size_t cuda_blas_bytes(const CudaExecutable *exe) {
    return exe->blas ? exe->blas->workspace_bytes : 0;
}

FraxStatus cuda_blas_launch(const CudaExecutable *exe, size_t launch, FraxError *err) {
    static const double one64 = 1, zero64 = 0;
    static const float one32 = 1, zero32 = 0;
    const CudaBlas *blas = exe->blas;
    const BlasProduct *p = &blas->products[launch];
    const void *one = p->is_f64 ? (const void *)&one64 : &one32,
               *zero = p->is_f64 ? (const void *)&zero64 : &zero32;
    void *d = cuda_pointer(p->d.at);
    int result =
        blas->lt->product(blas->handle, p->operation, one, cuda_pointer(p->a.at), p->a.layout,
                          cuda_pointer(p->b.at), p->b.layout, zero, d, p->d.layout, d, p->d.layout,
                          &p->algorithm, cuda_pointer(blas->workspace), blas->workspace_bytes, exe->stream);
    return result ? blas_fail(exe, launch, result, err) : FRAX_OK;
}
