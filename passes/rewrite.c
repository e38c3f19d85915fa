/* rewrite.c — applies a rule to every node of a graph until nothing changes.
 *
 * The last round changes nothing and is a plain copy of the live nodes, which drops what earlier rounds left
 * behind.
 */
#include "rewrite.h"

typedef struct Round {
    RewriteRule *rule;
    int changes;
} Round;

static Value apply(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    Round *round = context;
    Node node = *graph_node(from, v);
    node.args = args;
    Value replacement = round->rule(to, &node);
    if (replacement != NO_VALUE) round->changes++;
    return replacement;
}

Graph *rewrite_until_stable(const Graph *graph, RewriteRule *rule, FraxError *err) {
    enum { MOST_ROUNDS = 32 };
    Graph *current = NULL;
    for (int i = 0; i < MOST_ROUNDS; i++) {
        Round round = {.rule = rule};
        Graph *next = graph_rewrite(current ? current : graph, apply, &round, err);
        graph_destroy(current);
        current = next;
        if (!current || !round.changes) return current;
    }
    Graph *clean = graph_rewrite(current, NULL, NULL, err);
    graph_destroy(current);
    return clean;
}

Value transpose_composed(Graph *g, Value x, const uint8_t *perm) {
    const Node *inner = graph_node(g, x);
    uint8_t composed[MAX_RANK] = {0};
    if (inner->op != OP_transpose) return g_transpose(g, x, perm);
    for (int i = 0; i < inner->type.shape.rank; i++) composed[i] = inner->attrs->perm[perm[i]];
    return g_transpose(g, inner->args[0], composed);
}
