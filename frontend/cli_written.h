/* cli_written.h — the files that a verb writes: beside their places, and moved there together, so that all
 * appear or none. */
#ifndef FRAX_CLI_WRITTEN_H
#define FRAX_CLI_WRITTEN_H

#include "base.h"

enum { MOST_FILES = 6 };

typedef struct Written {
    Arena paths;
    const char *path[MOST_FILES], *new_path[MOST_FILES];
    int count;
    const char *older; /* goes when these come; NULL: none */
} Written;

/* The place of the next file; NULL when out of memory. The new file is not there yet. */
const char *written_add(Written *written, const char *prefix, const char *extension);
FraxStatus written_file(Written *written, const char *prefix, const char *extension, const char *data,
                        size_t n, FraxError *err);
/* Whatever can be known to fail is found before the first file moves. */
FraxStatus written_check(const Written *written, FraxError *err);
FraxStatus written_move(Written *written, FraxError *err);
void written_drop(Written *written); /* what was not moved */

#endif
