/* object_arguments.h — the arguments of a function that was compiled ahead of time, as C sees them: for the
 * headers of objects and of CUDA programs. */
#ifndef FRAX_OBJECT_ARGUMENTS_H
#define FRAX_OBJECT_ARGUMENTS_H

#include "object_header.h"

enum { NAME = 256 };

/* In the order of args or outs. */
typedef struct Argument {
    FraxRole role;
    size_t i; /* in the signature */
    const char *name;
    FraxTensor type;
    char c_name[NAME];
} Argument;

typedef struct Arguments {
    Argument *items;
    size_t count, nargs; /* the first nargs are read, the others written */
} Arguments;

bool object_arguments(const ObjectHeader *header, Arguments *list); /* false when out of memory */
/* Of a stream: the last params and outputs. */
bool object_is_state(const ObjectHeader *header, const Argument *argument);
/* The rest of the comment at the head: what each argument is, and for a stream how runs follow each other. */
void object_describe(const ObjectHeader *header, const Arguments *list, Text *out);
/* Macros; own: the header's own constants, each between blanks, which go before sizes of the same name. */
void object_size_constants(const ObjectHeader *header, const char *big, const char *own, Text *out);
/* The status of guarded values, in the list of statuses; nothing where the graph has none. */
void object_check_constant(const ObjectHeader *header, const char *big, const Graph *graph, Text *out);
/* The cases of status_string for the graph's guarded values, which begin at OBJECT_FIRST_CHECK. */
void object_check_statuses(const Graph *graph, Text *out);
const char *object_c_type(FraxDType dtype);
void object_upper(const char *name, char out[NAME]);

#endif
