/* build_id.c — finds the GNU build-id note of the program or library that this code was linked into. See
 * build_id.h. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "build_id.h"
#include <elf.h>
#include <link.h>
#include <string.h>

typedef struct Search {
    ElfW(Addr) inside; /* an address of this code */
    Text *out;
} Search;

static size_t padded(size_t n) {
    return (n + 3) & ~(size_t)3;
}

static void print_note(const char *at, size_t size, Text *out) {
    while (size >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t whole = sizeof note + padded(note.n_namesz) + padded(note.n_descsz);
        if (whole > size) return;
        const char *name = at + sizeof note;
        const unsigned char *id = (const unsigned char *)name + padded(note.n_namesz);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(name, "GNU", 4)) {
            for (size_t i = 0; i < note.n_descsz; i++) text_printf(out, "%02x", id[i]);
            return;
        }
        at += whole;
        size -= whole;
    }
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *context) {
    Search *search = context;
    bool mine = false;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        ElfW(Addr) start = info->dlpi_addr + h->p_vaddr;
        mine |= h->p_type == PT_LOAD && search->inside >= start && search->inside < start + h->p_memsz;
    }
    for (int i = 0; mine && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_NOTE)
            print_note((const char *)(uintptr_t)(info->dlpi_addr + h->p_vaddr), h->p_memsz, search->out);
    }
    return mine;
}

void build_id(Text *out) {
    Search search = {(ElfW(Addr))(uintptr_t)build_id, out};
    dl_iterate_phdr(visit_object, &search);
}
