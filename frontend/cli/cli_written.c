/* cli_written.c — see cli_written.h. */
#include "cli_written.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FraxStatus make_folder(Written *w, FraxError *err) {
    const char *parent = getenv("TMPDIR");
    char *folder = arena_printf(&w->paths, "%s/frax-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!folder) return fail_memory(err, "the files");
    if (!mkdtemp(folder))
        return fail(err, FRAX_FILE, "cannot make the temporary folder '%s': %s", folder, strerror(errno));
    w->folder = folder;
    return FRAX_OK;
}

FraxStatus written_add(Written *w, const char *prefix, const char *extension, const char **new_path,
                       FraxError *err) {
    FraxStatus status = w->folder ? FRAX_OK : make_folder(w, err);
    if (status) return status;
    const char *path = arena_printf(&w->paths, "%s%s", prefix, extension);
    const char *new = arena_printf(&w->paths, "%s/%d%s", w->folder, w->count, extension);
    if (!path || !new) return fail_memory(err, "the files");
    w->path[w->count] = path;
    w->new_path[w->count++] = new;
    if (new_path) *new_path = new;
    return FRAX_OK;
}

FraxStatus written_file(Written *w, const char *prefix, const char *extension, const char *data, size_t n,
                        FraxError *err) {
    const char *path;
    FraxStatus status = written_add(w, prefix, extension, &path, err);
    return status ? status : file_replace(path, data, n, err);
}

void written_remove(Written *w, int i) {
    unlink(w->new_path[i]);
    w->count--;
    memmove(&w->path[i], &w->path[i + 1], (size_t)(w->count - i) * sizeof *w->path);
    memmove(&w->new_path[i], &w->new_path[i + 1], (size_t)(w->count - i) * sizeof *w->new_path);
}

/* Whoever may read or execute the new file may do so at its place; one that is there keeps its own mode. */
static FraxStatus copy(const char *from, const char *to, AtomicFile *file, FraxError *err) {
    struct stat made, there;
    bool is_new = stat(to, &there) != 0;
    char block[1 << 16];
    FraxStatus status = atomic_open(to, file, err);
    if (status) return status;
    FILE *source = fopen(from, "rb");
    if (!source) return fail(err, FRAX_FILE, "cannot read '%s': %s", from, strerror(errno));
    if (is_new && fstat(fileno(source), &made) == 0) (void)!fchmod(fileno(file->stream), made.st_mode & 0777);
    for (size_t n; (n = fread(block, 1, sizeof block, source)) > 0;) atomic_write(file, block, n);
    bool is_read = !ferror(source);
    fclose(source);
    if (!is_read) return fail(err, FRAX_FILE, "cannot read '%s'", from);
    return atomic_settle(file, err);
}

FraxStatus written_prepare(Written *w, FraxError *err) {
    for (int i = 0; i < w->count; i++) {
        FraxStatus status = copy(w->new_path[i], w->path[i], &w->file[i], err);
        if (status) return status;
        for (int j = 0; j < i; j++)
            if (!strcmp(w->file[i].path, w->file[j].path))
                return fail(err, FRAX_USAGE, "'%s' and '%s' would be one file", w->path[j], w->path[i]);
    }
    return FRAX_OK;
}

FraxStatus written_move(Written *w, FraxError *err) {
    for (int i = 0; i < w->count; i++) {
        FraxStatus status = atomic_commit(&w->file[i], err);
        if (status) return status;
    }
    if (w->older) unlink(w->older);
    return FRAX_OK;
}

void written_end(Written *w) {
    for (int i = 0; i < w->count; i++) {
        atomic_abandon(&w->file[i]);
        unlink(w->new_path[i]);
    }
    if (w->folder) rmdir(w->folder);
    arena_free(&w->paths);
    *w = (Written){0};
}
