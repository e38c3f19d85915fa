/* memory_limit.h — what memory the machine has left, asked before work that would be in vain without it. */
#ifndef FRAX_MEMORY_LIMIT_H
#define FRAX_MEMORY_LIMIT_H

#include <stddef.h>

/* Bytes that this process may still take; SIZE_MAX where the system does not tell. */
size_t memory_available(void);

#endif
