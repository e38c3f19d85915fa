/* embed.h — files that the build made, as text within the library. */
#ifndef FRAX_EMBED_H
#define FRAX_EMBED_H

/* Declares a string of the file's bytes and a zero. */
#define EMBED(symbol, path)                                                                                  \
    __asm__(".pushsection .rodata\n.hidden " #symbol "\n.globl " #symbol "\n" #symbol ":\n.incbin \"" path   \
            "\"\n.byte 0\n.popsection\n");                                                                   \
    extern const char symbol[];

#endif
