/* listings.h — text of what a graph becomes on the CPU, for `show`. */
#ifndef FRAX_LISTINGS_H
#define FRAX_LISTINGS_H

#include "ir.h"

typedef enum Listing { LISTING_KERNELS, LISTING_LLVM, LISTING_ASM } Listing;

/* Of a graph after all passes. Nothing that grows with the arrays is allocated or planned. threads as in
   ExecutableOptions. */
FraxStatus list_program(const Graph *graph, Listing listing, int threads, Text *out, FraxError *err);

#endif
