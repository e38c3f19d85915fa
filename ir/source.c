/* source.c — messages that show where a text is at fault. See source.h.
 *
 * The whole message has to fit FraxError: the message proper is cut first at the room that a full excerpt
 * leaves, and long lines are shown as a window around the column. Texts are hostile: control characters are
 * shown as spaces, and the caret line counts code points, so that it stands under the right character.
 */
#include "source.h"
#include <string.h>

enum { WINDOW = 120, EXCERPT = 2 * WINDOW + 16 };

static bool continues_code_point(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The start of the given line (from 1), or the end of the text. */
static const char *find_line(const char *text, int line) {
    for (; line > 1 && *text; line--) {
        const char *end = strchr(text, '\n');
        if (!end) return text + strlen(text);
        text = end + 1;
    }
    return text;
}

/* "\nline\n   ^", where the line is a window of `source` around the column. */
static void write_excerpt(char out[EXCERPT], const char *text, Loc loc) {
    const char *line = find_line(text, loc.line);
    size_t length = strcspn(line, "\r\n"), used = 0;
    size_t column = MIN((size_t)MAX(loc.column, 1) - 1, length);
    size_t first = column > WINDOW * 3 / 4 ? column - WINDOW * 3 / 4 : 0;
    while (first > 0 && first < length && continues_code_point(line[first])) first++;
    size_t last = MIN(length, first + WINDOW);
    while (last > column && last < length && continues_code_point(line[last])) last--;
    out[used++] = '\n';
    for (size_t i = first; i < last; i++)
        out[used++] = (unsigned char)line[i] < ' ' || line[i] == 0x7f ? ' ' : line[i];
    out[used++] = '\n';
    for (size_t i = first; i < column; i++)
        if (!continues_code_point(line[i])) out[used++] = ' ';
    out[used++] = '^';
    out[used] = '\0';
}

FraxStatus locate_error(FraxError *err, const Source *source, Loc loc) {
    char message[sizeof err->message], excerpt[EXCERPT] = "";
    const int room = (int)sizeof err->message - EXCERPT - 1;
    int used;
    memcpy(message, err->message, sizeof message);
    err->line = loc.line;
    err->column = loc.column;
    if (loc.line < 1) {
        used = snprintf(err->message, (size_t)room, "%.200s: %s", source->file, message);
    } else {
        used = snprintf(err->message, (size_t)room, "%.200s:%d:%d: %s", source->file, loc.line, loc.column,
                        message);
        if (source->text) write_excerpt(excerpt, source->text, loc);
    }
    used = MIN(used, room - 1);
    snprintf(err->message + used, sizeof err->message - (size_t)used, "%s", excerpt);
    return err->status;
}

FraxStatus fail_at(FraxError *err, FraxStatus status, const Source *source, Loc loc, const char *fmt, ...) {
    if (!err) return status;
    va_list ap;
    va_start(ap, fmt);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return locate_error(err, source, loc);
}
