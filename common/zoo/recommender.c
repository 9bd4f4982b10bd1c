// SPDX-License-Identifier: Apache-2.0
// The part of Fluid's book's recommender system that reads one id a feature: user and movie become
// vectors of 200, and their cosine, times 5, is the rating.

#include "common/zoo/recommender.h"

struct feature {
    const char *name;
    int64_t rows, width;   // of the table
};

static const struct feature user_features[] = {
    {"user_id", 6041, 32}, {"gender_id", 2, 16}, {"age_id", 7, 16}, {"job_id", 21, 16}};
static const struct feature movie_features[] = {{"movie_id", 3953, 32}};

// Each id through a table and an fc, joined, then one fc of tanh.
static sl_var *combine(sl_net *net, const struct feature *features, size_t count,
                       struct zoo_network *out)
{
    struct sl_fc_options tanh = sl_fc_defaults();
    sl_var *parts[8];
    tanh.act = "tanh";
    for (size_t i = 0; i < count; i++) {
        sl_var *id = sl_data(net, features[i].name, SL_INT64, SL_SHAPE(1));
        out->feeds[out->feeds_count++] = id;
        sl_var *row = sl_embedding(net, id, features[i].rows, features[i].width, NULL);
        parts[i] = sl_fc(net, row, features[i].width, NULL);
    }
    sl_var *joined = count > 1 ? sl_concat(net, parts, count, 1) : parts[0];
    return sl_fc(net, joined, 200, &tanh);
}

void recommender_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    (void)options;
    sl_var *user = combine(net, user_features, sizeof user_features / sizeof *user_features, out);
    sl_var *movie =
        combine(net, movie_features, sizeof movie_features / sizeof *movie_features, out);
    sl_var *score = sl_data(net, "score", SL_FP32, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = score;
    out->predict = sl_scale(net, sl_cos_sim(net, user, movie), 5.0, 0.0);
    out->loss = sl_mean(net, sl_square_error_cost(net, out->predict, score));
}
