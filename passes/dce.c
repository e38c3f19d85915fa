/* dce.c — drops the nodes that neither an output nor the signature needs. */
#include "passes.h"

Graph *pass_dce(const Graph *graph, FraxError *err) {
    return graph_rewrite(graph, NULL, NULL, err);
}
