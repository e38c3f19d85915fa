/* cache.h — the kernel cache on disk: machine code keyed by everything it depends on.
 *
 * Entries live in $XDG_CACHE_HOME/frax (or ~/.cache/frax), are written beside their place and renamed, and
 * carry a checksum: a damaged or foreign entry is ignored and written anew. A cache that cannot be read or
 * written is no error; it only does not help.
 */
#ifndef FRAX_CACHE_H
#define FRAX_CACHE_H

#include "program.h"

/* The text that identifies the code of a program: the planned graph, the target, the versions of compiler and
 * frax. */
bool cache_key(const Program *program, const HostTarget *target, Text *key);
/* On success fills the program's scratch sizes and transforms, and *object (freed with mem_free). */
bool cache_load(const Text *key, Program *program, char **object, size_t *size);
void cache_store(const Text *key, const Program *program, const char *object, size_t size);

/* An entry of any kind: `suffix` says which, and ends its file's name. *body is freed with mem_free. */
bool cache_load_entry(const Text *key, const char *suffix, char **body, size_t *size);
void cache_store_entry(const Text *key, const char *suffix, const char *body, size_t size);

/* FFTW's measured plans, kept beside the kernels: read once per process, written after new plans were made.
 */
void cache_load_wisdom(void);
void cache_store_wisdom(void);

#endif
