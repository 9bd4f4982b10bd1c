// SPDX-License-Identifier: Apache-2.0
// A map from names to variables on the heap: the address of a variable never changes.

#include "common/exec/scope.h"

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"

struct scope {
    struct map vars;
};

struct scope *scope_new(void)
{
    struct scope *scope = MEM_NEW(struct scope);
    map_init(&scope->vars);
    return scope;
}

void scope_free(struct scope *scope)
{
    if (scope == NULL)
        return;
    for (const struct map_entry *e = map_first(&scope->vars); e != NULL; e = map_next(e)) {
        variable_deinit(map_value(e));
        mem_free(map_value(e));
    }
    map_deinit(&scope->vars);
    mem_free(scope);
}

struct variable *scope_find(const struct scope *scope, const char *name)
{
    return map_get(&scope->vars, name);
}

struct variable *scope_var(struct scope *scope, const char *name)
{
    struct variable *var = map_get(&scope->vars, name);
    if (var == NULL) {
        var = MEM_NEW(struct variable);
        variable_init(var);
        map_set(&scope->vars, name, var);
    }
    return var;
}

void scope_remove(struct scope *scope, const char *name)
{
    struct variable *var = map_remove(&scope->vars, name);
    variable_deinit(var);
    mem_free(var);
}

void scope_names(const struct scope *scope, struct str_list *out)
{
    for (const struct map_entry *e = map_first(&scope->vars); e != NULL; e = map_next(e))
        str_list_add(out, map_key(e));
    str_list_sort(out);
}
