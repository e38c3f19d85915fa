/* cli_written.c — see cli_written.h. */
#include "cli_written.h"
#include "files.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW ".new"

const char *written_add(Written *w, const char *prefix, const char *extension) {
    const char *path = arena_printf(&w->paths, "%s%s", prefix, extension);
    const char *new = arena_printf(&w->paths, "%s%s" NEW, prefix, extension);
    if (!path || !new) return NULL;
    w->path[w->count] = path;
    w->new_path[w->count++] = new;
    return new;
}

FraxStatus written_file(Written *w, const char *prefix, const char *extension, const char *data, size_t n,
                        FraxError *err) {
    const char *path = written_add(w, prefix, extension);
    return path ? file_replace(path, data, n, err) : fail_memory(err, "the files");
}

FraxStatus written_check(const Written *w, FraxError *err) {
    struct stat st;
    for (int i = 0; i < w->count; i++)
        if (stat(w->path[i], &st) == 0 && S_ISDIR(st.st_mode))
            return fail(err, FRAX_FILE, "cannot write '%s': %s", w->path[i], strerror(EISDIR));
    return FRAX_OK;
}

FraxStatus written_move(Written *w, FraxError *err) {
    for (int i = 0; i < w->count; i++)
        if (rename(w->new_path[i], w->path[i]))
            return fail(err, FRAX_FILE, "cannot write '%s': %s", w->path[i], strerror(errno));
    if (w->older) unlink(w->older);
    return FRAX_OK;
}

void written_drop(Written *w) {
    for (int i = 0; i < w->count; i++) unlink(w->new_path[i]);
}
