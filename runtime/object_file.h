/* object_file.h — a graph compiled ahead of time: an object that stands by itself (codegen/llvm/object.h). */
#ifndef FRAX_OBJECT_FILE_H
#define FRAX_OBJECT_FILE_H

#include "ir.h"

typedef enum ObjectForm { OBJECT_FILE, OBJECT_LLVM, OBJECT_ASSEMBLY, OBJECT_FORMS } ObjectForm;

typedef struct ObjectConstant {
    const char *name;
    const void *data;
    size_t bytes;
} ObjectConstant;

typedef struct ObjectOptions {
    const char *cpu;                 /* a name that named_target knows */
    bool multi_version;              /* variants for x86-64-v2, -v3 and -v4 instead; cpu is not looked at */
    int threads;                     /* 1 or more */
    const char *prefix;              /* of the functions; an identifier of C */
    const size_t *order;             /* args[order[i]] of the object is the graph's i-th input */
    const ObjectConstant *constants; /* further data, seen from outside */
    size_t nconstants;
    bool wanted[OBJECT_FORMS];
} ObjectOptions;

typedef struct ObjectCode {
    char *data[OBJECT_FORMS]; /* what was wanted; NULL: was not */
    size_t bytes[OBJECT_FORMS];
    size_t workspace_bytes;
    char triple[64], cpu[64];
    Graph *graph; /* after all passes: its checks are what the statuses of the object are numbered by */
} ObjectCode;

/* Compiles `graph` (differentiated as wanted, not yet passed through the passes) and takes it over, on
   failure too. FRAX_VALUE, FRAX_UNSUPPORTED: the cpu; FRAX_UNSUPPORTED: the model needs functions
   that there are for this machine alone, or a transform beyond all addresses;
   FRAX_VALUE: a guarded constant is out of its range. */
FraxStatus object_create(Graph *graph, const ObjectOptions *options, ObjectCode *code, FraxError *err);
void object_free(ObjectCode *code);

#endif
