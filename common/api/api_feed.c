// SPDX-License-Identifier: Apache-2.0
// Feeds, fetches and the scope's variables: values across the border. Feeds are copied in once when
// they are set and used in place by every run; fetches and scope values are views.

#include <math.h>
#include <string.h>

#include "common/api/api_private.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/scope.h"

static int set_value(struct variable *var, const char *name, const struct sl_tensor *value,
                     struct err *err);
static int set_lod(struct tensor *t, const char *name, const struct sl_tensor *value,
                   struct err *err);
static double element(const struct sl_tensor *t);

sl_feed *sl_feed_new(void)
{
    return MEM_NEW(struct api_feed);
}

void sl_feed_free(sl_feed *feed)
{
    if (feed == NULL)
        return;
    sl_feed_clear(feed);
    mem_free(feed->values);
    mem_free(feed);
}

void sl_feed_clear(sl_feed *feed)
{
    for (size_t i = 0; i < feed->names.count; i++) {
        variable_deinit(feed->values[i]);
        mem_free(feed->values[i]);
    }
    str_list_deinit(&feed->names);
    feed->names = (struct str_list){0};
}

int sl_feed_set(sl_feed *feed, const char *name, const struct sl_tensor *value,
                struct sl_error *err)
{
    struct err inner = {0};
    size_t i = 0;
    if (name == NULL)
        return api_executor_error(err,
                                  (err_set(&inner, SL_EINVAL, "feed: no name (NULL)"), &inner));
    while (i < feed->names.count && !str_eq(feed->names.items[i], name))
        i++;
    if (i == feed->names.count) {
        MEM_GROW(feed->values, feed->names.count, feed->cap);
        feed->values[i] = MEM_NEW(struct variable);
        variable_init(feed->values[i]);
        str_list_add(&feed->names, name);
    }
    if (set_value(feed->values[i], name, value, &inner) < 0)
        return api_executor_error(err, &inner);
    return 0;
}

sl_fetch *sl_fetch_new(void)
{
    return MEM_NEW(struct api_fetch);
}

void sl_fetch_free(sl_fetch *fetch)
{
    if (fetch == NULL)
        return;
    for (size_t i = 0; i < fetch->count; i++)
        mem_free((char *)fetch->items[i].name);
    mem_free(fetch->items);
    mem_free(fetch->tensors);
    mem_free(fetch);
}

void sl_fetch_add(sl_fetch *fetch, const char *name)
{
    if (fetch->count >= fetch->cap) {
        fetch->cap = fetch->cap ? fetch->cap * 2 : 8;
        fetch->items = mem_must_realloc(fetch->items, fetch->cap * sizeof *fetch->items);
        fetch->tensors = mem_must_realloc(fetch->tensors, fetch->cap * sizeof *fetch->tensors);
    }
    fetch->items[fetch->count] = (struct executor_fetch){.name = mem_must_strdup(name ? name : "")};
    memset(&fetch->tensors[fetch->count], 0, sizeof *fetch->tensors);
    fetch->count++;
    fetch->ran = false;
}

size_t sl_fetch_count(const sl_fetch *fetch)
{
    return fetch->count;
}

const struct sl_tensor *sl_fetch_get(const sl_fetch *fetch, size_t i)
{
    return fetch->ran && i < fetch->count ? &fetch->tensors[i] : NULL;
}

double sl_fetch_number(const sl_fetch *fetch, size_t i)
{
    const struct sl_tensor *t = sl_fetch_get(fetch, i);
    return t != NULL && t->data != NULL && t->bytes > 0 ? element(t) : (double)NAN;
}

bool sl_scope_has(const sl_executor *exe, const char *name)
{
    const struct variable *var = scope_find(exe->scope, name);
    return var != NULL && var->kind != VARIABLE_EMPTY;
}

int sl_scope_get(const sl_executor *exe, const char *name, struct sl_tensor *out,
                 struct sl_error *err)
{
    struct err inner = {0};
    const struct variable *var = scope_find(exe->scope, name);
    if (var == NULL || var->kind == VARIABLE_EMPTY)
        err_set(&inner, SL_ENOENT, "scope: `%s` holds nothing: run the start-up program first",
                name);
    else if (!api_feed_view(var, out))
        err_set(&inner, SL_EUNSUPPORTED, "scope: `%s` holds selected rows, not a dense tensor",
                name);
    return inner.code == 0 ? 0 : api_executor_error(err, &inner);
}

int sl_scope_set(sl_executor *exe, const char *name, const struct sl_tensor *value,
                 struct sl_error *err)
{
    struct err inner = {0};
    if (set_value(scope_var(exe->scope, name), name, value, &inner) < 0)
        return api_executor_error(err, &inner);
    return 0;
}

bool api_feed_view(const struct variable *var, struct sl_tensor *view)
{
    memset(view, 0, sizeof *view);
    if (var == NULL || var->kind != VARIABLE_TENSOR)
        return false;
    const struct tensor *t = &var->tensor;
    view->dtype = (enum sl_dtype)t->dtype;
    view->shape.rank = t->dims.rank;
    memcpy(view->shape.d, t->dims.d, sizeof view->shape.d);
    view->data = t->data;
    view->bytes = (size_t)tensor_bytes(t);
    for (int i = 0; i < t->lod_levels && i < SL_LOD_MAX; i++) {
        view->lod[i] = t->lod[i].offsets;
        view->lod_count[i] = t->lod[i].count;
        view->lod_levels = i + 1;
    }
    return true;
}

static int set_value(struct variable *var, const char *name, const struct sl_tensor *value,
                     struct err *err)
{
    if (!dtype_is_valid((int)value->dtype) || value->shape.rank < 0 ||
        value->shape.rank > SL_RANK_MAX)
        return err_set(err, SL_EINVAL, "%s: element type %d or rank %d is not valid", name,
                       (int)value->dtype, value->shape.rank);
    struct tensor *t = variable_tensor(var);
    struct dims dims = {.rank = value->shape.rank};
    memcpy(dims.d, value->shape.d, sizeof dims.d);
    int rc = tensor_resize(t, (enum dtype)value->dtype, &dims);
    if (rc < 0) {
        char text[DIMS_TEXT_MAX];
        return err_set(err, rc, "%s: a tensor of shape %s: %s", name, dims_format(&dims, text),
                       err_name(rc));
    }
    size_t bytes = (size_t)tensor_bytes(t);
    if (bytes > 0 && value->data == NULL)
        return err_set(err, SL_EINVAL, "%s: no data (NULL) for %zu bytes", name, bytes);
    if (bytes > 0)
        memcpy(t->data, value->data, bytes);
    return set_lod(t, name, value, err);
}

static int set_lod(struct tensor *t, const char *name, const struct sl_tensor *value,
                   struct err *err)
{
    struct lod_level levels[SL_LOD_MAX];
    if (value->lod_levels < 0 || value->lod_levels > SL_LOD_MAX)
        return err_set(err, SL_EINVAL, "%s: %d LoD levels; 0..%d are allowed", name,
                       value->lod_levels, SL_LOD_MAX);
    tensor_clear_lod(t);
    for (int i = 0; i < value->lod_levels; i++) {
        const uint64_t *offsets = value->lod[i];
        size_t count = value->lod_count[i];
        bool good = offsets != NULL && count > 0 && offsets[0] == 0;
        for (size_t k = 1; good && k < count; k++)
            good = offsets[k] >= offsets[k - 1];
        uint64_t end = i + 1 < value->lod_levels ? value->lod_count[i + 1] - 1
                                                 : (uint64_t)(t->dims.rank > 0 ? t->dims.d[0] : 0);
        if (!good || offsets[count - 1] != end)
            return err_set(
                err, SL_EINVAL,
                "%s: LoD level %d: offsets must begin with 0, not fall, and end with %llu", name, i,
                (unsigned long long)end);
        levels[i] = (struct lod_level){.offsets = (uint64_t *)offsets, .count = count};
    }
    if (value->lod_levels == 0)
        return 0;
    int rc = tensor_set_lod(t, value->lod_levels, levels);
    return rc < 0 ? err_set(err, rc, "%s: LoD: %s", name, err_name(rc)) : 0;
}

static double element(const struct sl_tensor *t)
{
    switch (t->dtype) {
    case SL_FP32:
        return (double)*(const float *)t->data;
    case SL_FP64:
        return *(const double *)t->data;
    case SL_INT64:
        return (double)*(const int64_t *)t->data;
    case SL_INT32:
        return *(const int32_t *)t->data;
    case SL_INT16:
        return *(const int16_t *)t->data;
    case SL_INT8:
        return *(const int8_t *)t->data;
    case SL_UINT8:
    case SL_BOOL:
        return *(const uint8_t *)t->data;
    case SL_FP16:
        break;
    }
    return (double)NAN;
}
