/* engine.h — the forms that causal convolutions and correlations take; see engine.c. */
#ifndef FRAX_ENGINE_H
#define FRAX_ENGINE_H

#include "ir.h"

/* A causal_conv or causal_correlation node: w has `weights` samples along the axis (the result of a
   correlation), x has `samples` in each of `rows`; w has size 1 along the axes `shared`, whose rows,
   `sharing` in number, share it, and a correlation is summed over them. */
typedef struct Convolution {
    int axis;
    bool correlates;
    int64_t samples, weights, rows, sharing;
    uint32_t shared;
} Convolution;

Convolution convolution_of(const Graph *g, const Node *node);

/* What an engine makes of a node; NO_VALUE if it stays as it is. */
typedef Value EngineForm(Graph *g, const Node *node, const Convolution *c);
EngineForm form_direct, form_fft, form_dense;

/* flip ∘ spectral(·, K) ∘ flip of a padded signal is spectral(·, conj K): a real filter in reversed time. */
Value unflip_spectral(Graph *g, const Node *flip);

#endif
