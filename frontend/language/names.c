/* names.c — a map from names to numbers: open addressing, linear probing, never more than half full. Serves
 * scopes. The map does not own its keys. */
#include "ast.h"
#include <string.h>

static size_t slot_of(const NameMap *map, const char *name) {
    size_t mask = map->capacity - 1, i = hash_bytes(0, name, strlen(name)) & mask;
    while (map->keys[i] && strcmp(map->keys[i], name)) i = (i + 1) & mask;
    return i;
}

static bool names_resize(NameMap *map) {
    NameMap grown = {.capacity = MAX(map->capacity * 2, (size_t)16), .count = map->count};
    grown.keys = mem_calloc(grown.capacity, sizeof *grown.keys);
    grown.values = mem_calloc(grown.capacity, sizeof *grown.values);
    if (!grown.keys || !grown.values) {
        names_free(&grown);
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (!map->keys[i]) continue;
        size_t slot = slot_of(&grown, map->keys[i]);
        grown.keys[slot] = map->keys[i];
        grown.values[slot] = map->values[i];
    }
    names_free(map);
    *map = grown;
    return true;
}

int *names_find(const NameMap *map, const char *name) {
    if (!map->capacity) return NULL;
    size_t i = slot_of(map, name);
    return map->keys[i] ? &map->values[i] : NULL;
}

bool names_add(NameMap *map, const char *name, int value) {
    if (2 * (map->count + 1) > map->capacity && !names_resize(map)) return false;
    size_t i = slot_of(map, name);
    map->count += !map->keys[i];
    map->keys[i] = name;
    map->values[i] = value;
    return true;
}

void names_free(NameMap *map) {
    mem_free(map->keys);
    mem_free(map->values);
    *map = (NameMap){0};
}
