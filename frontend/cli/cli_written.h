/* cli_written.h — the files that a verb writes: made in a temporary folder, and put into their places
 * together, so that all appear or none. */
#ifndef FRAX_CLI_WRITTEN_H
#define FRAX_CLI_WRITTEN_H

#include "files.h"

enum { MOST_FILES = 6 };

typedef struct Written {
    Arena paths;
    const char *folder; /* of the new files; NULL: there is none yet */
    const char *path[MOST_FILES], *new_path[MOST_FILES];
    AtomicFile file[MOST_FILES];
    int count;
    const char *older; /* goes when these come; NULL: none */
} Written;

/* The next file, whose place is PREFIX followed by the extension. *new_path (may be NULL): where to make it.
 */
FraxStatus written_add(Written *written, const char *prefix, const char *extension, const char **new_path,
                       FraxError *err);
FraxStatus written_file(Written *written, const char *prefix, const char *extension, const char *data,
                        size_t n, FraxError *err);
/* Leaves out file i. */
void written_remove(Written *written, int i);
/* Brings all files beside their places, which finds whatever is wrong with these. */
FraxStatus written_prepare(Written *written, FraxError *err);
FraxStatus written_move(Written *written, FraxError *err);
void written_end(Written *written); /* drops what was not moved */

#endif
