/* checks.h — the guarded values that a run looks at outside its kernels, and when. */
#ifndef FRAX_CHECKS_H
#define FRAX_CHECKS_H

#include "ir.h"

/* Which values a run looks at before its kernels, and which after them; tables are judged once. */
typedef enum Moment { AT_CREATION, BEFORE, AFTER } Moment;

typedef struct Check {
    Moment moment;
    Value value;
    const Node *guard;
    int64_t size;
    const int64_t *strides; /* of the value's array; NULL: dense */
} Check;

typedef struct Checks {
    Check *items; /* one for each of the graph's */
    size_t count;
    bool before, after; /* is there one of that moment? */
    size_t offset;      /* the input that counts the samples of a stream; ninputs: none */
} Checks;

/* Of a graph after all passes. */
FraxStatus checks_list(const Graph *graph, Checks *checks, FraxError *err);
void checks_free(Checks *checks);

/* Where the host finds the elements of a checked value. */
typedef const void *CheckedData(const void *context, const Check *check);

/* Judges the values whose moment it is, in the order of the graph's guards. passed: samples of a stream
 * before this run. */
FraxStatus checks_run(const Graph *graph, const Checks *checks, Moment moment, double passed,
                      CheckedData *data, const void *context, FraxError *err);

#endif
