/* source.h — faults in a text that people wrote: file:line:col, the line, a caret. Shared by the language and
 * by the reader of graphs. */
#ifndef FRAX_SOURCE_H
#define FRAX_SOURCE_H

#include "ir.h"

typedef struct Source {
    const char *file, *text; /* text: NUL-terminated; may be NULL, then no line is shown */
} Source;

/* Fills *err (if not NULL) with "file:line:col: message", the line and a caret, and returns `status`. Lines
   and columns count from 1, columns in bytes; a place past the end of its line puts the caret after the line.
   A loc with line 0 gives "file: message". */
FraxStatus fail_at(FraxError *err, FraxStatus status, const Source *source, Loc loc, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* Puts the place, line and caret around the message that *err already holds; for faults found where the text
   is not at hand, as in the builder. Returns err's status; err must not be NULL. */
FraxStatus locate_error(FraxError *err, const Source *source, Loc loc);

#endif
