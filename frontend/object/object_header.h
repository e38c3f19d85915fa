/* object_header.h — the C header of an object that was compiled ahead of time. */
#ifndef FRAX_OBJECT_HEADER_H
#define FRAX_OBJECT_HEADER_H

#include "object_file.h"

typedef struct ObjectHeader {
    const char *prefix; /* an identifier of C, as ObjectOptions.prefix */
    const FraxModel *model;
    const FraxExecutable *exe; /* the signature */
    const int64_t *sizes;      /* values of the model's size symbols */
    const char *stream;        /* NULL, or the size that is streamed, */
    int64_t chunk;             /* in chunks of so many */
    int threads;
    bool has_params; /* the object holds the initial parameters */
    const ObjectCode *code;
} ObjectHeader;

/* The name of the constant with the initial value of a parameter. */
void object_constant_name(const char *prefix, const char *param, char name[256]);
/* Letters, digits and _: can names in C begin with it? */
bool is_c_identifier(const char *s);
void object_header_text(const ObjectHeader *header, Text *out);

#endif
