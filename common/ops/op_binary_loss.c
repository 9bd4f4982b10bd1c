// SPDX-License-Identifier: Apache-2.0
// Losses of one prediction x against one label l, element by element; l has x's type and shape.
//
//   bce_loss          x in [0,1]: (l - 1) max(log(1 - x), -100) - l max(log(x), -100)
//                     d = (x - l) / max((1 - x) x, 1e-12)
//   log_loss          -l log(x + epsilon) - (1 - l) log(1 - x + epsilon)
//                     d = -l / (x + epsilon) + (1 - l) / (1 - x + epsilon)
//   hinge_loss        s = 2l - 1:  max(1 - s x, 0);     d = -s where s x < 1
//   modified_huber_loss   v = (2l - 1) x, kept as IntermediateVal
//                     -4v for v < -1, (1 - v)^2 for v < 1, else 0
//                     d = -4 (2l - 1),  -2 (1 - v) (2l - 1),  0
//   sigmoid_cross_entropy_with_logits   max(x, 0) - x l + log(1 + exp(-|x|));  d = sigmoid(x) - l
//                     0 where the whole part of l is ignore_index; with normalize all is divided by
//                     the number of labels that are not (exactly) ignore_index
//   teacher_student_sigmoid_loss   e(x) = max(x, 0) + log(1 + exp(-|x|)), click and teacher's score
//                     l < -1: e(x)                  l < 0: e(x) - x
//                     l < 1:  e(x) + e(x) - x l     else:  e(x) - x + e(x) - x (l - 1)
//                     d = the same with x clipped to the two bounds: p, p - 1, 2p - l with
//                     p = sigmoid(x); 0 at a bound and beyond
//
// All but bce_loss and sigmoid_cross_entropy_with_logits want [N,1].

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_binary_loss_bce, op_binary_loss_bce_grad;
extern const struct op_def op_binary_loss_log, op_binary_loss_log_grad;
extern const struct op_def op_binary_loss_hinge, op_binary_loss_hinge_grad;
extern const struct op_def op_binary_loss_huber, op_binary_loss_huber_grad;
extern const struct op_def op_binary_loss_sigmoid, op_binary_loss_sigmoid_grad;
extern const struct op_def op_binary_loss_teacher, op_binary_loss_teacher_grad;

#define PARAMS_MAX 2

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_attr_def log_attrs[] = {
    {.name = "epsilon", .type = ATTR_FLOAT, .required = true},
    {.name = NULL},
};
enum { SIGMOID_NORMALIZE, SIGMOID_IGNORE_INDEX };
static const struct op_attr_def sigmoid_attrs[] = {
    OP_ATTR_BOOL("normalize", 0),
    OP_ATTR_INT("ignore_index", -100),
    {.name = NULL},
};
static const struct op_attr_def teacher_attrs[] = {
    OP_ATTR_FLOAT("soft_max_up_bound", 15),
    OP_ATTR_FLOAT("soft_max_lower_bound", -15),
    {.name = NULL},
};

enum { LOSS_X, LOSS_LABEL, LOSS_DOUT };
#define LOSS_SLOTS(NAME, X, LABEL, OUT)                                                            \
    static const struct op_slot_def NAME##_inputs[] = {{X, 0}, {LABEL, 0}, {NULL, 0}};             \
    static const struct op_slot_def NAME##_outputs[] = {{OUT, 0}, {NULL, 0}};                      \
    static const struct op_slot_def NAME##_grad_inputs[] = {                                       \
        {X, 0}, {LABEL, 0}, {OUT "@GRAD", 0}, {NULL, 0}};                                          \
    static const struct op_slot_def NAME##_grad_outputs[] = {{X "@GRAD", OP_SLOT_OPTIONAL},        \
                                                             {NULL, 0}};
LOSS_SLOTS(plain, "X", "Label", "Out")
LOSS_SLOTS(log, "Predicted", "Labels", "Loss")
LOSS_SLOTS(hinge, "Logits", "Labels", "Loss")
LOSS_SLOTS(teacher, "X", "Label", "Y")

enum { HUBER_VALUE, HUBER_OUT };
static const struct op_slot_def huber_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def huber_outputs[] = {{"IntermediateVal", 0}, {"Out", 0}, {NULL, 0}};
static const struct op_slot_def huber_grad_inputs[] = {
    {"IntermediateVal", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};

// out[i] = loss of x[i] and label[i]; param holds the float attributes.
typedef void loss_run(void *out, const void *x, const void *label, size_t n, const float *param);
typedef void loss_grad_run(void *dx, const void *x, const void *label, const void *dout, size_t n,
                           const float *param);

// Both kernels out of expressions of x, l, the parameters p, q and g = dOut, of type num.
#define DEFINE_LOSS(NAME, T, S, FORWARD, BACKWARD)                                                 \
    static void NAME##_forward_##S(void *out_, const void *x_, const void *label_, size_t n,       \
                                   const float *param)                                             \
    {                                                                                              \
        typedef T num;                                                                             \
        num *out = out_;                                                                           \
        const num *xs = x_, *labels = label_, p = (num)param[0], q = (num)param[1];                \
        (void)p, (void)q;                                                                          \
        for (size_t i = 0; i < n; i++) {                                                           \
            num x = xs[i], l = labels[i];                                                          \
            out[i] = (FORWARD);                                                                    \
        }                                                                                          \
    }                                                                                              \
    static void NAME##_backward_##S(void *dx_, const void *x_, const void *label_,                 \
                                    const void *dout_, size_t n, const float *param)               \
    {                                                                                              \
        typedef T num;                                                                             \
        num *dx = dx_;                                                                             \
        const num *xs = x_, *labels = label_, *dout = dout_;                                       \
        const num p = (num)param[0], q = (num)param[1];                                            \
        (void)p, (void)q;                                                                          \
        for (size_t i = 0; i < n; i++) {                                                           \
            num x = xs[i], l = labels[i], g = dout[i];                                             \
            dx[i] = (BACKWARD);                                                                    \
        }                                                                                          \
    }
#define DEFINE_LOSSES(NAME, FORWARD, BACKWARD)                                                     \
    DEFINE_LOSS(NAME, float, f32, FORWARD, BACKWARD)                                               \
    DEFINE_LOSS(NAME, double, f64, FORWARD, BACKWARD)

#define FLOOR_LOG(X) fmax(log(X), (num)-100)
DEFINE_LOSSES(bce, (l - 1) * FLOOR_LOG(1 - x) - l * FLOOR_LOG(x),
              g *((x - l) / fmax((1 - x) * x, (num)1e-12)))
DEFINE_LOSSES(log, -(l *log(x + p)) - (1 - l) * log(1 - x + p),
              g *(-(l / (x + p)) + (1 - l) / (1 - x + p)))
DEFINE_LOSSES(hinge, fmax(1 - x * (2 * l - 1), (num)0), x *(2 * l - 1) < 1 ? g * (1 - 2 * l) : 0)

// e(x) of the essay, and the logistic function of x clipped to [low, high].
#define BIG(X) (fmax(X, (num)0) + log(1 + exp(-fabs(X))))
#define CLIPPED(X, LOW, HIGH) fmin(fmax(X, LOW), HIGH)
#define LOGISTIC(X) (1 / (1 + exp(-(X))))
DEFINE_LOSSES(teacher,
              l < -1  ? BIG(x)
              : l < 0 ? BIG(x) - x
              : l < 1 ? BIG(x) + BIG(x) - x * l
                      : BIG(x) - x + BIG(x) - x * (l - 1),
              x >= p || x <= q ? 0
              : l < -1         ? g * LOGISTIC(CLIPPED(x, q, p))
              : l < 0          ? g * (LOGISTIC(CLIPPED(x, q, p)) - 1)
                               : g * (2 * LOGISTIC(CLIPPED(x, q, p)) - l))

#define DEFINE_HUBER(T, S)                                                                         \
    static void huber_forward_##S(T *value, T *out, const T *x, const T *label, size_t n)          \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            T v = x[i] * (2 * label[i] - 1);                                                       \
            value[i] = v;                                                                          \
            out[i] = v < -1 ? -4 * v : v < 1 ? (1 - v) * (1 - v) : 0;                              \
        }                                                                                          \
    }                                                                                              \
    static void huber_backward_##S(T *dx, const T *value, const T *label, const T *dout, size_t n) \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            T v = value[i], sign = 2 * label[i] - 1;                                               \
            dx[i] = v < -1 ? -4 * sign * dout[i] : v < 1 ? -2 * (1 - v) * sign * dout[i] : 0;      \
        }                                                                                          \
    }

DEFINE_HUBER(float, f32)
DEFINE_HUBER(double, f64)

#define DEFINE_SIGMOID(T, S)                                                                       \
    static bool ignored_##S(T label, int64_t ignore_index)                                         \
    {                                                                                              \
        return fabs(label) < (T)INT32_MAX && (int64_t)label == ignore_index;                       \
    }                                                                                              \
    static T norm_##S(const T *label, size_t n, int64_t ignore_index)                              \
    {                                                                                              \
        T count = 0;                                                                               \
        for (size_t i = 0; i < n; i++)                                                             \
            count += label[i] != (T)ignore_index;                                                  \
        return count;                                                                              \
    }                                                                                              \
    static void sigmoid_forward_##S(T *out, const T *xs, const T *label, size_t n, int64_t ignore, \
                                    bool normalize)                                                \
    {                                                                                              \
        T norm = normalize ? norm_##S(label, n, ignore) : 1;                                       \
        for (size_t i = 0; i < n; i++) {                                                           \
            T x = xs[i], loss = fmax(x, (T)0) - x * label[i] + log(1 + exp(-fabs(x)));             \
            out[i] = (ignored_##S(label[i], ignore) ? 0 : loss) / norm;                            \
        }                                                                                          \
    }                                                                                              \
    static void sigmoid_backward_##S(T *dx, const T *x, const T *label, const T *dout, size_t n,   \
                                     int64_t ignore, bool normalize)                               \
    {                                                                                              \
        T norm = normalize ? norm_##S(label, n, ignore) : 1;                                       \
        for (size_t i = 0; i < n; i++) {                                                           \
            T d = dout[i] * (LOGISTIC(x[i]) - label[i]);                                           \
            dx[i] = (ignored_##S(label[i], ignore) ? 0 : d) / norm;                                \
        }                                                                                          \
    }

DEFINE_SIGMOID(float, f32)
DEFINE_SIGMOID(double, f64)

static int loss_infer(struct op_shape *shape)
{
    int rc = shape_check_same(shape, LOSS_X, LOSS_LABEL);
    if (rc == 0 && shape->def->inputs[LOSS_DOUT].name != NULL)
        rc = shape_check_same(shape, LOSS_X, LOSS_DOUT);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int column_infer(struct op_shape *shape)
{
    int rc = shape_check_column(shape, LOSS_X);
    return rc < 0 ? rc : loss_infer(shape);
}

static int huber_infer(struct op_shape *shape)
{
    int rc = column_infer(shape);
    if (rc == 0)
        op_shape_bare(shape);
    return rc;
}

static void read_params(const struct op_ctx *ctx, float *param)
{
    for (int i = 0; i < PARAMS_MAX && ctx->def->attrs[i].name != NULL; i++)
        param[i] = ctx->attr[i]->f;
}

static int loss_forward(struct op_ctx *ctx, loss_run *f32, loss_run *f64)
{
    const struct tensor *x = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL);
    float param[PARAMS_MAX] = {0};
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, -1});
    if (rc < 0)
        return rc;
    read_params(ctx, param);
    (x->dtype == DTYPE_FP32 ? f32 : f64)(op_out(ctx, 0)->data, x->data, label->data,
                                         tensor_count(x), param);
    return 0;
}

static int loss_backward(struct op_ctx *ctx, loss_grad_run *f32, loss_grad_run *f64)
{
    const struct tensor *x = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL);
    struct tensor *dx = op_out(ctx, 0);
    float param[PARAMS_MAX] = {0};
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, LOSS_DOUT, -1});
    if (rc < 0 || dx == NULL)
        return rc;
    read_params(ctx, param);
    (x->dtype == DTYPE_FP32 ? f32 : f64)(dx->data, x->data, label->data,
                                         op_in(ctx, LOSS_DOUT)->data, tensor_count(x), param);
    return 0;
}

static int bce_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LOSS_X);
    for (uint64_t i = 0; i < tensor_count(x); i++) {
        double p = x->dtype == DTYPE_FP32   ? (double)tensor_f32(x)[i]
                   : x->dtype == DTYPE_FP64 ? tensor_f64(x)[i]
                                            : 0;
        if (!(p >= 0 && p <= 1))
            return err_set(ctx->err, SL_EINVAL, "X is %g at element %llu, not in [0,1]", p,
                           (unsigned long long)i);
    }
    return loss_forward(ctx, bce_forward_f32, bce_forward_f64);
}

static int bce_backward(struct op_ctx *ctx)
{
    return loss_backward(ctx, bce_backward_f32, bce_backward_f64);
}

static int log_forward(struct op_ctx *ctx)
{
    return loss_forward(ctx, log_forward_f32, log_forward_f64);
}

static int log_backward(struct op_ctx *ctx)
{
    return loss_backward(ctx, log_backward_f32, log_backward_f64);
}

static int hinge_forward(struct op_ctx *ctx)
{
    return loss_forward(ctx, hinge_forward_f32, hinge_forward_f64);
}

static int hinge_backward(struct op_ctx *ctx)
{
    return loss_backward(ctx, hinge_backward_f32, hinge_backward_f64);
}

static int teacher_forward(struct op_ctx *ctx)
{
    return loss_forward(ctx, teacher_forward_f32, teacher_forward_f64);
}

static int teacher_backward(struct op_ctx *ctx)
{
    return loss_backward(ctx, teacher_backward_f32, teacher_backward_f64);
}

static int huber_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL);
    struct tensor *value = op_out(ctx, HUBER_VALUE), *out = op_out(ctx, HUBER_OUT);
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, -1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        huber_forward_f32(tensor_f32(value), tensor_f32(out), tensor_f32(x), tensor_f32(label),
                          tensor_count(x));
    else
        huber_forward_f64(tensor_f64(value), tensor_f64(out), tensor_f64(x), tensor_f64(label),
                          tensor_count(x));
    return 0;
}

static int huber_backward(struct op_ctx *ctx)
{
    const struct tensor *value = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL),
                        *dout = op_in(ctx, LOSS_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, LOSS_DOUT, -1});
    if (rc < 0 || dx == NULL)
        return rc;
    if (value->dtype == DTYPE_FP32)
        huber_backward_f32(tensor_f32(dx), tensor_f32(value), tensor_f32(label), tensor_f32(dout),
                           tensor_count(value));
    else
        huber_backward_f64(tensor_f64(dx), tensor_f64(value), tensor_f64(label), tensor_f64(dout),
                           tensor_count(value));
    return 0;
}

static int sigmoid_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL);
    struct tensor *out = op_out(ctx, 0);
    bool normalize = attr_bool(ctx->attr[SIGMOID_NORMALIZE]);
    int64_t ignore = ctx->attr[SIGMOID_IGNORE_INDEX]->i;
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, -1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        sigmoid_forward_f32(tensor_f32(out), tensor_f32(x), tensor_f32(label), tensor_count(x),
                            ignore, normalize);
    else
        sigmoid_forward_f64(tensor_f64(out), tensor_f64(x), tensor_f64(label), tensor_count(x),
                            ignore, normalize);
    return 0;
}

static int sigmoid_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LOSS_X), *label = op_in(ctx, LOSS_LABEL),
                        *dout = op_in(ctx, LOSS_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    bool normalize = attr_bool(ctx->attr[SIGMOID_NORMALIZE]);
    int64_t ignore = ctx->attr[SIGMOID_IGNORE_INDEX]->i;
    int rc = shape_check_floats(ctx, (const int[]){LOSS_LABEL, LOSS_DOUT, -1});
    if (rc < 0 || dx == NULL)
        return rc;
    if (x->dtype == DTYPE_FP32)
        sigmoid_backward_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(label), tensor_f32(dout),
                             tensor_count(x), ignore, normalize);
    else
        sigmoid_backward_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(label), tensor_f64(dout),
                             tensor_count(x), ignore, normalize);
    return 0;
}

// NAME and NAME_grad, of Fluid's type TYPE, with the slots and attributes of two tables.
#define LOSS_OP(NAME, TYPE, SLOTS, ATTRS, INFER, GRAD_INPUTS, GRAD_OUTPUTS)                        \
    const struct op_def op_binary_loss_##NAME = {                                                  \
        .type = TYPE,                                                                              \
        .inputs = SLOTS##_inputs,                                                                  \
        .outputs = SLOTS##_outputs,                                                                \
        .attrs = ATTRS,                                                                            \
        .grad = {.type = TYPE "_grad", .inputs = GRAD_INPUTS, .outputs = GRAD_OUTPUTS},            \
        .infer_shape = INFER,                                                                      \
        .kernel = NAME##_forward,                                                                  \
    };                                                                                             \
    const struct op_def op_binary_loss_##NAME##_grad = {                                           \
        .type = TYPE "_grad",                                                                      \
        .inputs = SLOTS##_grad_inputs,                                                             \
        .outputs = SLOTS##_grad_outputs,                                                           \
        .attrs = ATTRS,                                                                            \
        .infer_shape = loss_infer,                                                                 \
        .kernel = NAME##_backward,                                                                 \
    };

#define huber_grad_outputs plain_grad_outputs
LOSS_OP(bce, "bce_loss", plain, no_attrs, loss_infer, "X Label Out@GRAD", "X@GRAD")
LOSS_OP(log, "log_loss", log, log_attrs, column_infer, "Predicted Labels Loss@GRAD",
        "Predicted@GRAD")
LOSS_OP(hinge, "hinge_loss", hinge, no_attrs, column_infer, "Logits Labels Loss@GRAD",
        "Logits@GRAD")
LOSS_OP(huber, "modified_huber_loss", huber, no_attrs, huber_infer, "IntermediateVal Y Out@GRAD",
        "X@GRAD")
LOSS_OP(sigmoid, "sigmoid_cross_entropy_with_logits", plain, sigmoid_attrs, loss_infer,
        "X Label Out@GRAD", "X@GRAD")
LOSS_OP(teacher, "teacher_student_sigmoid_loss", teacher, teacher_attrs, column_infer,
        "X Label Y@GRAD", "X@GRAD")
