// SPDX-License-Identifier: Apache-2.0
// The sums of op_crf.c over one sequence for one element type: CHAIN_T, with CHAIN(name) making
// names. Rows of `tags` elements; w are the exponentials of Transition: its row 0 starts, row 1
// ends a sequence, row 2 + i leads from tag i on. No include guard: it is a template.

struct CHAIN(chain) {
    int64_t length, tags;
    const CHAIN_T *x;        // Emission
    const CHAIN_T *x_exps;   // e^(x - the largest of its row)
    const CHAIN_T *scores;   // Transition
    const CHAIN_T *w;
    const int64_t *label;
};

// Makes the elements sum to 1; returns what they summed to.
static CHAIN_T CHAIN(normalise)(int64_t n, CHAIN_T *x)
{
    CHAIN_T sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    CHAIN_T scale = 1 / sum;
    for (int64_t i = 0; i < n; i++)
        x[i] *= scale;
    return sum;
}

// out[i] = sum over j of from[j] w[j][i].
OP_CLONES static void CHAIN(pass_on)(int64_t n, const CHAIN_T *restrict from,
                                     const CHAIN_T *restrict w, CHAIN_T *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = 0;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++)
            out[i] += from[j] * w[j * n + i];
}

OP_CLONES static void CHAIN(multiply)(int64_t n, const CHAIN_T *restrict a,
                                      const CHAIN_T *restrict b, CHAIN_T *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

// exps[i] = e^(x[i] - the row's largest), which is returned.
OP_CLONES static CHAIN_T CHAIN(row_exps)(int64_t n, const CHAIN_T *restrict x,
                                         CHAIN_T *restrict exps)
{
    CHAIN_T largest = x[0];
    for (int64_t i = 1; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (int64_t i = 0; i < n; i++)
        exps[i] = VMATH_EXP(x[i] - largest);
    return largest;
}

OP_CLONES static void CHAIN(exps)(int64_t n, const CHAIN_T *restrict x, CHAIN_T *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = VMATH_EXP(x[i]);
}

// ln Z - the score of the labels; alpha is written. A negative result of *out_sum, 0, or NaN tells
// that no path has a probability that can be held.
static CHAIN_T CHAIN(cost)(const struct CHAIN(chain) * c, CHAIN_T *alpha, const CHAIN_T *largest,
                           bool *out_ok)
{
    const int64_t n = c->tags;
    CHAIN(multiply)(n, c->w, c->x_exps, alpha);
    CHAIN_T sum = CHAIN(normalise)(n, alpha), ll = -largest[0] - CHAIN_LOG(sum);
    bool ok = sum != 0;
    for (int64_t k = 1; k < c->length; k++) {
        CHAIN_T *row = alpha + k * n;
        CHAIN(pass_on)(n, row - n, c->w + 2 * n, row);
        for (int64_t i = 0; i < n; i++)
            row[i] *= c->x_exps[k * n + i];
        sum = CHAIN(normalise)(n, row);
        ok = ok && sum != 0;
        ll -= largest[k] + CHAIN_LOG(sum);
    }
    sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += alpha[(c->length - 1) * n + i] * c->w[n + i];
    ll -= CHAIN_LOG(sum);
    const int64_t *l = c->label;
    ll += c->scores[l[0]] + c->x[l[0]] + c->scores[n + l[c->length - 1]];
    for (int64_t k = 1; k < c->length; k++)
        ll += c->x[k * n + l[k]] + c->scores[(2 + l[k - 1]) * n + l[k]];
    *out_ok = ok && sum != 0;
    return -ll;
}

// beta[k] = what follows row k, as a share; onward[k] = x_exps[k] beta[k]. wt is w from row 2 on,
// transposed.
static void CHAIN(betas)(const struct CHAIN(chain) * c, const CHAIN_T *wt, CHAIN_T *beta,
                         CHAIN_T *onward)
{
    const int64_t n = c->tags;
    for (int64_t k = c->length - 1; k >= 0; k--) {
        CHAIN_T *row = beta + k * n;
        if (k == c->length - 1)
            memcpy(row, c->w + n, (size_t)n * sizeof *row);
        else
            CHAIN(pass_on)(n, onward + (k + 1) * n, wt, row);
        CHAIN(normalise)(n, row);
        CHAIN(multiply)(n, c->x_exps + k * n, row, onward + k * n);
        CHAIN(normalise)(n, onward + k * n);
    }
}

// dw += scale * from[i] w[i][j] to[j] of all pairs.
OP_CLONES static void CHAIN(add_pairs)(int64_t n, CHAIN_T scale, const CHAIN_T *restrict from,
                                       const CHAIN_T *restrict to, const CHAIN_T *restrict w,
                                       CHAIN_T *restrict dw)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            dw[i * n + j] += scale * (w[i * n + j] * from[i] * to[j]);
}

// dx is written: dcost (the share of the paths through each tag, less 1 at the label).
static void CHAIN(emission_back)(const struct CHAIN(chain) * c, CHAIN_T dcost, const CHAIN_T *alpha,
                                 const CHAIN_T *beta, CHAIN_T *dx)
{
    const int64_t n = c->tags;
    for (int64_t k = 0; k < c->length; k++) {
        CHAIN_T *row = dx + k * n;
        CHAIN(multiply)(n, alpha + k * n, beta + k * n, row);
        CHAIN(normalise)(n, row);
        row[c->label[k]] -= 1;
        for (int64_t i = 0; i < n; i++)
            row[i] *= dcost;
    }
}

// dscores is added to, from dx and from the share of each pair of tags. scratch: a row.
static void CHAIN(transition_back)(const struct CHAIN(chain) * c, CHAIN_T dcost,
                                   const CHAIN_T *alpha, const CHAIN_T *onward, const CHAIN_T *dx,
                                   CHAIN_T *scratch, CHAIN_T *dscores)
{
    const int64_t n = c->tags;
    for (int64_t i = 0; i < n; i++) {
        dscores[i] += dx[i];
        dscores[n + i] += dx[(c->length - 1) * n + i];
    }
    for (int64_t k = 1; k < c->length; k++) {
        const CHAIN_T *from = alpha + (k - 1) * n, *to = onward + k * n;
        CHAIN_T sum = 0;
        CHAIN(pass_on)(n, from, c->w + 2 * n, scratch);
        for (int64_t i = 0; i < n; i++)
            sum += scratch[i] * to[i];
        CHAIN(add_pairs)(n, dcost / sum, from, to, c->w + 2 * n, dscores + 2 * n);
        dscores[(2 + c->label[k - 1]) * n + c->label[k]] -= dcost;
    }
}
