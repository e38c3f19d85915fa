/* kernel_print.c — a kernel as text, for `show --kernels`: its loops, passes, row operations and stores. */
#include "kernel.h"

static const char *const kind_names[] = {"rows", "matmul", "gemm", "transform"};

static void print_affine(const Affine *a, Text *out) {
    bool any = false;
    for (int l = 0; l < MAX_LOOPS; l++) {
        if (!a->coeff[l]) continue;
        text_printf(out, any ? " + " : "");
        if (a->coeff[l] != 1) text_printf(out, "%lld·", (long long)a->coeff[l]);
        text_printf(out, "i%d", l);
        any = true;
    }
    if (a->base || !any) text_printf(out, any ? " %+lld" : "%lld", (long long)a->base);
}

static void print_item(const Graph *g, const Kernel *k, int i, Text *out) {
    const Item *item = &k->items[i];
    const Node *node = graph_node(g, item->node);
    text_printf(out, "    %c%d = ", item->inner ? 'v' : 's', i);
    switch (item->kind) {
    case ITEM_CONSTANT: text_printf(out, "%.17g", node->attrs->value); break;
    case ITEM_INDEX: print_affine(&item->at, out); break;
    case ITEM_LOAD:
        text_printf(out, "%%%d[", item->node);
        print_affine(&item->at, out);
        text_printf(out, "]");
        break;
    case ITEM_ROW: text_printf(out, "row %d", item->row); break;
    case ITEM_PRODUCT: text_printf(out, "product"); break;
    case ITEM_GUARDED: text_printf(out, "guarded"); break;
    case ITEM_ROUNDED: text_printf(out, "rounded"); break;
    default: text_printf(out, "%s", op_table[node->op].name);
    }
    for (int a = 0; a < 3; a++)
        if (item->args[a] != NO_ITEM)
            text_printf(out, " %c%d", k->items[item->args[a]].inner ? 'v' : 's', item->args[a]);
    if (item->guard != NO_GUARD) {
        text_printf(out, " where 0 <= ");
        print_affine(&k->guards[item->guard].index, out);
        text_printf(out, " < %lld", (long long)k->guards[item->guard].size);
    }
    text_printf(out, "\n");
}

static void print_pass(const Graph *g, const Kernel *k, int pass, Text *out) {
    for (size_t r = 0; r < k->nrows; r++) {
        if (k->rows[r].stage != pass) continue;
        text_printf(out, "  row %zu: %s of", r, op_table[graph_node(g, k->rows[r].node)->op].name);
        for (int n = 0; n < k->rows[r].ninputs; n++) text_printf(out, " %d", k->rows[r].inputs[n]);
        text_printf(out, "\n");
    }
    text_printf(out, "  pass %d\n", pass);
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].stage == pass) print_item(g, k, (int)i, out);
}

/* s: the same along a row (or for a vector of rows), v: differs along it; i0, i1 … are the loops, outer ones
 * first. */
void kernel_print(const Graph *g, const Kernel *k, Text *out) {
    text_printf(out, "kernel %d %s%s:", k->id, k->is_static ? "once " : "", kind_names[k->kind]);
    for (int l = 0; l < k->nloops; l++)
        text_printf(out, "%s i%d<%lld%s", l == k->nouter ? " |" : "", l, (long long)k->size[l],
                    l == k->lane_loop ? " lanes" : "");
    text_printf(out, ", %lld block%s", (long long)k->blocks, k->blocks == 1 ? "" : "s");
    if (k->chunk) text_printf(out, " of %lld", (long long)k->chunk);
    if (k->part) text_printf(out, " in parts of %lld", (long long)k->part);
    if (k->kind == KERNEL_MATMUL || k->kind == KERNEL_GEMM)
        text_printf(out, ", %lld x %lld x %lld", (long long)k->m, (long long)k->k, (long long)k->n);
    if (k->streams) text_printf(out, ", streamed");
    if (k->sharing) text_printf(out, ", in pairs");
    text_printf(out, "\n");
    for (int pass = 0; pass < k->nstages; pass++) print_pass(g, k, pass, out);
    for (size_t i = 0; i < k->nstores; i++) {
        char type[176];
        text_printf(out, "  store %%%d: %s at ", k->stores[i].node,
                    type_text(graph_type(g, k->stores[i].node), type));
        print_affine(&k->stores[i].at, out);
        if (k->stores[i].item == NO_ITEM)
            text_printf(out, " from row %d\n", k->stores[i].row);
        else
            text_printf(out, " from %d\n", k->stores[i].item);
    }
}
