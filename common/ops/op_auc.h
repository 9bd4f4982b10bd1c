// SPDX-License-Identifier: Apache-2.0
// What the operator auc makes of counts.
#pragma once

#include <stdint.h>

// The area under the ROC curve of positives and negatives by bucket of score, ascending; 0 when
// there are none of one kind.
double op_auc_area(const int64_t *pos, const int64_t *neg, int64_t buckets);
