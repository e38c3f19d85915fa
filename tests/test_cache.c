/* test_cache.c — the kernel cache on disk: what it saves, what it survives, and when it stays out of the way.
 *
 * Each test has a cache folder of its own. An executable made from a cached entry must give the bits of one
 * that was compiled.
 */
#include "target_run.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 6, N = 50 };

static char folder[256];

static int fresh_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/frax-cache-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) return -1;
    return setenv("XDG_CACHE_HOME", folder, 1);
}

static int remove_folder(void **state) {
    (void)state;
    char path[700];
    snprintf(path, sizeof path, "%s/frax", folder);
    chmod(path, 0700);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char file[1200];
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        unlink(file);
    }
    if (dir) closedir(dir);
    rmdir(path);
    return rmdir(folder);
}

/* Kernels with scratch, transforms, a static table and a reduction. */
static Graph *build(double scale) {
    Graph *g = graph_create("cached", "test");
    assert_non_null(g);
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(ROWS, N)});
    Value omega = g_iota(g, (Type){FRAX_F64, SHAPE(1, N / 2 + 1)}, 1);
    Value k = g_unary(g, OP_exp, g_scale(g, omega, -scale));
    Value y = g_spectral(g, x, k, g_neg(g, k), 2);
    Value e = g_unary(g, OP_exp, y);
    Value sum = g_reduce(g, OP_sum, e, 2);
    graph_output(g, "y", g_div(g, e, g_broadcast(g, sum, SHAPE(ROWS, N))));
    return g;
}

static Executable *create(double scale, bool no_cache) {
    Executable *exe;
    FraxError err;
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 1, .no_cache = no_cache};
    if (executable_create(build(scale), &options, &exe, &err)) fail_msg("%s", err.message);
    return exe;
}

static void run(const Executable *exe, double y[ROWS * N]) {
    double x[ROWS * N];
    FraxError err;
    for (int i = 0; i < ROWS * N; i++) x[i] = sin(0.3 * i);
    memset(y, 0xff, ROWS * N * sizeof *y);
    if (executable_run(exe, (const void *[]){x}, (void *[]){y}, &err)) fail_msg("%s", err.message);
}

/* Creates, says whether the code came from the cache, and checks the bits. */
static bool cached(double scale, bool no_cache) {
    static double expected[ROWS * N];
    static double expected_scale;
    double y[ROWS * N];
    if (scale != expected_scale) { /* without a cache */
        Executable *plain = create(scale, true);
        assert_false(executable_stats(plain).from_cache);
        run(plain, expected);
        executable_destroy(plain);
        expected_scale = scale;
    }
    Executable *exe = create(scale, no_cache);
    bool from_cache = executable_stats(exe).from_cache;
    run(exe, y);
    assert_memory_equal(y, expected, sizeof y);
    executable_destroy(exe);
    return from_cache;
}

static bool is_entry(const char *name) {
    size_t n = strlen(name);
    return n > 2 && !strcmp(name + n - 2, ".o");
}

/* The number of entries, and the path of one. */
static int entries(char path[1200]) {
    char dir_path[300];
    int n = 0;
    snprintf(dir_path, sizeof dir_path, "%s/frax", folder);
    DIR *dir = opendir(dir_path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!is_entry(e->d_name)) continue;
        snprintf(path, 1200, "%s/%s", dir_path, e->d_name);
        n++;
    }
    if (dir) closedir(dir);
    return n;
}

static unsigned char *read_entry(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct stat info;
    assert_int_equal(fstat(fileno(file), &info), 0);
    *size = (size_t)info.st_size;
    unsigned char *data = malloc(*size);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static void write_entry(const char *path, const unsigned char *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void test_second_creation_is_from_the_cache(void **state) {
    (void)state;
    char path[1200];
    assert_false(cached(0.1, false));
    assert_true(cached(0.1, false));
    assert_int_equal(entries(path), 1);
    assert_false(cached(0.2, false)); /* another graph */
    assert_true(cached(0.1, false));
    assert_int_equal(entries(path), 2);
}

static void test_no_cache_neither_reads_nor_writes(void **state) {
    (void)state;
    char path[1200];
    assert_false(cached(0.1, true));
    assert_int_equal(entries(path), 0);
    assert_int_equal(access(strcat(strcpy(path, folder), "/frax"), F_OK), -1);
    assert_false(cached(0.1, false));
    assert_false(cached(0.1, true));
}

/* A damaged entry is not used, and mended. */
static void expect_mended(const char *damage) {
    if (cached(0.1, false)) fail_msg("%s: the entry was trusted", damage);
    if (!cached(0.1, false)) fail_msg("%s: the entry was not written anew", damage);
}

static void test_damaged_entries_are_rebuilt(void **state) {
    (void)state;
    char path[1200], what[64];
    size_t size;
    assert_false(cached(0.1, false));
    assert_int_equal(entries(path), 1);
    unsigned char *good = read_entry(path, &size);
    const size_t lengths[] = {0, 1, 7, 40, 48, size / 2, size - 1};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        write_entry(path, good, lengths[i]);
        snprintf(what, sizeof what, "cut to %zu bytes", lengths[i]);
        expect_mended(what);
    }
    for (size_t at = 0; at < size; at += at < 64 ? 5 : size / 13) { /* magic, key, checksum, counts, code */
        good[at] ^= 0x20;
        write_entry(path, good, size);
        good[at] ^= 0x20;
        snprintf(what, sizeof what, "byte %zu flipped", at);
        expect_mended(what);
    }
    unsigned char *longer = calloc(1, size + 8);
    memcpy(longer, good, size);
    write_entry(path, longer, size + 8);
    expect_mended("longer than it says");
    free(longer);
    free(good);
}

/* The entry of another graph under this one's name. */
static void test_foreign_entries_are_not_used(void **state) {
    (void)state;
    char first[1200], path[1200];
    size_t size;
    assert_false(cached(0.2, false));
    assert_int_equal(entries(first), 1);
    unsigned char *foreign = read_entry(first, &size);
    assert_int_equal(unlink(first), 0);
    assert_false(cached(0.1, false));
    assert_int_equal(entries(path), 1);
    write_entry(path, foreign, size);
    expect_mended("a foreign entry");
    free(foreign);
}

/* A file where the folder should be: nothing can be stored, and nothing goes wrong. */
static void test_works_where_nothing_can_be_written(void **state) {
    (void)state;
    char path[1200];
    snprintf(path, sizeof path, "%s/frax", folder);
    write_entry(path, (const unsigned char *)"x", 1);
    assert_false(cached(0.1, false));
    assert_false(cached(0.1, false));
    assert_int_equal(unlink(path), 0);
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    assert_false(cached(0.1, false));
    setenv("XDG_CACHE_HOME", folder, 1);
}

/* A relative XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification); then HOME counts. */
static void test_home_stands_in(void **state) {
    (void)state;
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL, path[1200];
    setenv("HOME", folder, 1);
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_false(cached(0.1, false));
    assert_true(cached(0.1, false));
    setenv("XDG_CACHE_HOME", folder, 1);
    if (home) setenv("HOME", home, 1);
    free(home);
    snprintf(path, sizeof path, "rm -r '%s/.cache'", folder);
    assert_int_equal(system(path), 0);
}

/* Processes that store and load the same entries at once; each leaves with status 0 if all its bits were
 * right. */
static void test_processes_at_once(void **state) {
    (void)state;
    enum { PROCESSES = 3 };
    pid_t ids[PROCESSES];
    char path[1200];
    cached(0.1, true); /* the expected bits, before the processes part */
    for (int i = 0; i < PROCESSES; i++) {
        ids[i] = fork();
        assert_true(ids[i] >= 0);
        if (ids[i]) continue;
        for (int k = 0; k < 4; k++) {
            cached(0.1, false);
            if (entries(path) == 1 && k == i) unlink(path);
        }
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(ids[i], &status, 0), ids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    cached(0.1, false);
    assert_true(cached(0.1, false));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_second_creation_is_from_the_cache),
        TEST(test_no_cache_neither_reads_nor_writes),
        TEST(test_damaged_entries_are_rebuilt),
        TEST(test_foreign_entries_are_not_used),
        TEST(test_works_where_nothing_can_be_written),
        TEST(test_home_stands_in),
        TEST(test_processes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
