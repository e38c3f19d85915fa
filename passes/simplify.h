/* simplify.h — the rules of pass simplify, by subject; simplify.c lists them by op. */
#ifndef FRAX_SIMPLIFY_H
#define FRAX_SIMPLIFY_H

#include "rewrite.h"

/* simplify_shape.c */
RewriteRule transpose_of_transpose, transpose_as_reshape, broadcast_of_broadcast, slice_of_slice,
    slice_of_pad, slice_of_broadcast, slice_of_concat, pad_of_pad, flip_of_flip, flip_of_broadcast,
    reduce_of_reduce, reduce_of_broadcast, sum_of_constant, sum_of_neg;

#endif
