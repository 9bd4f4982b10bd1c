// SPDX-License-Identifier: Apache-2.0
// The recommender system of Fluid's book (MovieLens): user and movie become vectors of 200, and
// their cosine, times 5, is the rating. A movie's categories are added up, its title goes through a
// convolution over three words.

#include "common/zoo/recommender.h"

#define CATEGORIES 18
#define TITLE_WORDS 5175
#define MOVIE_WIDTH 32
#define COMBINED 200

struct feature {
    const char *name, *table;
    int64_t rows, width;   // of the table
};

static const struct feature user_features[] = {{"user_id", "user_table", 6041, 32},
                                               {"gender_id", "gender_table", 2, 16},
                                               {"age_id", "age_table", 7, 16},
                                               {"job_id", "job_table", 21, 16}};
static const struct feature movie_id = {"movie_id", "movie_table", 3953, MOVIE_WIDTH};

static sl_var *feed(sl_net *net, const char *name, int lod_level, struct zoo_network *out)
{
    sl_var *var = lod_level ? sl_data_lod(net, name, SL_INT64, SL_SHAPE(-1, 1), lod_level)
                            : sl_data(net, name, SL_INT64, SL_SHAPE(1));
    return out->feeds[out->feeds_count++] = var;
}

// An id through its table and an fc.
static sl_var *one_id(sl_net *net, const struct zoo_options *options, const struct feature *feature,
                      struct zoo_network *out)
{
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr attr = sl_param_attr_defaults();
    attr.name = feature->table;
    table.param_attr = &attr;
    sl_var *id = feed(net, feature->name, 0, out);
    sl_var *row = sl_embedding(net, id, feature->rows, feature->width, &table);
    return sl_fc(net, row, feature->width, NULL);
}

static sl_var *combine(sl_net *net, sl_var *const *parts, size_t count)
{
    struct sl_fc_options tanh = sl_fc_defaults();
    tanh.act = "tanh";
    return sl_fc(net, sl_concat(net, parts, count, 1), COMBINED, &tanh);
}

static sl_var *user_part(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    sl_var *parts[4];
    for (size_t i = 0; i < 4; i++)
        parts[i] = one_id(net, options, &user_features[i], out);
    return combine(net, parts, 4);
}

static sl_var *movie_part(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_embedding_options table = zoo_table(options);
    sl_var *parts[3];
    parts[0] = one_id(net, options, &movie_id, out);
    sl_var *categories = feed(net, "category_id", 1, out);
    parts[1] = sl_sequence_pool(net, sl_embedding(net, categories, CATEGORIES, MOVIE_WIDTH, &table),
                                "sum");
    sl_var *title = feed(net, "movie_title", 1, out);
    sl_var *words = sl_embedding(net, title, TITLE_WORDS, MOVIE_WIDTH, &table);
    parts[2] = sl_sequence_conv_pool(net, words, MOVIE_WIDTH, 3, "tanh", "sum", NULL, NULL);
    return combine(net, parts, 3);
}

void recommender_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    sl_var *user = user_part(net, options, out);
    sl_var *movie = movie_part(net, options, out);
    out->predict = sl_scale(net, sl_cos_sim(net, user, movie), 5.0, 0.0);
    sl_var *score = sl_data(net, "score", SL_FP32, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = score;
    out->loss = sl_mean(net, sl_square_error_cost(net, out->predict, score));
}
