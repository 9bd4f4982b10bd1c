// SPDX-License-Identifier: Apache-2.0
// The images are taken in chunks: some rows of one image, one image, or several small ones. P is
// the patches of a chunk (im2col.h), K = in_c / groups kernel_h kernel_w, F the filter of a group
// as [out_c / groups, K]:
//
//   forward          Out = F P
//   backward_filter  dF = sum over chunks of dOut P^T; where that is larger, its transpose
//                    P dOut^T, for which BLAS has faster loops
//   backward_in      stride 1, and the output about as large as the image: a forward pass over
//                    dOut with the filter turned by 180 degrees and its channel axes exchanged;
//                    else P' = F^T dOut, added back to the image
//
// A kernel of 1x1 without padding and stride 1 needs no patches: P is the image itself. BLAS does a
// product of at most PRODUCT_SMALL multiplications without packing, at twice the speed for these
// shapes: hence the size of a chunk. Chunks are taken in order, so sums have one order for given
// shapes.

#include "common/ops/conv_gemm.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/ops/blas.h"
#include "common/ops/im2col.h"

#define PRODUCT_SMALL 1000000
#define COLUMNS_MIN 32                 // below that the product is inefficient
#define PATCHES_MAX (64 * 1024)        // elements of P, but not less than one row of output
#define WORK_MAX (UINT64_C(1) << 56)   // elements
#define TURNED_FILTER_MIN 1024         // elements of a filter from which dF is made transposed

// How a convolution is cut. Sizes are of one group.
struct cut {
    int64_t in_c, out_c, k;
    int64_t in_plane, out_plane;     // elements of a channel
    int64_t width, plane;            // of the padded image, or the image when it needs no padding
    int64_t images, rows, columns;   // of a chunk at most
    bool direct;                     // the image is P
    bool padded;
    size_t bytes;   // of an element
};

// Parts of the working memory, in elements: padded images, patches, joined output, filter.
struct room {
    size_t padded, patches, joined, filter;
};

static struct cut cut_of(const struct conv_gemm *conv);
static struct room room_of(const struct cut *cut);
static struct conv_gemm turned(const struct conv_gemm *conv);
static void turn_filter(const struct conv_gemm *conv, const struct cut *cut, char *to,
                        const char *filter);

// Rows and images of a chunk.
static void choose_chunk(const struct conv_gemm *conv, struct cut *cut)
{
    int64_t out_h = conv->axis[WINDOW_H].out, out_w = conv->axis[WINDOW_W].out;
    int64_t filter = cut->out_c * cut->k, columns = PRODUCT_SMALL / filter;
    if (columns < COLUMNS_MIN)
        columns = filter < 256 * 1024 ? 256 : 512;
    else if (columns > PATCHES_MAX / cut->k && !cut->direct)
        columns = PATCHES_MAX / cut->k < COLUMNS_MIN ? COLUMNS_MIN : PATCHES_MAX / cut->k;
    cut->images = 1;
    cut->rows = columns / out_w < 1 ? 1 : columns / out_w;
    if (cut->rows < out_h) {
        int64_t chunks = (out_h + cut->rows - 1) / cut->rows;
        cut->rows = (out_h + chunks - 1) / chunks;
    } else {
        cut->rows = out_h;
        // Small images are put together, and more of them when the filter leaves the cache.
        int64_t wanted = PRODUCT_SMALL / filter >= COLUMNS_MIN ? COLUMNS_MIN : columns;
        if (!cut->direct || cut->out_plane < COLUMNS_MIN)
            cut->images = (wanted + cut->out_plane - 1) / cut->out_plane;
        cut->images = cut->images > conv->n && conv->n > 0 ? conv->n : cut->images;
    }
    // Joined images have gaps between them, so they need patches.
    cut->direct &= cut->images == 1;
    cut->columns = cut->images * cut->rows * out_w;
}

static struct cut cut_of(const struct conv_gemm *conv)
{
    const struct window_axis *h = &conv->axis[WINDOW_H], *w = &conv->axis[WINDOW_W];
    int64_t side_h = im2col_side(h), side_w = im2col_side(w);
    struct cut cut = {
        .in_c = conv->in_c / conv->groups,
        .out_c = conv->out_c / conv->groups,
        .in_plane = h->in * w->in,
        .out_plane = h->out * w->out,
        .bytes = conv->f32 ? sizeof(float) : sizeof(double),
    };
    cut.padded = h->before != 0 || w->before != 0 || side_h > h->in || side_w > w->in;
    cut.width = cut.padded ? side_w : w->in;
    cut.plane = cut.padded ? side_h * side_w : cut.in_plane;
    cut.k = cut.in_c * h->kernel * w->kernel;
    cut.direct =
        !cut.padded && h->kernel == 1 && w->kernel == 1 && h->stride == 1 && w->stride == 1;
    choose_chunk(conv, &cut);
    return cut;
}

static bool can_turn(const struct conv_gemm *conv, const struct cut *cut)
{
    return conv->axis[WINDOW_H].stride == 1 && conv->axis[WINDOW_W].stride == 1 && !cut->direct &&
           cut->in_plane * 4 <= cut->out_plane * 5;
}

// Products and sums that stop at WORK_MAX instead of wrapping around.
static size_t times(int64_t a, int64_t b)
{
    uint64_t product;
    return !limit_mul_u64((uint64_t)a, (uint64_t)b, &product) || product > WORK_MAX ? WORK_MAX
                                                                                    : product;
}

static struct room room_of(const struct cut *cut)
{
    struct room room = {.joined = times(cut->columns, cut->out_c),
                        .filter = times(cut->out_c, cut->k)};
    if (!cut->direct)
        room.patches = times(cut->columns, cut->k);
    if (cut->padded)
        room.padded = times(cut->plane, cut->images * cut->in_c);
    return room;
}

static size_t room_all(const struct room *room)
{
    return room->padded + room->patches + room->joined + room->filter;
}

bool conv_gemm_fits(const struct conv_gemm *conv)
{
    const struct window_axis *h = &conv->axis[WINDOW_H], *w = &conv->axis[WINDOW_W];
    int64_t places = h->kernel * w->kernel;
    return h->in * w->in <= INT32_MAX && h->out * w->out <= INT32_MAX && places <= INT32_MAX &&
           times(places, conv->in_c) <= INT32_MAX && conv->out_c <= INT32_MAX;
}

size_t conv_gemm_work(const struct conv_gemm *conv)
{
    struct cut cut = cut_of(conv);
    struct room room = room_of(&cut);
    size_t work = room_all(&room);
    if (!can_turn(conv, &cut))
        return work;
    struct conv_gemm back = turned(conv);
    struct cut back_cut = cut_of(&back);
    struct room back_room = room_of(&back_cut);
    return work > room_all(&back_room) ? work : room_all(&back_room);
}

// One pass over a group: its chunk, and where its parts of the working memory are.
struct pass {
    const struct conv_gemm *conv;
    const struct cut *cut;
    int64_t group;
    int64_t image, images, row, rows, columns;   // the chunk
    int64_t padded_image;                        // first image in `padded`, -1 none
    char *padded, *patches, *joined, *filter;
};

static struct pass begin_pass(const struct conv_gemm *conv, const struct cut *cut, int64_t group,
                              void *work)
{
    struct room room = room_of(cut);
    struct pass p = {.conv = conv, .cut = cut, .group = group, .padded_image = -1, .padded = work};
    p.patches = p.padded + room.padded * cut->bytes;
    p.joined = p.patches + room.patches * cut->bytes;
    p.filter = p.joined + room.joined * cut->bytes;
    return p;
}

static bool next_chunk(struct pass *p)
{
    int64_t out_h = p->conv->axis[WINDOW_H].out;
    p->row += p->rows;
    if (p->row >= out_h || p->images == 0) {
        p->row = 0;
        p->image += p->images;
    }
    if (p->image >= p->conv->n)
        return false;
    p->images = p->conv->n - p->image < p->cut->images ? p->conv->n - p->image : p->cut->images;
    p->rows = out_h - p->row < p->cut->rows ? out_h - p->row : p->cut->rows;
    p->columns = p->images * p->rows * p->conv->axis[WINDOW_W].out;
    return true;
}

static struct im2col_chunk patches_shape(const struct pass *p)
{
    const struct cut *cut = p->cut;
    return (struct im2col_chunk){
        .channels = cut->in_c,
        .images = p->images,
        .first_row = p->row,
        .rows = p->rows,
        .width = cut->width,
        .plane = cut->plane,
        .image = (cut->padded ? cut->in_c : p->conv->in_c) * cut->plane,
    };
}

// Bytes from the start of in (or out) to what the chunk sees of it.
static size_t in_at(const struct pass *p)
{
    const struct cut *cut = p->cut;
    return (size_t)((p->image * p->conv->in_c + p->group * cut->in_c) * cut->in_plane) * cut->bytes;
}

static size_t out_at(const struct pass *p)
{
    const struct cut *cut = p->cut;
    int64_t at = (p->image * p->conv->out_c + p->group * cut->out_c) * cut->out_plane;
    return (size_t)(at + p->row * p->conv->axis[WINDOW_W].out) * cut->bytes;
}

// The matrix P of the chunk and the length of its rows.
static const char *patches_of(struct pass *p, const char *in, int64_t *row)
{
    const struct cut *cut = p->cut;
    const struct window_axis *axis = p->conv->axis;
    const char *from = in + in_at(p);
    struct im2col_chunk chunk = patches_shape(p);
    int64_t stride = p->conv->in_c * cut->in_plane;
    *row = cut->direct ? cut->in_plane : p->columns;
    if (cut->direct)
        return from + (size_t)(p->row * axis[WINDOW_W].in) * cut->bytes;
    if (cut->padded && p->padded_image != p->image) {
        if (p->conv->f32)
            im2col_pad_f32((void *)p->padded, (const void *)from, p->images, cut->in_c, stride,
                           axis);
        else
            im2col_pad_f64((void *)p->padded, (const void *)from, p->images, cut->in_c, stride,
                           axis);
        p->padded_image = p->image;
    }
    from = cut->padded ? p->padded : from;
    if (p->conv->f32)
        im2col_f32((void *)p->patches, (const void *)from, &chunk, axis);
    else
        im2col_f64((void *)p->patches, (const void *)from, &chunk, axis);
    return p->patches;
}

// Moves [out_c][images plane] to or from [images][out_c][plane].
static void gather_images(const struct pass *p, char *images, bool to_joined)
{
    size_t plane = (size_t)p->cut->out_plane * p->cut->bytes;
    for (int64_t c = 0; c < p->cut->out_c; c++) {
        for (int64_t i = 0; i < p->images; i++) {
            char *row = p->joined + (size_t)(c * p->images + i) * plane;
            char *image = images + (size_t)(i * p->conv->out_c + c) * plane;
            memcpy(to_joined ? row : image, to_joined ? image : row, plane);
        }
    }
}

// dOut of the chunk as [out_c, columns] and the length of its rows.
static const char *dout_of(const struct pass *p, const char *dout, int64_t *row)
{
    char *d = (char *)(uintptr_t)dout + out_at(p);
    *row = p->images > 1 ? p->columns : p->cut->out_plane;
    if (p->images > 1)
        gather_images(p, d, true);
    return p->images > 1 ? p->joined : d;
}

static void forward_group(struct pass *p, char *out, const char *in, const char *filter)
{
    const struct cut *cut = p->cut;
    while (next_chunk(p)) {
        char *to = out + out_at(p);
        struct blas_product product = {
            .m = cut->out_c,
            .n = p->columns,
            .k = cut->k,
            .lda = cut->k,
            .ldc = p->images > 1 ? p->columns : cut->out_plane,
            .alpha = 1,
        };
        const char *patches = patches_of(p, in, &product.ldb);
        blas_multiply(&product, p->conv->f32, filter, patches, p->images > 1 ? p->joined : to);
        if (p->images > 1)
            gather_images(p, to, false);
    }
}

void conv_gemm_forward(const struct conv_gemm *conv, void *out, const void *in, const void *filter,
                       void *work)
{
    struct cut cut = cut_of(conv);
    for (int64_t g = 0; g < conv->groups; g++) {
        struct pass p = begin_pass(conv, &cut, g, work);
        forward_group(&p, out, in,
                      (const char *)filter + (size_t)(g * cut.out_c * cut.k) * cut.bytes);
    }
}

// to [cols, rows] = from [rows, cols] (rows row elements apart), turned.
#define DEFINE_TURN(T, S)                                                                          \
    static void turn_##S(T *to, const T *from, int64_t rows, int64_t cols, int64_t row)            \
    {                                                                                              \
        int64_t r = 0;                                                                             \
        for (; r + 4 <= rows; r += 4, from += 4 * row) {                                           \
            const T *a = from, *b = a + row, *c = b + row, *d = c + row;                           \
            for (int64_t i = 0; i < cols; i++) {                                                   \
                T four[4] = {a[i], b[i], c[i], d[i]};                                              \
                memcpy(to + i * rows + r, four, sizeof four);                                      \
            }                                                                                      \
        }                                                                                          \
        for (; r < rows; r++, from += row)                                                         \
            for (int64_t i = 0; i < cols; i++)                                                     \
                to[i * rows + r] = from[i];                                                        \
    }

DEFINE_TURN(float, f32)
DEFINE_TURN(double, f64)

static void turn(bool f32, void *to, const void *from, int64_t rows, int64_t cols, int64_t row)
{
    if (f32)
        turn_f32(to, from, rows, cols, row);
    else
        turn_f64(to, from, rows, cols, row);
}

// dF += dOut P^T
static void filter_plain(struct pass *p, char *df, const char *dout, const char *in)
{
    const struct cut *cut = p->cut;
    bool first = true;
    while (next_chunk(p)) {
        struct blas_product product = {
            .tb = true,
            .m = cut->out_c,
            .n = cut->k,
            .k = p->columns,
            .ldc = cut->k,
            .alpha = 1,
            .beta = first ? 0 : 1,
        };
        const char *patches = patches_of(p, in, &product.ldb);
        const char *d = dout_of(p, dout, &product.lda);
        blas_multiply(&product, p->conv->f32, d, patches, df);
        first = false;
    }
}

// dF^T += P dOut^T, in p->filter; turned at the end. dOut^T takes the place of the joined output.
static void filter_turned(struct pass *p, char *df, const char *dout, const char *in)
{
    const struct cut *cut = p->cut;
    size_t plane = (size_t)(cut->out_plane * cut->out_c) * cut->bytes;
    bool first = true;
    while (next_chunk(p)) {
        struct blas_product product = {
            .m = cut->k,
            .n = cut->out_c,
            .k = p->columns,
            .ldb = cut->out_c,
            .ldc = cut->out_c,
            .alpha = 1,
            .beta = first ? 0 : 1,
        };
        const char *patches = patches_of(p, in, &product.lda);
        const char *d = dout + out_at(p);
        for (int64_t i = 0; i < p->images; i++)
            turn(p->conv->f32, p->joined + (size_t)i * plane,
                 d + (size_t)(i * p->conv->out_c * cut->out_plane) * cut->bytes, cut->out_c,
                 p->columns / p->images, cut->out_plane);
        blas_multiply(&product, p->conv->f32, patches, p->joined, p->filter);
        first = false;
    }
    turn(p->conv->f32, df, p->filter, cut->k, cut->out_c, cut->out_c);
}

void conv_gemm_backward_filter(const struct conv_gemm *conv, void *dfilter, const void *dout,
                               const void *in, void *work)
{
    struct cut cut = cut_of(conv);
    size_t filter = (size_t)(cut.out_c * cut.k);
    if (conv->n == 0)
        memset(dfilter, 0, (size_t)conv->groups * filter * cut.bytes);
    for (int64_t g = 0; g < conv->groups && conv->n > 0; g++) {
        struct pass p = begin_pass(conv, &cut, g, work);
        char *df = (char *)dfilter + (size_t)g * filter * cut.bytes;
        (filter < TURNED_FILTER_MIN ? filter_plain : filter_turned)(&p, df, dout, in);
    }
}

// The padded images that were added to become part of dIn.
static void crop_images(const struct pass *p, char *din, int64_t image, int64_t images)
{
    const struct cut *cut = p->cut;
    int64_t stride = p->conv->in_c * cut->in_plane;
    char *to = din + (size_t)(image * stride + p->group * cut->in_c * cut->in_plane) * cut->bytes;
    if (p->conv->f32)
        im2col_crop_f32((void *)to, (const void *)p->padded, images, cut->in_c, stride,
                        p->conv->axis);
    else
        im2col_crop_f64((void *)to, (const void *)p->padded, images, cut->in_c, stride,
                        p->conv->axis);
}

// P' = F^T dOut, added back to the padded image, or to din itself, which begins as zeros.
static void scatter_group(struct pass *p, char *din, const char *dout, const char *filter)
{
    const struct cut *cut = p->cut;
    size_t image_bytes = (size_t)(cut->in_c * cut->plane) * cut->bytes;
    while (next_chunk(p)) {
        struct blas_product product = {
            .ta = true,
            .m = cut->k,
            .n = p->columns,
            .k = cut->out_c,
            .lda = cut->k,
            .ldc = cut->direct ? cut->in_plane : p->columns,
            .alpha = 1,
        };
        const char *d = dout_of(p, dout, &product.ldb);
        char *to = din + in_at(p);
        if (cut->direct)
            to += (size_t)(p->row * p->conv->axis[WINDOW_W].in) * cut->bytes;
        blas_multiply(&product, p->conv->f32, filter, d, cut->direct ? to : p->patches);
        if (cut->direct)
            continue;
        if (cut->padded && p->row == 0)
            memset(p->padded, 0, (size_t)p->images * image_bytes);
        struct im2col_chunk chunk = patches_shape(p);
        to = cut->padded ? p->padded : to;
        if (p->conv->f32)
            im2col_add_f32((void *)to, (const void *)p->patches, &chunk, p->conv->axis);
        else
            im2col_add_f64((void *)to, (const void *)p->patches, &chunk, p->conv->axis);
        if (cut->padded && p->row + p->rows == p->conv->axis[WINDOW_H].out)
            crop_images(p, din, p->image, p->images);
    }
}

void conv_gemm_backward_in(const struct conv_gemm *conv, void *din, const void *dout,
                           const void *filter, void *work)
{
    struct cut cut = cut_of(conv);
    size_t group_filter = (size_t)(cut.out_c * cut.k) * cut.bytes;
    bool turn_it = can_turn(conv, &cut);
    struct conv_gemm back = turned(conv);
    struct cut back_cut = cut_of(&back);
    if (!turn_it && !cut.direct && !cut.padded)
        memset(din, 0, (size_t)(conv->n * conv->in_c * cut.in_plane) * cut.bytes);
    for (int64_t g = 0; g < conv->groups; g++) {
        const char *f = (const char *)filter + (size_t)g * group_filter;
        struct pass p =
            turn_it ? begin_pass(&back, &back_cut, g, work) : begin_pass(conv, &cut, g, work);
        if (turn_it) {
            turn_filter(conv, &cut, p.filter, f);
            forward_group(&p, din, dout, p.filter);
        } else {
            scatter_group(&p, din, dout, f);
        }
    }
}

// The forward pass from dOut to dIn.
static struct conv_gemm turned(const struct conv_gemm *conv)
{
    struct conv_gemm back = *conv;
    back.in_c = conv->out_c;
    back.out_c = conv->in_c;
    for (int i = 0; i < 2; i++) {
        struct window_axis *a = &back.axis[i];
        a->in = conv->axis[i].out;
        a->out = conv->axis[i].in;
        a->before = a->dilation * (a->kernel - 1) - conv->axis[i].before;
    }
    return back;
}

// [in_c][out_c, kernel turned] from the [out_c][in_c, kernel] of a group.
static void turn_filter(const struct conv_gemm *conv, const struct cut *cut, char *to,
                        const char *filter)
{
    int64_t places = conv->axis[WINDOW_H].kernel * conv->axis[WINDOW_W].kernel;
    for (int64_t c = 0; c < cut->in_c; c++)
        for (int64_t o = 0; o < cut->out_c; o++)
            for (int64_t i = 0; i < places; i++, to += cut->bytes)
                memcpy(to,
                       filter +
                           (size_t)((o * cut->in_c + c) * places + places - 1 - i) * cut->bytes,
                       cut->bytes);
}
