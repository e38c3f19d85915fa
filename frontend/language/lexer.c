/* lexer.c — text into tokens: names, numbers, punctuation, ends of lines.
 *
 * A newline ends a statement unless a ( or [ is open; comments run from # to the end of the line. The text is
 * hostile: bytes that start no token are reported, and numbers must be finite.
 */
#include "ast.h"
#include <math.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool starts_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static Loc here(const Lexer *lx, const char *at) {
    return (Loc){lx->line, (int)(at - lx->line_start) + 1};
}

static Token lex_fail(Lexer *lx, Token token, const char *what) {
    fail_at(lx->err, FRAX_SYNTAX, lx->source, token.loc, "%s", what);
    lx->failed = true;
    token.kind = TOKEN_END;
    return token;
}

/* Skips blanks, comments and, inside brackets, newlines. True if a newline that counts was passed. */
static bool skip_blank(Lexer *lx) {
    bool newline = false;
    for (; lx->at < lx->end; lx->at++) {
        if (*lx->at == '#')
            while (lx->at + 1 < lx->end && lx->at[1] != '\n') lx->at++;
        else if (*lx->at == '\n') {
            newline |= lx->brackets == 0;
            lx->line++;
            lx->line_start = lx->at + 1;
        } else if (*lx->at != ' ' && *lx->at != '\t' && *lx->at != '\r')
            break;
    }
    return newline;
}

/* number = digits ["." digits] [("e" | "E") ["+" | "-"] digits], digits before or after the point */
static Token lex_number(Lexer *lx, Token token) {
    const char *p = lx->at;
    bool point = false;
    while (is_digit(*p)) p++;
    if (*p == '.' && p[1] != '.') {
        point = true;
        p++;
        while (is_digit(*p)) p++;
    }
    if (*p == 'e' || *p == 'E') {
        const char *exponent = p + 1 + (p[1] == '+' || p[1] == '-');
        if (!is_digit(*exponent)) return lex_fail(lx, token, "the exponent of this number has no digits");
        for (p = exponent; is_digit(*p);) p++;
    }
    if (starts_name(*p))
        return lex_fail(lx, token, "a letter follows this number; a product is written with *, as in 2*x");
    token.kind = TOKEN_NUMBER;
    token.len = (size_t)(p - lx->at);
    if (!double_parse(lx->at, token.len, &token.number.value))
        return lex_fail(lx, token, "this number is beyond the range of f64");
    token.number.whole = !point && token.number.value == floor(token.number.value) &&
                         token.number.value <= 9007199254740992.0; /* 2^53: exact in both forms */
    if (token.number.whole) token.number.integer = (int64_t)token.number.value;
    lx->at = p;
    return token;
}

static Token lex_punctuation(Lexer *lx, Token token) {
    static const char *const several[] = {"...", "<=", ">=", "==", "!=", "=>"};
    token.kind = TOKEN_PUNCTUATION;
    token.len = 0;
    for (size_t i = 0; i < COUNT(several) && !token.len; i++)
        if (!strncmp(lx->at, several[i], strlen(several[i]))) token.len = strlen(several[i]);
    if (!token.len && *lx->at && strchr("+-*/@^<>=()[]{},:", *lx->at)) token.len = 1;
    if (!token.len) {
        char what[64];
        unsigned char c = (unsigned char)*lx->at;
        if (c > ' ' && c < 0x7f)
            snprintf(what, sizeof what, "unexpected character '%c'", c);
        else
            snprintf(what, sizeof what, "unexpected byte 0x%02x", c);
        return lex_fail(lx, token, what);
    }
    lx->brackets += *lx->at == '(' || *lx->at == '[';
    lx->brackets -= (*lx->at == ')' || *lx->at == ']') && lx->brackets > 0;
    lx->at += token.len;
    return token;
}

Token lex_token(Lexer *lx) {
    Token token = {.kind = TOKEN_END, .loc = here(lx, lx->at), .start = lx->at};
    if (lx->failed) return token;
    if (skip_blank(lx)) {
        token.kind = TOKEN_NEWLINE;
        return token;
    }
    token.start = lx->at;
    token.loc = here(lx, lx->at);
    if (lx->at == lx->end) return token;
    if (is_digit(*lx->at) || (*lx->at == '.' && is_digit(lx->at[1]))) return lex_number(lx, token);
    if (!starts_name(*lx->at)) return lex_punctuation(lx, token);
    while (starts_name(*lx->at) || is_digit(*lx->at)) lx->at++;
    token.kind = TOKEN_NAME;
    token.len = (size_t)(lx->at - token.start);
    return token;
}
