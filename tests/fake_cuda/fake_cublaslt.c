/* fake_cublaslt.c — a libcublasLt.so.13 whose products are loops over the fake driver's memory. See
 * fake_cuda.h.
 *
 * What the real one refuses is refused: operands that do not fit together, leading dimensions below the rows,
 * types that do not go together, memory that is none of the device's or less aligned than was promised, a
 * workspace that is too small or not on 16 bytes, matrices that lie in each other. An algorithm belongs to
 * the operation and the layouts that it was asked for. Where sums may be cut in place or rounded in between,
 * results differ from call to call, as they may there.
 */
#include "fake_library.h"
#include "half.h"
#include <stdio.h>

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    ALLOC_FAILED = 3,
    INVALID_VALUE = 7,
    ARCH_MISMATCH = 8,
    EXECUTION_FAILED = 13,
    NOT_SUPPORTED = 15
};

enum { HANDLE = 0x4c74, CUT_SUM = 16, LONGEST_WORKSPACE = 4096 };

typedef struct Layout {
    int type;
    int32_t batch;
    uint64_t rows, columns;
    int64_t leading, stride;
} Layout;

typedef struct Operation {
    int compute, scale;
    int32_t ta, tb;
    uint32_t epilogue;
    const void *bias;
} Operation;

typedef struct Preference {
    uint64_t workspace;
    uint32_t scheme, alignment[4]; /* of A, B, C, D */
} Preference;

typedef struct Algorithm {
    uint64_t sum; /* of all that it is for */
    uint64_t workspace;
    uint32_t scheme, alignment[4];
    char rest[28];
} Algorithm;

typedef struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} Heuristic;

typedef struct Product {
    Layout a, b, d;
    Operation operation;
    const void *pa, *pb;
    void *pd;
    double *workspace;
    uint64_t sums; /* that the workspace holds */
    uint32_t scheme;
} Product;

static long heuristics, products, biased;

/* Kernels' products since the start, and how often an algorithm was asked for. */
API void fake_cublaslt_counts(long *asked, long *computed, long *with_bias) {
    *asked = heuristics;
    *computed = products;
    *with_bias = biased;
}

static int fault_of(const char *name) {
    return asked_fault("FAKE_CUBLASLT_FAIL", name);
}

/* ---- Objects ---- */

API size_t cublasLtGetVersion(void) {
    return 130002;
}

API size_t cublasLtGetCudartVersion(void) {
    const char *text = getenv("FAKE_CUBLASLT_RUNTIME");
    return text && *text ? (size_t)atoi(text) : 13000;
}

API const char *cublasLtGetStatusString(int status) {
    switch (status) {
    case NOT_INITIALIZED: return "the library was not initialized";
    case ALLOC_FAILED: return "the resource allocation failed";
    case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case EXECUTION_FAILED: return "the GPU program failed to execute";
    case NOT_SUPPORTED: return "the functionality requested is not supported";
    default: return "unknown error";
    }
}

static int make(void **object, size_t bytes, const void *value) {
    *object = malloc(bytes);
    memcpy(*object, value, bytes);
    count(1);
    return SUCCESS;
}

static int give_back(void *object) {
    if (!object) return INVALID_VALUE;
    free(object);
    count(-1);
    return SUCCESS;
}

API int cublasLtCreate(void **handle) {
    const int magic = HANDLE;
    int fault = fault_of("cublasLtCreate");
    if (fault) return fault;
    return holds(NULL, 0) ? make(handle, sizeof magic, &magic) : NOT_INITIALIZED;
}

API int cublasLtDestroy(void *handle) {
    return give_back(handle);
}

API int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns,
                                   int64_t leading) {
    const Layout value = {.type = type, .batch = 1, .rows = rows, .columns = columns, .leading = leading};
    int fault = fault_of("cublasLtMatrixLayoutCreate");
    return fault ? fault : make(layout, sizeof value, &value);
}

API int cublasLtMatrixLayoutDestroy(void *layout) {
    return give_back(layout);
}

API int cublasLtMatmulDescCreate(void **operation, int compute, int scale) {
    const Operation value = {.compute = compute, .scale = scale, .epilogue = 1};
    int fault = fault_of("cublasLtMatmulDescCreate");
    return fault ? fault : make(operation, sizeof value, &value);
}

API int cublasLtMatmulDescDestroy(void *operation) {
    return give_back(operation);
}

API int cublasLtMatmulPreferenceCreate(void **preference) {
    const Preference value = {.scheme = 7, .alignment = {256, 256, 256, 256}};
    int fault = fault_of("cublasLtMatmulPreferenceCreate");
    return fault ? fault : make(preference, sizeof value, &value);
}

API int cublasLtMatmulPreferenceDestroy(void *preference) {
    return give_back(preference);
}

/* ---- Attributes ---- */

typedef struct Attribute {
    int number;
    size_t offset, bytes;
} Attribute;

static int set(void *object, const Attribute *known, size_t n, int attribute, const void *value,
               size_t bytes) {
    if (!object || !value) return INVALID_VALUE;
    for (size_t i = 0; i < n; i++) {
        if (known[i].number != attribute) continue;
        if (known[i].bytes != bytes) return INVALID_VALUE;
        memcpy((char *)object + known[i].offset, value, bytes);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

#define ATTRIBUTE(number, type, field)                                                                       \
    { number, offsetof(type, field), sizeof((type *)NULL)->field }

API int cublasLtMatrixLayoutSetAttribute(void *layout, int attribute, const void *value, size_t bytes) {
    static const Attribute known[] = {ATTRIBUTE(5, Layout, batch), ATTRIBUTE(6, Layout, stride)};
    int fault = fault_of("cublasLtMatrixLayoutSetAttribute");
    return fault ? fault : set(layout, known, 2, attribute, value, bytes);
}

API int cublasLtMatmulDescSetAttribute(void *operation, int attribute, const void *value, size_t bytes) {
    static const Attribute known[] = {ATTRIBUTE(3, Operation, ta), ATTRIBUTE(4, Operation, tb),
                                      ATTRIBUTE(7, Operation, epilogue), ATTRIBUTE(8, Operation, bias)};
    int fault = fault_of("cublasLtMatmulDescSetAttribute");
    return fault ? fault : set(operation, known, 4, attribute, value, bytes);
}

API int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value,
                                             size_t bytes) {
    static const Attribute known[] = {
        ATTRIBUTE(1, Preference, workspace),    ATTRIBUTE(3, Preference, scheme),
        ATTRIBUTE(5, Preference, alignment[0]), ATTRIBUTE(6, Preference, alignment[1]),
        ATTRIBUTE(7, Preference, alignment[2]), ATTRIBUTE(8, Preference, alignment[3])};
    int fault = fault_of("cublasLtMatmulPreferenceSetAttribute");
    return fault ? fault : set(preference, known, 6, attribute, value, bytes);
}

/* ---- What is refused ---- */

static FraxDType dtype_of(int type) {
    return type == 0 ? FRAX_F32 : type == 1 ? FRAX_F64 : type == 2 ? FRAX_F16 : FRAX_BF16;
}

static size_t size_of(int type) {
    return type == 0 ? sizeof(float) : type == 1 ? sizeof(double) : sizeof(uint16_t);
}

static bool types_agree(const Operation *o, const Layout *a, const Layout *b, const Layout *d) {
    bool is_f64 = a->type == 1, known = a->type == 0 || a->type == 1 || a->type == 2 || a->type == 14;
    return known && b->type == a->type && d->type == a->type && o->compute == (is_f64 ? 70 : 68) &&
           o->scale == (is_f64 ? 1 : 0);
}

static bool sizes_agree(const Operation *o, const Layout *a, const Layout *b, const Layout *d) {
    uint64_t m = o->ta ? a->columns : a->rows, ka = o->ta ? a->rows : a->columns,
             kb = o->tb ? b->columns : b->rows, n = o->tb ? b->rows : b->columns;
    return m && n && ka && m == d->rows && n == d->columns && ka == kb && a->batch == d->batch &&
           b->batch == d->batch && d->batch > 0;
}

static bool is_sound(const Layout *l) {
    return l->leading >= (int64_t)l->rows;
}

static int judge(const Operation *o, const Layout *a, const Layout *b, const Layout *d) {
    if (!o || !a || !b || !d || !is_sound(a) || !is_sound(b) || !is_sound(d)) return INVALID_VALUE;
    if (o->epilogue != 1 && (o->epilogue != 4 || !o->bias)) return INVALID_VALUE;
    if (!sizes_agree(o, a, b, d)) return INVALID_VALUE;
    return types_agree(o, a, b, d) ? SUCCESS : NOT_SUPPORTED;
}

/* FNV-1a of the fields: an algorithm serves what it was asked for. */
static uint64_t sum_of(const Operation *o, const Layout *a, const Layout *b, const Layout *d) {
    const Layout *layouts[] = {a, b, d};
    uint64_t sum = 14695981039346656037u;
    uint64_t fields[24] = {(uint64_t)o->compute, (uint64_t)o->ta, (uint64_t)o->tb, o->epilogue};
    for (int i = 0; i < 3; i++) {
        const Layout *l = layouts[i];
        const uint64_t own[] = {(uint64_t)l->type, (uint64_t)l->batch,   l->rows,
                                l->columns,        (uint64_t)l->leading, (uint64_t)l->stride};
        memcpy(fields + 4 + 6 * i, own, sizeof own);
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) sum = (sum ^ fields[i]) * 1099511628211u;
    return sum;
}

API int cublasLtMatmulAlgoGetHeuristic(void *handle, const Operation *o, const Layout *a, const Layout *b,
                                       const Layout *c, const Layout *d, const Preference *p, int wanted,
                                       Heuristic *results, int *found) {
    int fault = fault_of("cublasLtMatmulAlgoGetHeuristic");
    *found = 0;
    if (fault) return fault;
    if (!handle || *(int *)handle != HANDLE || !p || wanted < 1 || c != d) return INVALID_VALUE;
    int result = judge(o, a, b, d);
    if (result) return result;
    uint64_t most = d->rows * d->columns * sizeof(double);
    most = most < LONGEST_WORKSPACE ? most : LONGEST_WORKSPACE;
    *results = (Heuristic){.algorithm = {.sum = sum_of(o, a, b, d), .scheme = p->scheme}};
    results->algorithm.workspace = results->workspace = most < p->workspace ? most : p->workspace;
    memcpy(results->algorithm.alignment, p->alignment, sizeof p->alignment);
    heuristics++;
    *found = 1;
    return SUCCESS;
}

/* Bytes from the first element to the last. */
static size_t extent(const Layout *l) {
    size_t elements = (size_t)(l->batch - 1) * (size_t)l->stride +
                      (size_t)(l->columns - 1) * (size_t)l->leading + (size_t)l->rows;
    return elements * size_of(l->type);
}

static bool is_placed(const void *data, const Layout *l, uint32_t alignment) {
    return data && (uintptr_t)data % alignment == 0 && holds(data, extent(l));
}

static bool overlap(const void *a, size_t na, const void *b, size_t nb) {
    return (const char *)a < (const char *)b + nb && (const char *)b < (const char *)a + na;
}

/* ---- Products ---- */

static double element(const Layout *l, const void *data, int32_t batch, uint64_t row, uint64_t column) {
    return element_get(data, dtype_of(l->type),
                       batch * l->stride + (int64_t)column * l->leading + (int64_t)row);
}

static double term(const Product *p, int32_t batch, uint64_t i, uint64_t j, uint64_t k) {
    return element(&p->a, p->pa, batch, p->operation.ta ? k : i, p->operation.ta ? i : k) *
           element(&p->b, p->pb, batch, p->operation.tb ? j : k, p->operation.tb ? k : j);
}

/* The first terms are added up in the workspace, where it reaches. */
static double dot(const Product *p, int32_t batch, uint64_t i, uint64_t j, uint64_t size) {
    uint64_t at = i + j * p->d.rows;
    double own = 0, *first = at < p->sums ? &p->workspace[at] : &own, rest = 0;
    *first = 0;
    for (uint64_t k = 0; k < size; k++) *(k < CUT_SUM ? first : &rest) += term(p, batch, i, j, k);
    return *first + rest;
}

static void compute(const void *data) {
    Product p;
    memcpy(&p, data, sizeof p);
    uint64_t size = p.operation.ta ? p.a.rows : p.a.columns;
    FraxDType dtype = dtype_of(p.d.type);
    bool has_bias = p.operation.epilogue == 4;
    products++;
    biased += has_bias;
    double unsteady = p.scheme == 2 ? 1 : 1 + 1e-3 * (double)(products % 2);
    for (int32_t batch = 0; batch < p.d.batch; batch++)
        for (uint64_t j = 0; j < p.d.columns; j++)
            for (uint64_t i = 0; i < p.d.rows; i++) {
                double v = dot(&p, batch, i, j, size) * unsteady;
                if (has_bias) v += element_get(p.operation.bias, dtype, (int64_t)i);
                element_set(p.pd, dtype, batch * p.d.stride + (int64_t)j * p.d.leading + (int64_t)i, v);
            }
}

static bool are_one_and_zero(const Operation *o, const void *alpha, const void *beta) {
    double one = o->scale == 1 ? *(const double *)alpha : (double)*(const float *)alpha,
           zero = o->scale == 1 ? *(const double *)beta : (double)*(const float *)beta;
    return one == 1 && zero == 0;
}

static bool are_placed(const Product *p, const Algorithm *algo, size_t bytes) {
    const uint32_t *alignment = algo->alignment;
    size_t bias = p->d.rows * size_of(p->d.type);
    if (!is_placed(p->pa, &p->a, alignment[0]) || !is_placed(p->pb, &p->b, alignment[1]) ||
        !is_placed(p->pd, &p->d, alignment[3]) || alignment[2] != alignment[3])
        return false;
    if (p->operation.epilogue == 4 && !holds(p->operation.bias, bias)) return false;
    if (overlap(p->pa, extent(&p->a), p->pd, extent(&p->d)) ||
        overlap(p->pb, extent(&p->b), p->pd, extent(&p->d)))
        return false;
    if (bytes < algo->workspace) return false;
    return !algo->workspace || ((uintptr_t)p->workspace % 16 == 0 && holds(p->workspace, bytes));
}

API int cublasLtMatmul(void *handle, const Operation *o, const void *alpha, const void *a,
                       const Layout *a_layout, const void *b, const Layout *b_layout, const void *beta,
                       const void *c, const Layout *c_layout, void *d, const Layout *d_layout,
                       const Algorithm *algo, void *workspace, size_t bytes, void *stream) {
    FakeEnqueue *enqueue;
    int fault = fault_of("cublasLtMatmul");
    if (fault) return fault;
    if (!handle || *(int *)handle != HANDLE || !alpha || !beta || !algo || c != d || c_layout != d_layout)
        return INVALID_VALUE;
    int result = judge(o, a_layout, b_layout, d_layout);
    if (result) return result;
    if (!are_one_and_zero(o, alpha, beta)) return NOT_SUPPORTED;
    Product p = {*a_layout,   *b_layout, *d_layout, *o, a, b, d, workspace, algo->workspace / sizeof(double),
                 algo->scheme};
    if (algo->sum != sum_of(o, a_layout, b_layout, d_layout) || !are_placed(&p, algo, bytes))
        return INVALID_VALUE;
    void *symbol = of_driver("fake_cuda_enqueue");
    memcpy(&enqueue, &symbol, sizeof symbol);
    return enqueue(stream, "cublasLtMatmul", compute, &p, sizeof p) ? EXECUTION_FAILED : SUCCESS;
}

_Static_assert(sizeof(Algorithm) == 64, "as cublasLtMatmulAlgo_t");
_Static_assert(sizeof(Product) <= FAKE_CALL_BYTES, "as much as a call takes along");
