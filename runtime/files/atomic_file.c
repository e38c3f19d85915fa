/* atomic_file.c — files that appear whole or not at all. See files.h.
 *
 * A temporary file is made beside the target (rename works only within a file system), written, synced and
 * renamed over it; a reader sees the old file or the new one. Its name holds the process id and an attempt
 * number and it is opened with O_EXCL, so that threads and processes that write the same target do not meet;
 * not mkstemp, which would ignore the umask. A target that is not a regular file (/dev/null, a pipe) must not
 * be renamed away and is written in place.
 */
#include "files.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FraxStatus fail_write(FraxError *err, const char *path, int code) {
    return fail(err, code == ENOMEM ? FRAX_MEMORY : FRAX_FILE, "cannot write '%s': %s", path, strerror(code));
}

/* The file that `path` names once links are followed, or would name if it existed. NULL: out of memory. */
static char *resolve(const char *path) {
    char real[PATH_MAX], folder[PATH_MAX];
    if (realpath(path, real)) return mem_strdup(real);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (n >= (int)sizeof folder || !realpath(folder, real)) return mem_strdup(path);
    size_t size = strlen(real) + strlen(name) + 2;
    char *whole = mem_alloc(size);
    if (whole) snprintf(whole, size, "%s/%s", real, name);
    return whole;
}

bool is_same_place(const char *a, const char *b) {
    char *first = resolve(a), *second = resolve(b);
    bool same = !strcmp(first ? first : a, second ? second : b);
    mem_free(first);
    mem_free(second);
    return same;
}

static int open_temporary(AtomicFile *file, size_t size) {
    enum { ATTEMPTS = 1000 };
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(file->temporary, size, "%s.%ld-%d.tmp", file->path, (long)getpid(), attempt);
        int fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static void release(AtomicFile *file) {
    mem_free(file->path);
    mem_free(file->temporary);
    *file = (AtomicFile){0};
}

static FraxStatus open_stream(AtomicFile *file, int fd, const char *path, FraxError *err) {
    int code = errno;
    if (fd >= 0) {
        file->stream = fdopen(fd, "wb");
        if (file->stream) return FRAX_OK;
        code = errno;
        close(fd);
        if (file->temporary) unlink(file->temporary);
    }
    release(file);
    return fail_write(err, path, code);
}

/* Of a resolved path: why what is there cannot be replaced, an errno. *mode: 0 where nothing is. */
static int obstacle(const char *path, mode_t *mode) {
    struct stat st;
    *mode = stat(path, &st) == 0 ? st.st_mode : 0;
    if (S_ISDIR(*mode)) return EISDIR;
    /* rename would replace even a file that may not be written */
    return S_ISREG(*mode) && access(path, W_OK) != 0 ? errno : 0;
}

/* Of a resolved path: why no file can be made beside it. */
static int folder_obstacle(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (n >= (int)sizeof folder) return ENAMETOOLONG;
    return access(folder, W_OK | X_OK) == 0 ? 0 : errno;
}

FraxStatus atomic_check(const char *path, FraxError *err) {
    char *resolved = resolve(path);
    mode_t mode;
    if (!resolved) return fail_memory(err, "opening a file");
    int code = obstacle(resolved, &mode);
    if (!code && mode && !S_ISREG(mode))
        code = access(resolved, W_OK) == 0 ? 0 : errno;
    else if (!code)
        code = folder_obstacle(resolved);
    mem_free(resolved);
    return code ? fail_write(err, path, code) : FRAX_OK;
}

FraxStatus atomic_open(const char *path, AtomicFile *file, FraxError *err) {
    *file = (AtomicFile){.path = resolve(path)};
    if (!file->path) return fail_memory(err, "opening a file");

    mode_t mode;
    int code = obstacle(file->path, &mode);
    if (code) {
        release(file);
        return fail_write(err, path, code);
    }
    if (mode && !S_ISREG(mode)) {
        int fd = open(file->path, O_WRONLY | O_CLOEXEC);
        return open_stream(file, fd, path, err);
    }
    size_t size = strlen(file->path) + 48;
    file->temporary = mem_alloc(size);
    if (!file->temporary) {
        release(file);
        return fail_memory(err, "opening a file");
    }
    int fd = open_temporary(file, size);
    if (fd >= 0 && mode) (void)!fchmod(fd, mode & 0777); /* best effort: some file systems have no modes */
    return open_stream(file, fd, path, err);
}

void atomic_write(AtomicFile *file, const void *bytes, size_t n) {
    errno = 0;
    if (n && fwrite(bytes, 1, n, file->stream) != n && !file->error) file->error = errno ? errno : EIO;
}

FraxStatus atomic_write_at(AtomicFile *file, int64_t position, const void *bytes, size_t n, FraxError *err) {
    int fd = fileno(file->stream);
    if (!file->error && fflush(file->stream) != 0) file->error = errno;
    while (n && !file->error) {
        ssize_t done = file->temporary ? pwrite(fd, bytes, n, position) : write(fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) file->error = errno ? errno : EIO;
        if (file->error) break;
        bytes = (const char *)bytes + done;
        position += done;
        n -= (size_t)done;
    }
    return file->error ? fail_write(err, file->path, file->error) : FRAX_OK;
}

static int settle(AtomicFile *file) {
    int code = file->error;
    if (!code && fflush(file->stream) != 0) code = errno;
    if (!code && file->temporary && fsync(fileno(file->stream)) != 0) code = errno;
    return code;
}

FraxStatus atomic_settle(AtomicFile *file, FraxError *err) {
    int code = settle(file);
    FraxStatus status = code ? fail_write(err, file->path, code) : FRAX_OK;
    if (status) atomic_abandon(file);
    return status;
}

FraxStatus atomic_commit(AtomicFile *file, FraxError *err) {
    int code = settle(file);
    if (fclose(file->stream) != 0 && !code) code = errno;
    if (!code && file->temporary && rename(file->temporary, file->path) != 0) code = errno;
    if (code && file->temporary) unlink(file->temporary);
    FraxStatus status = code ? fail_write(err, file->path, code) : FRAX_OK;
    release(file);
    return status;
}

void atomic_abandon(AtomicFile *file) {
    if (!file->stream) return;
    fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    release(file);
}

FraxStatus file_replace(const char *path, const void *bytes, size_t n, FraxError *err) {
    AtomicFile file;
    FraxStatus status = atomic_open(path, &file, err);
    if (status) return status;
    atomic_write(&file, bytes, n);
    return atomic_commit(&file, err);
}
