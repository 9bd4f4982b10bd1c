// SPDX-License-Identifier: Apache-2.0
// Feeds int64 user_id, gender_id, age_id, job_id, movie_id [N,1], the sequences category_id and
// movie_title, and the score [N,1].
#pragma once

#include "common/zoo/zoo.h"

void recommender_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
