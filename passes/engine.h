/* engine.h — the forms that convolutions, filters and correlations take; see engine.c. */
#ifndef FRAX_ENGINE_H
#define FRAX_ENGINE_H

#include "ir.h"

typedef enum Family {
    CAUSAL,             /* causal_conv, causal_correlation */
    PERIODIC,           /* spectral, cross_spectrum along one axis, whose rows the library transforms, */
    PERIODIC_PRIME,     /* with a prime factor for which it has no kernel; */
    PERIODIC_GENERATED, /* of a length that generated code transforms, two rows at a time */
    FAMILIES
} Family;

/* w has `weights` samples along the axis (the result of a correlation), x has `samples` in each of `rows`; w,
   or K instead of it, has size 1 along the axes `shared`, whose rows, `sharing` in number, share it, and a
   correlation is summed over them. */
typedef struct Convolution {
    Family family;
    int axis;
    bool correlates;
    int64_t samples, weights, rows, sharing;
    uint32_t shared;
} Convolution;

/* What an engine makes of a node; NO_VALUE if it stays as it is. */
typedef Value EngineForm(Graph *g, const Node *node, const Convolution *c);
EngineForm form_direct, form_fft, form_dense_causal, form_dense_periodic;

/* flip ∘ spectral(·, K) ∘ flip of a padded signal is spectral(·, conj K): a real filter in reversed time. */
Value unflip_spectral(Graph *g, const Node *flip);

#endif
