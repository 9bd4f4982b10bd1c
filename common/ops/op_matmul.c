// SPDX-License-Identifier: Apache-2.0
// matmul and bmm: Out = alpha op(X) op(Y), matrices in the last two dimensions, op(A) = A or its
// transpose. A vector X [k] is the row [1, k], a vector Y [k] the column [k, 1]; the side of 1 that
// this makes in Out is dropped. Dimensions in front count one batch: both have the same size of
// batch, or one side has a single matrix that meets every matrix of the other side.
//
//   backward  with A = op(X) [m, k], B = op(Y) [k, n]: dA = alpha dOut B^T, dB = alpha A^T dOut,
//             summed over the batch for a single matrix
//
// bmm is matmul of [b, m, k] and [b, k, n] without attributes.

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_matmul, op_matmul_grad;
extern const struct op_def op_matmul_batch, op_matmul_batch_grad;

enum { MATMUL_TRANSPOSE_X, MATMUL_TRANSPOSE_Y, MATMUL_ALPHA, MATMUL_HEADS, MATMUL_RESHAPE };
static const struct op_attr_def matmul_attrs[] = {
    OP_ATTR_BOOL("transpose_X", 0),
    OP_ATTR_BOOL("transpose_Y", 0),
    OP_ATTR_FLOAT("alpha", 1),
    OP_ATTR_INT("head_number", 1),
    OP_ATTR_LIST("fused_reshape_Out", ATTR_INTS),
    OP_ATTR_LIST("fused_transpose_Out", ATTR_INTS),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_quantizer", 0),
    OP_ATTR_FLOAT("Scale_x", 1),
    OP_ATTR_FLOAT("Scale_y", 1),
    OP_ATTR_FLOAT("Scale_out", 1),
    OP_ATTR_BOOL("force_fp32_output", 0),
    {.name = NULL},
};
static const struct op_attr_def bmm_attrs[] = {{.name = NULL}};

enum { MATMUL_X, MATMUL_Y, MATMUL_DOUT };
static const struct op_slot_def matmul_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def matmul_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def matmul_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { MATMUL_DX, MATMUL_DY };
static const struct op_slot_def matmul_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// A side as it lies in memory. single: no batch dimensions; batch is then 1.
struct side {
    bool transposed, single;
    int64_t batch, rows, cols;
};

struct matmul {
    struct side x, y;
    int64_t batch, m, n, k;
    float alpha;
};

static struct side side_of(const struct dims *d, bool is_x, bool transposed)
{
    struct side s = {.transposed = transposed, .single = d->rank <= 2, .batch = 1};
    for (int i = 0; i < d->rank - 2; i++)
        s.batch = s.batch < 0 || d->d[i] < 0 ? -1 : s.batch * d->d[i];
    s.rows = d->rank > 1 ? d->d[d->rank - 2] : is_x ? 1 : d->d[0];
    s.cols = d->rank > 1 ? d->d[d->rank - 1] : is_x ? d->d[0] : 1;
    return s;
}

static int read_matmul(const struct op_def *def, const struct attr *const *attr,
                       const struct dims *x, const struct dims *y, struct matmul *out,
                       struct err *err)
{
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    bool plain = def->attrs == bmm_attrs;
    if (x->rank < 1 || y->rank < 1 || (plain && (x->rank != 3 || y->rank != 3)))
        return err_set(err, SL_EINVAL, "X %s and Y %s must have %s dimension%s",
                       dims_format(x, x_text), dims_format(y, y_text),
                       plain ? "three" : "at least one", plain ? "s" : "");
    if (!plain && (attr[MATMUL_HEADS]->i > 1 || attr[MATMUL_RESHAPE]->count > 0 ||
                   attr[MATMUL_RESHAPE + 1]->count > 0))
        return err_set(err, SL_EUNSUPPORTED,
                       "head_number and the fused_ attributes are for MKL only");
    out->alpha = plain ? 1 : attr[MATMUL_ALPHA]->f;
    out->x = side_of(x, true, !plain && attr_bool(attr[MATMUL_TRANSPOSE_X]));
    out->y = side_of(y, false, !plain && attr_bool(attr[MATMUL_TRANSPOSE_Y]));
    out->m = out->x.transposed ? out->x.cols : out->x.rows;
    out->k = out->x.transposed ? out->x.rows : out->x.cols;
    out->n = out->y.transposed ? out->y.rows : out->y.cols;
    int64_t y_k = out->y.transposed ? out->y.cols : out->y.rows;
    bool batches = out->x.single || out->y.single || op_dims_fit(out->x.batch, out->y.batch);
    if (!op_dims_fit(out->k, y_k) || !batches)
        return err_set(err, SL_EMISMATCH, "X %s%s and Y %s%s cannot be multiplied: %s",
                       dims_format(x, x_text), out->x.transposed ? " (transposed)" : "",
                       dims_format(y, y_text), out->y.transposed ? " (transposed)" : "",
                       batches ? "inner sizes differ" : "batch sizes differ");
    out->batch = out->x.single ? out->y.batch : out->x.batch;
    return 0;
}

static void out_dims(const struct matmul *mm, const struct dims *x, const struct dims *y,
                     struct dims *out)
{
    const struct dims *batch = mm->x.single ? y : x;
    *out = (struct dims){.rank = 0};
    for (int i = 0; i < batch->rank - 2; i++)
        out->d[out->rank++] = batch->d[i];
    if (x->rank > 1 || mm->m != 1)
        out->d[out->rank++] = mm->m;
    if (y->rank > 1 || mm->n != 1)
        out->d[out->rank++] = mm->n;
    if (out->rank == 0)
        out->d[out->rank++] = 1;
}

static int matmul_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MATMUL_X, 0),
                             *y = op_shape_in(shape, MATMUL_Y, 0);
    struct matmul mm;
    struct dims out;
    int rc = read_matmul(shape->def, shape->attr, &x->dims, &y->dims, &mm, shape->err);
    if (rc < 0)
        return rc;
    out_dims(&mm, &x->dims, &y->dims, &out);
    op_shape_set(shape, 0, 0, &out, x->dtype, x);
    return 0;
}

static int matmul_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MATMUL_X, 0),
                             *y = op_shape_in(shape, MATMUL_Y, 0);
    struct matmul mm;
    struct dims out;
    int rc = read_matmul(shape->def, shape->attr, &x->dims, &y->dims, &mm, shape->err);
    if (rc < 0)
        return rc;
    out_dims(&mm, &x->dims, &y->dims, &out);
    const struct dims *dout = &op_shape_in(shape, MATMUL_DOUT, 0)->dims;
    bool fits = dout->rank == out.rank;
    for (int i = 0; fits && i < out.rank; i++)
        fits = op_dims_fit(dout->d[i], out.d[i]);
    char text[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX];
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD is %s, Out is %s",
                       dims_format(dout, text), dims_format(&out, want));
    op_shape_default(shape);
    return 0;
}

// One operand of the products below: its memory, how far the next matrix is, how it is read.
struct operand {
    const char *data;
    int64_t step, row;
    bool transposed;
};

static struct operand operand_of(const struct tensor *t, const struct side *s, bool transposed)
{
    return (struct operand){t->data, s->single ? 0 : s->rows * s->cols, s->cols, transposed};
}

// c[m, n] = alpha a[m, k] b[k, n] for each of the batch; summed when c is a single matrix.
static void multiply(const struct matmul *mm, bool f32, struct operand a, struct operand b, void *c,
                     bool c_single, int64_t m, int64_t n, int64_t k)
{
    size_t bytes = f32 ? sizeof(float) : sizeof(double);
    for (int64_t i = 0; i < mm->batch; i++) {
        struct blas_product product = {
            .ta = a.transposed,
            .tb = b.transposed,
            .m = m,
            .n = n,
            .k = k,
            .lda = a.row,
            .ldb = b.row,
            .ldc = n,
            .alpha = (double)mm->alpha,
            .beta = c_single && i > 0 ? 1 : 0,
        };
        blas_multiply(&product, f32, a.data + (size_t)(i * a.step) * bytes,
                      b.data + (size_t)(i * b.step) * bytes,
                      (char *)c + (size_t)(c_single ? 0 : i * m * n) * bytes);
    }
}

// X [batch, m, k] against a single Y is one tall matrix.
static void make_tall(struct matmul *mm)
{
    bool tall = !mm->x.single && mm->y.single && !mm->x.transposed && mm->batch > 1 &&
                mm->m * mm->batch <= INT32_MAX;
    if (!tall)
        return;
    mm->m *= mm->batch;
    mm->x.rows = mm->m;
    mm->x.single = true;
    mm->batch = 1;
}

static int begin(struct op_ctx *ctx, struct matmul *mm, const int *others)
{
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || (rc = read_matmul(ctx->def, ctx->attr, &op_in(ctx, MATMUL_X)->dims,
                                    &op_in(ctx, MATMUL_Y)->dims, mm, ctx->err)) < 0)
        return rc;
    if (mm->m > INT32_MAX || mm->n > INT32_MAX || mm->k > INT32_MAX)
        return err_set(ctx->err, SL_ELIMIT, "a side of a matrix is longer than %d", INT32_MAX);
    make_tall(mm);
    return 0;
}

static int matmul_forward(struct op_ctx *ctx)
{
    static const int others[] = {MATMUL_Y, -1};
    const struct tensor *x = op_in(ctx, MATMUL_X), *y = op_in(ctx, MATMUL_Y);
    struct matmul mm;
    int rc = begin(ctx, &mm, others);
    if (rc == 0)
        multiply(&mm, x->dtype == DTYPE_FP32, operand_of(x, &mm.x, mm.x.transposed),
                 operand_of(y, &mm.y, mm.y.transposed), op_out(ctx, 0)->data, false, mm.m, mm.n,
                 mm.k);
    return rc;
}

static int matmul_backward(struct op_ctx *ctx)
{
    static const int others[] = {MATMUL_Y, MATMUL_DOUT, -1};
    const struct tensor *x = op_in(ctx, MATMUL_X), *y = op_in(ctx, MATMUL_Y),
                        *dout = op_in(ctx, MATMUL_DOUT);
    struct tensor *dx = op_out(ctx, MATMUL_DX), *dy = op_out(ctx, MATMUL_DY);
    struct matmul mm;
    int rc = begin(ctx, &mm, others);
    if (rc < 0)
        return rc;
    bool f32 = x->dtype == DTYPE_FP32, tx = mm.x.transposed, ty = mm.y.transposed;
    struct operand d = {dout->data, mm.m * mm.n, mm.n, false}, d_turned = d;
    d_turned.transposed = true;
    if (dx != NULL && !tx)
        multiply(&mm, f32, d, operand_of(y, &mm.y, !ty), dx->data, mm.x.single, mm.m, mm.k, mm.n);
    else if (dx != NULL)
        multiply(&mm, f32, operand_of(y, &mm.y, ty), d_turned, dx->data, mm.x.single, mm.k, mm.m,
                 mm.n);
    if (dy != NULL && !ty)
        multiply(&mm, f32, operand_of(x, &mm.x, !tx), d, dy->data, mm.y.single, mm.k, mm.n, mm.m);
    else if (dy != NULL)
        multiply(&mm, f32, d_turned, operand_of(x, &mm.x, tx), dy->data, mm.y.single, mm.n, mm.k,
                 mm.m);
    return 0;
}

const struct op_def op_matmul = {
    .type = "matmul",
    .inputs = matmul_inputs,
    .outputs = matmul_outputs,
    .attrs = matmul_attrs,
    .grad = {.type = "matmul_grad", .inputs = "X Y Out@GRAD", .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = matmul_infer,
    .kernel = matmul_forward,
};

const struct op_def op_matmul_grad = {
    .type = "matmul_grad",
    .inputs = matmul_grad_inputs,
    .outputs = matmul_grad_outputs,
    .attrs = matmul_attrs,
    .infer_shape = matmul_grad_infer,
    .kernel = matmul_backward,
    .no_lod = true,
};

const struct op_def op_matmul_batch = {
    .type = "bmm",
    .inputs = matmul_inputs,
    .outputs = matmul_outputs,
    .attrs = bmm_attrs,
    .grad = {.type = "bmm_grad",
             .inputs = "X Y Out@GRAD",
             .outputs = "X@GRAD Y@GRAD",
             .drop_attrs = true},
    .infer_shape = matmul_infer,
    .kernel = matmul_forward,
};

const struct op_def op_matmul_batch_grad = {
    .type = "bmm_grad",
    .inputs = matmul_grad_inputs,
    .outputs = matmul_grad_outputs,
    .attrs = bmm_attrs,
    .infer_shape = matmul_grad_infer,
    .kernel = matmul_backward,
    .no_lod = true,
};
