// SPDX-License-Identifier: Apache-2.0
// The loops of lstm_cell.c for one element type: CELL_T, with CELL(name) making names.
// No include guard: it is a template.

// x += y z.
OP_CLONES static void CELL(add_product)(int64_t n, CELL_T *restrict x, const CELL_T *restrict y,
                                        const CELL_T *restrict z)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i] * z[i];
}

// x = y z.
OP_CLONES static void CELL(product)(int64_t n, CELL_T *restrict x, const CELL_T *restrict y,
                                    const CELL_T *restrict z)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = y[i] * z[i];
}

// x *= y.
OP_CLONES static void CELL(scale)(int64_t n, CELL_T *restrict x, const CELL_T *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= y[i];
}

// c and s become the new state, held within the clip.
OP_CLONES static void CELL(update)(int64_t n, const CELL_T *restrict gates,
                                   const CELL_T *restrict before, CELL_T clip, CELL_T *restrict c,
                                   CELL_T *restrict s)
{
    for (int64_t i = 0; i < n; i++)
        c[i] = gates[i] * gates[n + i];
    for (int64_t i = 0; before != NULL && i < n; i++)
        c[i] += before[i] * gates[2 * n + i];
    for (int64_t i = 0; clip > 0 && i < n; i++) {
        CELL_T low = c[i] < -clip ? -clip : c[i];
        c[i] = low > clip ? clip : low;
    }
    for (int64_t i = 0; i < n; i++)
        s[i] = c[i];
}

void CELL(lstm_cell_forward)(const struct lstm_cell *cell, int64_t rows, CELL_T *gates,
                             const CELL_T *before, CELL_T *c, CELL_T *s, CELL_T *h)
{
    const int64_t n = cell->width;
    const CELL_T *check = cell->check;
    for (int64_t r = 0; r < rows; r++) {
        if (check != NULL && before != NULL) {
            CELL(add_product)(n, gates + n, before, check);
            CELL(add_product)(n, gates + 2 * n, before, check + n);
        }
        CELL(gate_act_apply)(cell->candidate, n, gates);
        CELL(gate_act_apply)(cell->gate, 2 * n, gates + n);
        CELL(update)(n, gates, before, (CELL_T)cell->clip, c, s);
        if (check != NULL)
            CELL(add_product)(n, gates + 3 * n, c, check + 2 * n);
        CELL(gate_act_apply)(cell->gate, n, gates + 3 * n);
        CELL(gate_act_apply)(cell->state, n, s);
        CELL(product)(n, h, gates + 3 * n, s);
        gates += 4 * n;
        before = before ? before + n : NULL;
        c += n;
        s += n;
        h += n;
    }
}

// dc += ds, then the gradients of a, i and f before their activations. ds lies in d[0..n).
OP_CLONES static void CELL(spread)(int64_t n, const CELL_T *restrict gates,
                                   const CELL_T *restrict before, const CELL_T *restrict c,
                                   CELL_T clip, CELL_T *restrict d, CELL_T *restrict dc)
{
    for (int64_t i = 0; i < n; i++)
        dc[i] += d[i];
    for (int64_t i = 0; clip > 0 && i < n; i++)
        dc[i] = c[i] >= clip || c[i] <= -clip ? 0 : dc[i];
    for (int64_t i = 0; i < n; i++) {
        d[i] = dc[i] * gates[n + i];
        d[n + i] = dc[i] * gates[i];
    }
    for (int64_t i = 0; i < n; i++)
        d[2 * n + i] = before != NULL ? dc[i] * before[i] : 0;
}

void CELL(lstm_cell_backward)(const struct lstm_cell *cell, int64_t rows,
                              const struct lstm_cell_back *back)
{
    const int64_t n = cell->width;
    const CELL_T *check = cell->check;
    for (int64_t r = 0; r < rows; r++) {
        const CELL_T *gates = (const CELL_T *)back->gates + 4 * n * r;
        const CELL_T *before = back->before ? (const CELL_T *)back->before + n * r : NULL;
        const CELL_T *c = (const CELL_T *)back->c + n * r, *s = (const CELL_T *)back->s + n * r;
        const CELL_T *dh = (const CELL_T *)back->dh + n * r;
        CELL_T *d = (CELL_T *)back->dgates + 4 * n * r, *dc = (CELL_T *)back->dc + n * r;
        CELL_T *dcheck = back->dcheck;
        CELL(product)(n, d + 3 * n, dh, s);
        CELL(product)(n, d, dh, gates + 3 * n);
        CELL(gate_act_back)(cell->gate, n, d + 3 * n, gates + 3 * n);
        CELL(gate_act_back)(cell->state, n, d, s);
        if (check != NULL)
            CELL(add_product)(n, dc, d + 3 * n, check + 2 * n);
        CELL(spread)(n, gates, before, c, (CELL_T)cell->clip, d, dc);
        CELL(gate_act_back)(cell->candidate, n, d, gates);
        CELL(gate_act_back)(cell->gate, 2 * n, d + n, gates + n);
        CELL(scale)(n, dc, gates + 2 * n);
        if (check != NULL) {
            CELL(add_product)(n, dc, d + n, check);
            CELL(add_product)(n, dc, d + 2 * n, check + n);
        }
        if (dcheck != NULL && before != NULL) {
            CELL(add_product)(n, dcheck, d + n, before);
            CELL(add_product)(n, dcheck + n, d + 2 * n, before);
        }
        if (dcheck != NULL)
            CELL(add_product)(n, dcheck + 2 * n, d + 3 * n, c);
    }
}
