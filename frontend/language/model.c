/* model.c — a parsed model as an object: creation from text, what it declares, its graph with located faults.
 */
#include "lower.h"
#include <string.h>

enum { LONGEST_TEXT = 64 << 20 };

static FraxStatus pick_model(FraxModel *m, const char *name, FraxError *err) {
    const File *file = &m->file;
    m->decl = &file->models[0];
    if (!name) return FRAX_OK;
    const char *names[64];
    size_t n = MIN(file->nmodels, COUNT(names));
    for (size_t i = 0; i < file->nmodels; i++) {
        m->decl = &file->models[i];
        if (!strcmp(m->decl->name.text, name)) return FRAX_OK;
        if (i < n) names[i] = m->decl->name.text;
    }
    const char *near = nearest_name(name, names, n);
    return fail(err, FRAX_NAME, "%s has no model '%s'; %s '%s'%s", m->source.file, name,
                near ? "did you mean" : "the first one is", near ? near : names[0], near ? "?" : "");
}

/* Names of models, of functions: once each, and no function under the name of a built-in. */
static FraxStatus check_file(const FraxModel *m, FraxError *err) {
    const File *file = &m->file;
    NameMap known = {0};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < file->nmodels + file->nfns && !status; i++) {
        bool model = i < file->nmodels;
        const Name *name = model ? &file->models[i].name : &file->fns[i - file->nmodels].name;
        if (i == file->nmodels) names_free(&known);
        if (names_find(&known, name->text))
            status = fail_at(err, FRAX_NAME, &m->source, name->loc, "a second %s is called '%s'",
                             model ? "model" : "function", name->text);
        else if (!model && find_builtin(name->text))
            status = fail_at(err, FRAX_NAME, &m->source, name->loc,
                             "'%s' is a built-in function; choose another name", name->text);
        else if (!names_add(&known, name->text, 0))
            status = fail_memory(err, "reading a model");
    }
    names_free(&known);
    return status;
}

FraxStatus model_parse(const char *text, size_t len, const char *file, const char *name, FraxModel **out,
                       FraxError *err) {
    *out = NULL;
    if (len > LONGEST_TEXT)
        return fail(err, FRAX_SYNTAX, "%s: the text has %zu bytes, the limit is %d", file, len, LONGEST_TEXT);
    FraxModel *m = mem_calloc(1, sizeof *m);
    if (!m) return fail_memory(err, "reading a model");
    m->kind = HANDLE_MODEL;
    m->source.text = arena_strndup(&m->arena, text, len);
    m->source.file = arena_strndup(&m->arena, file, strlen(file));
    FraxStatus status = m->source.text && m->source.file ? FRAX_OK : fail_memory(err, "reading a model");
    if (!status) status = parse_file(&m->source, len, &m->arena, &m->file, err);
    if (!status) status = check_file(m, err);
    if (!status) status = pick_model(m, name, err);
    if (!status) status = model_declare(m, err);
    if (status)
        model_destroy(m);
    else
        *out = m;
    return status;
}

void model_destroy(FraxModel *model) {
    if (!handle_is(model, HANDLE_MODEL)) return;
    arena_free(&model->arena);
    handle_free(model);
}

/* ---- What it declares ---- */

const char *model_name(const FraxModel *model) {
    return model->decl->name.text;
}

const char *model_text(const FraxModel *model) {
    return model->source.text;
}

size_t model_size_count(const FraxModel *model) {
    return model->nsizes;
}

const char *model_size_name(const FraxModel *model, size_t i) {
    return i < model->nsizes ? model->sizes[i] : NULL;
}

size_t model_count(const FraxModel *model, FraxRole role) {
    const ModelDecl *decl = model->decl;
    return role == FRAX_INPUT ? decl->ninputs : role == FRAX_PARAM ? decl->nparams : decl->body.nreturns;
}

const char *model_value_name(const FraxModel *model, FraxRole role, size_t i) {
    const ModelDecl *decl = model->decl;
    if (i >= model_count(model, role)) return NULL;
    if (role == FRAX_OUTPUT)
        return decl->body.returns[i]->kind == EXPR_NAME ? decl->body.returns[i]->text : NULL;
    return (role == FRAX_INPUT ? decl->inputs : decl->params)[i].name.text;
}

const char *model_value_type(const FraxModel *model, FraxRole role, size_t i) {
    return i < model_count(model, role) && model->types[role] ? model->types[role][i] : NULL;
}

FraxDType model_value_dtype(const FraxModel *model, FraxRole role, size_t i) {
    return (role == FRAX_INPUT ? model->decl->inputs : model->decl->params)[i].type.dtype;
}

bool model_is_key(const FraxModel *model, size_t i) {
    return i < model->decl->ninputs && model->decl->inputs[i].type.is_key;
}

/* ---- Its graph ---- */

FraxStatus locate_fault(const FraxModel *model, const Text *trace, FraxError *err) {
    if (err->status == FRAX_MEMORY) return err->status;
    locate_error(err, &model->source, (Loc){err->line, err->column});
    size_t used = strlen(err->message);
    if (trace->data) snprintf(err->message + used, sizeof err->message - used, "%s", trace->data);
    return err->status;
}

FraxStatus model_locate(const FraxModel *model, FraxError *err) {
    return locate_error(err, &model->source, (Loc){err->line, err->column});
}

FraxStatus model_lower(const FraxModel *model, const int64_t *values, Graph **graph, FraxError *err) {
    FraxError local;
    Text trace = {0};
    err = err ? err : &local;
    FraxStatus status = lower_model(model, values, SIZES_GIVEN, graph, &trace, err);
    if (status) locate_fault(model, &trace, err);
    text_free(&trace);
    return status;
}
