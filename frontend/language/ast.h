/* ast.h — the language as a tree: what the parser makes of a text, and what lowering walks.
 *
 * All nodes live in one arena. Sizes in a declared shape are ordinary expressions, which the parser has
 * restricted to whole numbers, names and + - * /.
 */
#ifndef FRAX_AST_H
#define FRAX_AST_H

#include "source.h"

/* A literal: whole numbers are kept exactly. `value` always holds the number as a double. */
typedef struct Number {
    double value;
    int64_t integer; /* when whole */
    bool whole;
} Number;

typedef struct Name {
    const char *text;
    Loc loc;
} Name;

typedef enum ExprKind {
    EXPR_NUMBER,
    EXPR_NAME,
    EXPR_UNARY,    /* text: the operator; items: operand */
    EXPR_BINARY,   /* text: the operator; items: left, right */
    EXPR_CALL,     /* text: the callee; items: arguments, with labels */
    EXPR_INDEX,    /* items: the indexed expression, then the subscripts */
    EXPR_TUPLE,    /* (a, b) or [a, b]; text: the closing bracket */
    EXPR_RANGE,    /* lo:hi:step in a subscript; items: three, NULL where absent */
    EXPR_ELLIPSIS, /* ... in a subscript */
    EXPR_FUNCTION, /* (a, b) => value as an argument; items: the names as EXPR_NAME, then the value */
} ExprKind;

typedef struct Expr {
    ExprKind kind;
    Loc loc;
    int depth; /* height of the tree, which bounds every recursion over it */
    const char *text;
    Number number;
    size_t count;
    struct Expr **items;
    Name *labels; /* of arguments; text NULL: positional */
} Expr;

typedef struct TypeExpr {
    FraxDType dtype;
    int rank;
    Expr *dims[MAX_RANK];
    bool is_key; /* written `key`: i32[2] */
} TypeExpr;

/* An input (init NULL) or a param. */
typedef struct Decl {
    Name name;
    TypeExpr type;
    Expr *init;
} Decl;

/* names = value */
typedef struct Stmt {
    Name *names;
    size_t nnames;
    Expr *value;
} Stmt;

typedef struct Body {
    Stmt *stmts;
    size_t nstmts;
    Expr **returns;
    size_t nreturns;
    Loc return_loc;
} Body;

typedef struct Fn {
    Name name;
    Name *params;
    size_t nparams;
    Body body;
    Name *tangents; /* of the derivative: one per parameter */
    size_t ntangents;
    Body *derivative; /* NULL: derived from the body */
} Fn;

typedef struct ModelDecl {
    Name name;
    Decl *inputs, *params;
    size_t ninputs, nparams;
    Body body;
} ModelDecl;

typedef struct File {
    Fn *fns;
    ModelDecl *models;
    size_t nfns, nmodels;
} File;

/* ---- Names: an open-addressing map from text to a number; keys stay the caller's ---- */

typedef struct NameMap {
    const char **keys;
    int *values;
    size_t count, capacity;
} NameMap;

int *names_find(const NameMap *map, const char *name); /* NULL: not there */
bool names_add(NameMap *map, const char *name, int value);
void names_free(NameMap *map);

/* ---- Tokens ---- */

typedef enum TokenKind { TOKEN_END, TOKEN_NEWLINE, TOKEN_NAME, TOKEN_NUMBER, TOKEN_PUNCTUATION } TokenKind;

typedef struct Token {
    TokenKind kind;
    Loc loc;
    const char *start;
    size_t len;
    Number number;
} Token;

typedef struct Lexer {
    const Source *source;
    const char *at, *end;
    const char *line_start;
    int line, brackets; /* newlines count only outside ( ) and [ ] */
    bool failed;
    FraxError *err;
} Lexer;

/* The next token; runs of newlines are one token. After a fault: TOKEN_END and lexer->failed. */
Token lex_token(Lexer *lexer);

/* Parses a whole text. Everything in *file lives in `arena`. */
FraxStatus parse_file(const Source *source, size_t len, Arena *arena, File *file, FraxError *err);

/* The words that cannot name anything. */
bool is_reserved(const char *name);

#endif
