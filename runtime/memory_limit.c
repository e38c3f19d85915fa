/* memory_limit.c — see memory_limit.h. Linux tells what is free and what may be swapped out in /proc/meminfo,
 * and the limit of a container's control group (version 2, or 1) in a file of one number. Elsewhere nothing
 * is known, and an allocation that fails is the first sign.
 */
#include "memory_limit.h"
#include "base.h"
#include <string.h>

/* The number of bytes that a file holds by itself; SIZE_MAX where there is none ("max", no file). */
static size_t read_limit(const char *path) {
    unsigned long long bytes;
    FILE *file = fopen(path, "r");
    bool found = file && fscanf(file, "%llu", &bytes) == 1 && bytes < SIZE_MAX;
    if (file) fclose(file);
    return found ? (size_t)bytes : SIZE_MAX;
}

static size_t free_bytes(void) {
    char line[128];
    unsigned long long kilobytes, sum = 0;
    bool known = false;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        bool available = sscanf(line, "MemAvailable: %llu", &kilobytes) == 1;
        if (!available && sscanf(line, "SwapFree: %llu", &kilobytes) != 1) continue;
        known |= available;
        sum += kilobytes * 1024;
    }
    if (file) fclose(file);
    return known ? (size_t)sum : SIZE_MAX;
}

size_t memory_available(void) {
    size_t least = free_bytes();
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < COUNT(limits); i++) least = MIN(least, read_limit(limits[i]));
    return least;
}
