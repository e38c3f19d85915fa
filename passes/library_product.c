/* library_product.c — which matrix products are left to a library, and how they are given to it: CBLAS on the
 * CPU, cuBLASLt on a GPU. All others are the template's (codegen/matmul.c), which takes prologues of no kind
 * and any epilogue.
 */
#include "kernel_internal.h"

enum {
    LIBRARY_PRODUCT = 1 << 19, /* multiply-adds from which the library's product wins over ours */
    GPU_ROW_PRODUCT = 1 << 12  /* the same on a GPU, for a row of the result: see wins_on_gpu */
};

/* ---- Which ---- */

/* A warp computes eight rows of the template's, 64 columns at a time: for 2^12 multiply-adds a row it waits
   64 times for loads, some 60 cycles each: 2 µs, about what a launch costs. With more to do the library wins,
   which has a whole block for some rows and columns, and cuts long sums; with less, the launch that the
   template's epilogue spares. (Estimated from the latencies of an H100, not measured.) */
static bool wins_on_gpu(int64_t n, int64_t k) {
    return (double)n * (double)k >= GPU_ROW_PRODUCT;
}

/* Of much work, or of a kind that the template is slow at. */
static bool wins_on_cpu(const Node *node, int64_t k) {
    const Shape *shape = &node->type.shape;
    int64_t m = shape->dims[shape->rank - 2], n = shape->dims[shape->rank - 1];
    bool native = node->type.dtype == FRAX_F32 || node->type.dtype == FRAX_F64;
    double work = (double)m * (double)n * (double)k;
    bool scattered = node->attrs->ta && node->attrs->tb; /* neither operand is contiguous along a lane */
    bool short_dots =
        node->attrs->tb && k < 64 && n >= 64; /* sums of a few lanes cost more than the products */
    return native && (scattered || work >= LIBRARY_PRODUCT || (short_dots && work >= LIBRARY_PRODUCT / 16));
}

bool is_library_product(const Graph *graph, const Node *node) {
    int r = node->type.shape.rank;
    if (graph->gpu ? !(graph->gpu_libraries & GPU_PRODUCTS) : graph->self_contained) return false;
    for (int i = 0; i < 2; i++) /* the library needs it in memory */
        if (graph_node(graph, behind_reshapes(graph, node->args[i]))->op == OP_constant) return false;
    int64_t k = graph_type(graph, node->args[0])->shape.dims[r - 1 - node->attrs->ta];
    return graph->gpu ? wins_on_gpu(node->type.shape.dims[r - 1], k) : wins_on_cpu(node, k);
}

/* ---- How ---- */

static bool steps_fit(int64_t short_size, int64_t short_step, int64_t long_size, int64_t long_step) {
    bool contiguous = short_size <= 1 || short_step == 1;
    return contiguous && (long_size <= 1 || (long_step >= MAX(short_size, 1) && long_step <= INT32_MAX));
}

bool library_matrix(const int64_t size[2], const int64_t stride[2], bool prefer_turned, LibraryMatrix *m) {
    for (int attempt = 0; attempt < 2; attempt++) {
        bool turned = prefer_turned != (attempt == 1);
        int along = turned ? 0 : 1, across = !along;
        if (!steps_fit(size[along], stride[along], size[across], stride[across])) continue;
        *m = (LibraryMatrix){turned, size[across] > 1 ? stride[across] : MAX(size[along], 1)};
        return true;
    }
    return false;
}

/* Do the matrices lie as the library wants them? */
static bool fits_library(const Graph *graph, const Kernel *k) {
    const Node *node = graph_node(graph, k->product);
    const int r = node->type.shape.rank;
    const int64_t *strides = stored_strides(graph, k->product);
    LibraryMatrix m;
    return library_matrix((int64_t[]){k->m, k->k}, k->left.stride, node->attrs->ta, &m) &&
           library_matrix((int64_t[]){k->k, k->n}, k->right.stride, node->attrs->tb, &m) &&
           (!strides || library_matrix(&node->type.shape.dims[r - 2], &strides[r - 2], false, &m));
}

/* ---- How, on a GPU ---- */

/* One number a column, added to each row: the epilogue of cuBLASLt's that computes what the graph says. (Its
   ReLU makes 0 of NaN, where the graph's passes it on; of its GELU nothing says how exact it is.) */
static bool is_bias(const Graph *g, const Kernel *k, const Item *item) {
    Affine along = k->n > 1 ? affine_loop(k->nloops - 1) : affine_constant(0);
    return item->kind == ITEM_LOAD && item->guard == NO_GUARD && affine_equal(&item->at, &along) &&
           graph_type(g, item->node)->dtype == graph_type(g, k->product)->dtype;
}

/* Of a kernel with one store: product + bias, in either order; NO_VALUE: it is another. */
static Value bias_of(const Graph *g, const Kernel *k) {
    const Item *sum = k->stores[0].item == NO_ITEM ? NULL : &k->items[k->stores[0].item];
    if (!sum || sum->kind != ITEM_POINTWISE || graph_node(g, sum->node)->op != OP_add) return NO_VALUE;
    for (int i = 0; i < 2; i++) {
        const Item *product = &k->items[sum->args[i]], *bias = &k->items[sum->args[!i]];
        if (product->kind == ITEM_PRODUCT && is_bias(g, k, bias)) return bias->node;
    }
    return NO_VALUE;
}

/* Elements between neighbouring matrices of the batch; false where they do not lie evenly. */
static bool batch_step(const Kernel *k, const Affine *at, int64_t *step) {
    int loops = k->nloops - (k->m > 1) - (k->n > 1);
    *step = loops ? at->coeff[loops - 1] : 0;
    for (int l = loops - 2; l >= 0; l--)
        if (at->coeff[l] != at->coeff[l + 1] * k->size[l + 1]) return false;
    return true;
}

bool gpu_product(const Graph *g, const Kernel *k, GpuProduct *p) {
    const Node *node = graph_node(g, k->product);
    int64_t size = shape_size(&node->type.shape);
    *p = (GpuProduct){.batch = size / MAX(k->m * k->n, 1), .bias = bias_of(g, k)};
    p->result = (LibraryMatrix){false, k->n}; /* arrays of a GPU are dense */
    return MAX(p->batch, MAX(k->m, MAX(k->n, k->k))) <= INT32_MAX &&
           library_matrix((int64_t[]){k->m, k->k}, k->left.stride, node->attrs->ta, &p->left) &&
           library_matrix((int64_t[]){k->k, k->n}, k->right.stride, node->attrs->tb, &p->right) &&
           batch_step(k, &k->left.at, &p->left_step) && batch_step(k, &k->right.at, &p->right_step) &&
           batch_step(k, &k->stores[0].at, &p->result_step);
}

/* ---- What kernels ask ---- */

bool gemm_by_library(const Graph *graph, const Kernel *k) {
    GpuProduct p;
    if (k->left.is_constant || k->right.is_constant) return false;
    if (!is_library_product(graph, graph_node(graph, k->product))) return false;
    return graph->gpu ? gpu_product(graph, k, &p) : fits_library(graph, k);
}

bool is_library_kernel(const Graph *graph, const Kernel *k) {
    return k->nstores == 1 &&
           (k->stores[0].node == k->product || (graph->gpu && bias_of(graph, k) != NO_VALUE));
}
