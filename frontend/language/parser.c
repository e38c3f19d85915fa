/* parser.c — tokens into a tree: recursive descent, one function per production, which stands above it.
 *
 *   file    = { model | fn }
 *   model   = "model" NAME "(" [input {"," input}] ")" "{" body "}"
 *   fn      = "fn" NAME "(" [names] ")" "{" body "}" [ "derivative" "(" names ")" "{" body "}" ]
 *   body    = { statement NEWLINE } "return" expr {"," expr}
 *   statement = "param" NAME ":" type "=" expr | NAME {"," NAME} "=" expr
 *   type    = DTYPE [ "[" [expr {"," expr}] "]" ] | "key"
 *   expr    = comparisons (< <= > >= == !=) under "not" under "and" under "or"; then + -, then * / @, then
 * unary -, then ^ (right-associative); then calls f(a, name=b) and subscripts x[1:, none, ::2, ..., -1]
 *   function = names "=>" expr, an argument of some built-ins: w => (0, w), (w1, w2) => -w1^2 - w2^2
 *
 * Faults are sticky: after the first one every token is the end of the text, so that all loops finish;
 * callers look at parser->failed once. Nesting and the height of trees are bounded, so no recursion can
 * exhaust the stack.
 */
#include "ast.h"
#include <string.h>

enum { DEEPEST_NESTING = 200, HIGHEST_TREE = 1000 };

typedef struct Parser {
    Lexer lexer;
    Token token, next; /* the current token and the one after it */
    Arena *arena;
    int nesting;
    bool failed;
    FraxError *err;
} Parser;

static const char *const reserved[] = {"model", "fn",  "param", "return", "derivative", "and",
                                       "or",    "not", "none",  "true",   "false"};

bool is_reserved(const char *name) {
    for (size_t i = 0; i < COUNT(reserved); i++)
        if (!strcmp(name, reserved[i])) return true;
    return false;
}

static bool dtype_from_name(const char *name, FraxDType *dtype) {
    for (FraxDType d = FRAX_F64; d <= FRAX_BOOL; d++)
        if (!strcmp(name, frax_dtype_name(d))) {
            *dtype = d;
            return true;
        }
    return false;
}

/* ---- Faults, memory, tokens ---- */

static void stop(Parser *p) {
    p->failed = true;
    p->token.kind = p->next.kind = TOKEN_END;
    p->lexer.failed = true;
}

static void parse_fail(Parser *p, Loc loc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void parse_fail(Parser *p, Loc loc, const char *fmt, ...) {
    if (p->failed) return;
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fail_at(p->err, FRAX_SYNTAX, p->lexer.source, loc, "%s", message);
    stop(p);
}

static void *parse_alloc(Parser *p, size_t bytes) {
    void *memory = arena_alloc(p->arena, bytes);
    if (!memory && !p->failed) {
        fail_memory(p->err, "parsing a model");
        stop(p);
    }
    return memory;
}

/* `items` with room for one element more at [*count], zeroed; *count is raised. Capacities are powers of two,
   so the count alone tells when a list is full. NULL when out of memory. */
static void *append(Parser *p, void *items, size_t *count, size_t size) {
    size_t n = *count;
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
        void *grown = parse_alloc(p, size * MAX(2 * n, (size_t)4));
        if (!grown) return NULL;
        if (n) memcpy(grown, items, n * size);
        items = grown;
    }
    (*count)++;
    return items;
}

static void advance(Parser *p) {
    if (p->failed) return;
    p->token = p->next;
    p->next = lex_token(&p->lexer);
    /* A fault in the look-ahead waits until it is the current token, unless the text is at fault first. */
    if (p->lexer.failed && p->token.kind == TOKEN_END) stop(p);
}

static bool is(const Parser *p, const char *text) {
    const Token *t = &p->token;
    return (t->kind == TOKEN_PUNCTUATION || t->kind == TOKEN_NAME) && t->len == strlen(text) &&
           !memcmp(t->start, text, t->len);
}

static bool next_is(const Parser *p, const char *text) {
    const Token *t = &p->next;
    return t->kind != TOKEN_END && t->len == strlen(text) && !memcmp(t->start, text, t->len);
}

static bool accept(Parser *p, const char *text) {
    if (!is(p, text)) return false;
    advance(p);
    return true;
}

/* What the current token is, for "found …". */
static const char *found(const Parser *p, char buffer[64]) {
    const Token *t = &p->token;
    if (t->kind == TOKEN_END) return "the end of the text";
    if (t->kind == TOKEN_NEWLINE) return "the end of the line";
    snprintf(buffer, 64, "'%.*s'", (int)MIN(t->len, (size_t)48), t->start);
    return buffer;
}

/* A fault in the look-ahead has already been reported in *err; it is the cause if the current token is fine.
 */
static void expected(Parser *p, const char *what) {
    char buffer[64];
    if (p->lexer.failed)
        stop(p);
    else
        parse_fail(p, p->token.loc, "expected %s, found %s", what, found(p, buffer));
}

static void expect(Parser *p, const char *text, const char *what) {
    if (!accept(p, text)) expected(p, what);
}

static void skip_newlines(Parser *p) {
    while (p->token.kind == TOKEN_NEWLINE) advance(p);
}

static const char *copy_text(Parser *p, const Token *token) {
    char *text = parse_alloc(p, token->len + 1);
    return text ? memcpy(text, token->start, token->len) : "";
}

static Name parse_name(Parser *p, const char *what) {
    Name name = {"", p->token.loc};
    if (p->token.kind != TOKEN_NAME) {
        expected(p, what);
        return name;
    }
    name.text = copy_text(p, &p->token);
    if (is_reserved(name.text))
        parse_fail(p, name.loc, "expected %s, found the reserved word '%s'", what, name.text);
    advance(p);
    return name;
}

/* ---- Expressions ---- */

static Expr *parse_expr(Parser *p);

static Expr *new_expr(Parser *p, ExprKind kind, Loc loc, const char *text) {
    Expr *e = parse_alloc(p, sizeof *e);
    if (!e) return NULL;
    e->kind = kind;
    e->loc = loc;
    e->text = text;
    e->depth = 1;
    return e;
}

/* Adds `item` (NULL: absent, as in x[:3]) under `label` (NULL: positional). */
static void add_item(Parser *p, Expr *e, Expr *item, const Name *label) {
    if (!e || p->failed) return;
    size_t labels = e->count;
    e->labels = append(p, e->labels, &labels, sizeof *e->labels);
    e->items = append(p, e->items, &e->count, sizeof *e->items);
    if (p->failed) return;
    e->items[e->count - 1] = item;
    if (label) e->labels[e->count - 1] = *label;
    if (item) e->depth = MAX(e->depth, item->depth + 1);
    if (e->depth > HIGHEST_TREE)
        parse_fail(p, e->loc, "this expression has more than %d levels; split it over several statements",
                   HIGHEST_TREE);
}

/* Takes the current token as operator of a new expression over `left` (NULL: unary). */
static Expr *new_operation(Parser *p, Expr *left) {
    Expr *e = new_expr(p, left ? EXPR_BINARY : EXPR_UNARY, p->token.loc, copy_text(p, &p->token));
    if (left) add_item(p, e, left, NULL);
    advance(p);
    return e;
}

/* tuple = expr {"," expr} [","], up to `close` */
static Expr *parse_tuple(Parser *p, Expr *first, Loc loc, const char *close) {
    Expr *e = new_expr(p, EXPR_TUPLE, loc, close);
    if (first) add_item(p, e, first, NULL);
    while (!p->failed && !is(p, close)) {
        if (e && e->count && !accept(p, ",")) {
            char what[32];
            snprintf(what, sizeof what, "',' or '%s'", close);
            expected(p, what);
        }
        if (!is(p, close)) add_item(p, e, parse_expr(p), NULL);
    }
    expect(p, close, close);
    return e;
}

/* arguments = "(" [ [NAME "="] expr { "," [NAME "="] expr } ] ")" */
static Expr *parse_call(Parser *p, Name callee) {
    Expr *e = new_expr(p, EXPR_CALL, callee.loc, callee.text);
    expect(p, "(", "'('");
    while (!p->failed && !is(p, ")")) {
        if (e && e->count) expect(p, ",", "',' or ')'");
        if (is(p, ")")) break;
        Name label = {NULL, p->token.loc};
        if (p->token.kind == TOKEN_NAME && next_is(p, "=")) {
            label.text = copy_text(p, &p->token);
            advance(p);
            advance(p);
        } else if (e && e->count && e->labels && e->labels[e->count - 1].text) {
            parse_fail(p, p->token.loc, "a positional argument follows a named one");
        }
        add_item(p, e, parse_expr(p), &label);
    }
    expect(p, ")", "')'");
    return e;
}

/* primary = NUMBER | NAME [arguments] | "(" expr ")" | "(" tuple ")" | "[" tuple "]" */
static Expr *parse_primary(Parser *p) {
    Loc loc = p->token.loc;
    if (p->token.kind == TOKEN_NUMBER) {
        Expr *e = new_expr(p, EXPR_NUMBER, loc, NULL);
        if (e) e->number = p->token.number;
        advance(p);
        return e;
    }
    if (is(p, "none") || is(p, "true") || is(p, "false")) {
        Expr *e = new_expr(p, EXPR_NAME, loc, copy_text(p, &p->token));
        advance(p);
        return e;
    }
    if (accept(p, "[")) return parse_tuple(p, NULL, loc, "]");
    if (accept(p, "(")) {
        Expr *e = is(p, ")") ? NULL : parse_expr(p);
        return e && accept(p, ")") ? e : parse_tuple(p, e, loc, ")");
    }
    if (p->token.kind != TOKEN_NAME) {
        expected(p, "an expression");
        return NULL;
    }
    Name name = parse_name(p, "an expression");
    return is(p, "(") ? parse_call(p, name) : new_expr(p, EXPR_NAME, name.loc, name.text);
}

/* subscript = "..." | expr | [expr] ":" [expr] [":" [expr]] */
static Expr *parse_subscript(Parser *p) {
    Loc loc = p->token.loc;
    if (accept(p, "...")) return new_expr(p, EXPR_ELLIPSIS, loc, NULL);
    Expr *parts[3] = {NULL};
    int n = 0;
    for (;; n++) {
        if (!is(p, ":") && !is(p, ",") && !is(p, "]")) parts[n] = parse_expr(p);
        if (n == 2 || !accept(p, ":")) break;
    }
    if (n == 0) {
        if (!parts[0]) expected(p, "a subscript");
        return parts[0];
    }
    Expr *range = new_expr(p, EXPR_RANGE, loc, NULL);
    for (int i = 0; i < 3; i++) add_item(p, range, parts[i], NULL);
    return range;
}

/* postfix = primary { "[" subscript {"," subscript} "]" } */
static Expr *parse_postfix(Parser *p) {
    Expr *e = parse_primary(p);
    while (e && is(p, "[")) {
        Expr *index = new_expr(p, EXPR_INDEX, p->token.loc, NULL);
        advance(p);
        add_item(p, index, e, NULL);
        do add_item(p, index, parse_subscript(p), NULL);
        while (!p->failed && accept(p, ","));
        expect(p, "]", "',' or ']'");
        e = index;
    }
    return e;
}

static Expr *parse_unary(Parser *p);

/* power = postfix [ "^" unary ], so that -x^2 is -(x^2) and 2^-x needs no brackets */
static Expr *parse_power(Parser *p) {
    Expr *e = parse_postfix(p);
    if (!e || !is(p, "^")) return e;
    Expr *power = new_operation(p, e);
    add_item(p, power, parse_unary(p), NULL);
    return power;
}

/* unary = ("-" | "+") unary | power */
static Expr *parse_unary(Parser *p) {
    if (++p->nesting > DEEPEST_NESTING)
        parse_fail(p, p->token.loc, "more than %d nested brackets or operators", DEEPEST_NESTING);
    Expr *e;
    if (is(p, "-") || is(p, "+")) {
        e = new_operation(p, NULL);
        add_item(p, e, parse_unary(p), NULL);
    } else {
        e = parse_power(p);
    }
    p->nesting--;
    return e;
}

typedef Expr *Production(Parser *p);

static bool is_one_of(const Parser *p, const char *const *operators) {
    for (; *operators; operators++)
        if (is(p, *operators)) return true;
    return false;
}

/* operand { operator operand }, from the left */
static Expr *parse_chain(Parser *p, Production *operand, const char *const *operators) {
    Expr *e = operand(p);
    while (e && is_one_of(p, operators)) {
        Expr *operation = new_operation(p, e);
        add_item(p, operation, operand(p), NULL);
        e = operation;
    }
    return e;
}

/* product = unary { ("*" | "/" | "@") unary } */
static Expr *parse_product(Parser *p) {
    return parse_chain(p, parse_unary, (const char *const[]){"*", "/", "@", NULL});
}

/* sum = product { ("+" | "-") product } */
static Expr *parse_sum(Parser *p) {
    return parse_chain(p, parse_product, (const char *const[]){"+", "-", NULL});
}

/* comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ] */
static Expr *parse_comparison(Parser *p) {
    static const char *const operators[] = {"<", "<=", ">", ">=", "==", "!=", NULL};
    Expr *e = parse_sum(p);
    if (!e || !is_one_of(p, operators)) return e;
    Expr *operation = new_operation(p, e);
    add_item(p, operation, parse_sum(p), NULL);
    if (is_one_of(p, operators)) parse_fail(p, p->token.loc, "comparisons do not chain; join two with 'and'");
    return operation;
}

/* negation = { "not" } comparison */
static Expr *parse_negation(Parser *p) {
    if (!is(p, "not")) return parse_comparison(p);
    if (++p->nesting > DEEPEST_NESTING)
        parse_fail(p, p->token.loc, "more than %d nested brackets or operators", DEEPEST_NESTING);
    Expr *operation = new_operation(p, NULL);
    add_item(p, operation, parse_negation(p), NULL);
    p->nesting--;
    return operation;
}

/* conjunction = negation { "and" negation } */
static Expr *parse_conjunction(Parser *p) {
    return parse_chain(p, parse_negation, (const char *const[]){"and", NULL});
}

/* function = (NAME | "(" NAME {"," NAME} ")") "=>" expr */
static Expr *parse_function(Parser *p, Expr *before) {
    bool tuple = before->kind == EXPR_TUPLE && *before->text == ')';
    size_t n = tuple ? before->count : 1;
    Expr *e = new_expr(p, EXPR_FUNCTION, before->loc, NULL);
    for (size_t i = 0; i < n; i++) {
        Expr *name = tuple ? before->items[i] : before;
        if (name->kind != EXPR_NAME || is_reserved(name->text))
            parse_fail(p, name->loc, "expected a name before '=>', as in w => w^2 or (u, v) => u + v");
        add_item(p, e, name, NULL);
    }
    if (!n) parse_fail(p, before->loc, "expected a name before '=>', as in w => w^2 or (u, v) => u + v");
    advance(p);
    if (++p->nesting > DEEPEST_NESTING)
        parse_fail(p, p->token.loc, "more than %d nested brackets or operators", DEEPEST_NESTING);
    add_item(p, e, parse_expr(p), NULL);
    p->nesting--;
    return e;
}

/* expr = conjunction { "or" conjunction } | function */
static Expr *parse_expr(Parser *p) {
    Expr *e = parse_chain(p, parse_conjunction, (const char *const[]){"or", NULL});
    return e && is(p, "=>") ? parse_function(p, e) : e;
}

/* ---- Declarations ---- */

/* A size is made of whole numbers, size symbols and + - * /. */
static void check_size(Parser *p, const Expr *e) {
    if (!e || p->failed) return;
    bool fine = e->kind == EXPR_NAME ? !is_reserved(e->text)
                : e->kind == EXPR_NUMBER
                    ? e->number.whole
                    : (e->kind == EXPR_UNARY || e->kind == EXPR_BINARY) && strstr("+ - * /", e->text);
    if (!fine) parse_fail(p, e->loc, "a size is made of whole numbers, size symbols and + - * /");
    if (e->kind == EXPR_UNARY || e->kind == EXPR_BINARY)
        for (size_t i = 0; i < e->count; i++) check_size(p, e->items[i]);
}

/* The two words of a key of random numbers. */
static TypeExpr key_type(Parser *p, Loc loc) {
    Expr *two = new_expr(p, EXPR_NUMBER, loc, NULL);
    if (two) two->number = (Number){.value = 2, .integer = 2, .whole = true};
    return (TypeExpr){.dtype = FRAX_I32, .rank = 1, .dims = {two}, .is_key = true};
}

static void unknown_dtype(Parser *p, const Name *name) {
    const char *names[FRAX_BOOL + 2];
    for (FraxDType d = FRAX_F64; d <= FRAX_BOOL; d++) names[d] = frax_dtype_name(d);
    names[FRAX_BOOL + 1] = "key";
    const char *near = nearest_name(name->text, names, COUNT(names));
    parse_fail(p, name->loc, "'%s' is not a dtype%s%s%s; expected f64, f32, bf16, f16, i32, bool or key",
               name->text, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

/* type = DTYPE [ "[" [expr {"," expr}] "]" ] | "key" */
static TypeExpr parse_type(Parser *p) {
    TypeExpr type = {0};
    Name name = parse_name(p, "a type such as f32[B, N]");
    if (p->failed) return type;
    if (!strcmp(name.text, "key")) return key_type(p, name.loc);
    if (!dtype_from_name(name.text, &type.dtype)) unknown_dtype(p, &name);
    if (!accept(p, "[")) return type;
    while (!p->failed && !is(p, "]")) {
        if (type.rank) expect(p, ",", "',' or ']'");
        if (type.rank == MAX_RANK) parse_fail(p, p->token.loc, "more than %d axes", MAX_RANK);
        if (p->failed) break;
        Expr *size = parse_expr(p);
        check_size(p, size);
        type.dims[type.rank++] = size;
    }
    expect(p, "]", "']'");
    return type;
}

/* declaration = NAME ":" type [ "=" expr ], the last part only for params */
static Decl parse_declaration(Parser *p, bool param) {
    Decl decl = {.name = parse_name(p, param ? "a param's name" : "an input's name")};
    expect(p, ":", "':' and a type, as in x: f32[N]");
    decl.type = parse_type(p);
    if (param && decl.type.is_key)
        parse_fail(p, decl.name.loc, "param '%s' is a key, which is not learnable; make it an input",
                   decl.name.text);
    if (!param) return decl;
    expect(p, "=", "'=' and an initial value");
    decl.init = parse_expr(p);
    return decl;
}

static void end_statement(Parser *p) {
    if (p->token.kind != TOKEN_NEWLINE && !is(p, "}")) expected(p, "the end of the line");
    skip_newlines(p);
}

/* assignment = NAME {"," NAME} "=" expr */
static Stmt parse_assignment(Parser *p) {
    Stmt stmt = {0};
    do {
        Name name = parse_name(p, stmt.nnames ? "a name" : "a statement 'name = …', 'param …' or 'return …'");
        stmt.names = append(p, stmt.names, &stmt.nnames, sizeof *stmt.names);
        if (p->failed) return stmt;
        stmt.names[stmt.nnames - 1] = name;
    } while (accept(p, ","));
    expect(p, "=", stmt.nnames == 1 ? "'='" : "',' or '='");
    stmt.value = parse_expr(p);
    return stmt;
}

/* "return" expr {"," expr} */
static void parse_return(Parser *p, Body *body) {
    body->return_loc = p->token.loc;
    advance(p);
    do {
        Expr *e = parse_expr(p);
        body->returns = append(p, body->returns, &body->nreturns, sizeof *body->returns);
        if (p->failed) return;
        body->returns[body->nreturns - 1] = e;
    } while (accept(p, ","));
    end_statement(p);
    if (!is(p, "}")) expected(p, "'}' after return, which is the last statement");
}

/* body = "{" { statement NEWLINE } return "}"; `model` NULL: of a function, which has no params */
static Body parse_body(Parser *p, ModelDecl *model) {
    Body body = {0};
    expect(p, "{", "'{'");
    skip_newlines(p);
    while (!p->failed && !is(p, "}") && !is(p, "return")) {
        if (is(p, "param")) {
            if (!model)
                parse_fail(p, p->token.loc, "a function has no params of its own; pass them as arguments");
            advance(p);
            Decl decl = parse_declaration(p, true);
            if (p->failed) return body;
            model->params = append(p, model->params, &model->nparams, sizeof *model->params);
            if (!p->failed) model->params[model->nparams - 1] = decl;
        } else {
            Stmt stmt = parse_assignment(p);
            body.stmts = append(p, body.stmts, &body.nstmts, sizeof *body.stmts);
            if (!p->failed) body.stmts[body.nstmts - 1] = stmt;
        }
        end_statement(p);
    }
    if (is(p, "return"))
        parse_return(p, &body);
    else
        expected(p, "'return' and the results");
    expect(p, "}", "'}'");
    return body;
}

/* model = "model" NAME "(" [input {"," input}] ")" body */
static ModelDecl parse_model(Parser *p) {
    ModelDecl model = {.name = parse_name(p, "the model's name")};
    expect(p, "(", "'(' and the inputs");
    while (!p->failed && !is(p, ")")) {
        if (model.ninputs) expect(p, ",", "',' or ')'");
        if (is(p, ")")) break;
        Decl input = parse_declaration(p, false);
        model.inputs = append(p, model.inputs, &model.ninputs, sizeof *model.inputs);
        if (!p->failed) model.inputs[model.ninputs - 1] = input;
    }
    expect(p, ")", "')'");
    model.body = parse_body(p, &model);
    return model;
}

/* names = "(" [NAME {"," NAME}] ")" */
static Name *parse_names(Parser *p, size_t *count) {
    Name *names = NULL;
    expect(p, "(", "'(' and names");
    while (!p->failed && !is(p, ")")) {
        if (*count) expect(p, ",", "',' or ')'");
        if (is(p, ")")) break;
        Name name = parse_name(p, "a name");
        names = append(p, names, count, sizeof *names);
        if (!p->failed) names[*count - 1] = name;
    }
    expect(p, ")", "')'");
    return names;
}

/* fn = "fn" NAME names body [ "derivative" names body ] */
static Fn parse_fn(Parser *p) {
    Fn fn = {.name = parse_name(p, "the function's name")};
    fn.params = parse_names(p, &fn.nparams);
    fn.body = parse_body(p, NULL);
    if (p->token.kind == TOKEN_NEWLINE && next_is(p, "derivative")) advance(p);
    Loc loc = p->token.loc;
    if (!accept(p, "derivative")) return fn;
    fn.tangents = parse_names(p, &fn.ntangents);
    if (fn.ntangents != fn.nparams)
        parse_fail(p, loc,
                   "the derivative takes %zu tangents, the function %zu parameters; expected one for each",
                   fn.ntangents, fn.nparams);
    fn.derivative = parse_alloc(p, sizeof *fn.derivative);
    if (fn.derivative) *fn.derivative = parse_body(p, NULL);
    return fn;
}

/* file = { model | fn } */
static void parse_all(Parser *p, File *file) {
    skip_newlines(p);
    while (!p->failed && p->token.kind != TOKEN_END) {
        if (accept(p, "model")) {
            ModelDecl model = parse_model(p);
            file->models = append(p, file->models, &file->nmodels, sizeof *file->models);
            if (!p->failed) file->models[file->nmodels - 1] = model;
        } else if (accept(p, "fn")) {
            Fn fn = parse_fn(p);
            file->fns = append(p, file->fns, &file->nfns, sizeof *file->fns);
            if (!p->failed) file->fns[file->nfns - 1] = fn;
        } else {
            expected(p, "'model' or 'fn'");
        }
        skip_newlines(p);
    }
    if (!file->nmodels) expected(p, "a model");
}

FraxStatus parse_file(const Source *source, size_t len, Arena *arena, File *file, FraxError *err) {
    FraxError local;
    Parser p = {.arena = arena, .err = err ? err : &local};
    p.lexer = (Lexer){.source = source,
                      .at = source->text,
                      .end = source->text + len,
                      .line_start = source->text,
                      .line = 1,
                      .err = p.err};
    p.err->status = FRAX_OK;
    p.next = lex_token(&p.lexer);
    advance(&p);
    if (p.lexer.failed && p.token.kind == TOKEN_END) stop(&p);
    *file = (File){0};
    parse_all(&p, file);
    return p.failed ? p.err->status : FRAX_OK;
}
