// Operations that make arrays and move elements about.

#include "shim.h"

#define ONE_INT(name, function) \
  MLXC int mlx_##name(mlx_array* out, mlx_array a, int n, mlx_stream s) { \
    return attempt([&] { put(out, mx::function(get(a), n, get(s))); }); \
  }

ONE_INT(expand_dims, expand_dims)
ONE_INT(tril, tril)
ONE_INT(triu, triu)

#define TWO_INTS(name, function) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, int n, int m, mlx_stream s) { \
    return attempt([&] { put(out, mx::function(get(a), n, m, get(s))); }); \
  }

TWO_INTS(swapaxes, swapaxes)
TWO_INTS(moveaxis, moveaxis)
TWO_INTS(flatten, flatten)
TWO_INTS(repeat_axis, repeat)

// A list of integers: axes or a shape.
#define LIST(name, function, list) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, const int* p, size_t n, mlx_stream s) { \
    return attempt([&] { put(out, mx::function(get(a), list(p, n), get(s))); }); \
  }

LIST(reshape, reshape, shape)
LIST(broadcast_to, broadcast_to, shape)
LIST(transpose_axes, transpose, ints)
LIST(expand_dims_axes, expand_dims, ints)
LIST(squeeze_axes, squeeze, ints)
LIST(tile, tile, ints)

MLXC int mlx_transpose(mlx_array* out, mlx_array a, mlx_stream s) {
  return attempt([&] { put(out, mx::transpose(get(a), get(s))); });
}

MLXC int mlx_squeeze(mlx_array* out, mlx_array a, mlx_stream s) {
  return attempt([&] { put(out, mx::squeeze(get(a), get(s))); });
}

MLXC int mlx_unflatten(
    mlx_array* out,
    mlx_array a,
    int axis,
    const int* dims,
    size_t n,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::unflatten(get(a), axis, shape(dims, n), get(s))); });
}

MLXC int mlx_concatenate_axis(
    mlx_array* out,
    mlx_vector_array arrays,
    int axis,
    mlx_stream s) {
  return attempt([&] { put(out, mx::concatenate(get(arrays), axis, get(s))); });
}

MLXC int mlx_stack_axis(
    mlx_array* out,
    mlx_vector_array arrays,
    int axis,
    mlx_stream s) {
  return attempt([&] { put(out, mx::stack(get(arrays), axis, get(s))); });
}

MLXC int mlx_split(
    mlx_vector_array* out,
    mlx_array a,
    int parts,
    int axis,
    mlx_stream s) {
  return attempt([&] { put(out, mx::split(get(a), parts, axis, get(s))); });
}

MLXC int mlx_split_sections(
    mlx_vector_array* out,
    mlx_array a,
    const int* indices,
    size_t n,
    int axis,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::split(get(a), shape(indices, n), axis, get(s))); });
}

MLXC int mlx_roll_axis(
    mlx_array* out,
    mlx_array a,
    const int* shift,
    size_t n,
    int axis,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::roll(get(a), shape(shift, n), axis, get(s))); });
}

MLXC int mlx_pad(
    mlx_array* out,
    mlx_array a,
    const int* axes,
    size_t axes_n,
    const int* low,
    size_t low_n,
    const int* high,
    size_t high_n,
    mlx_array value,
    const char* mode,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::pad(
            get(a),
            ints(axes, axes_n),
            shape(low, low_n),
            shape(high, high_n),
            get(value),
            mode,
            get(s)));
  });
}

MLXC int mlx_slice(
    mlx_array* out,
    mlx_array a,
    const int* start,
    size_t start_n,
    const int* stop,
    size_t stop_n,
    const int* strides,
    size_t strides_n,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::slice(
            get(a),
            shape(start, start_n),
            shape(stop, stop_n),
            shape(strides, strides_n),
            get(s)));
  });
}

MLXC int mlx_slice_update(
    mlx_array* out,
    mlx_array a,
    mlx_array update,
    const int* start,
    size_t start_n,
    const int* stop,
    size_t stop_n,
    const int* strides,
    size_t strides_n,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::slice_update(
            get(a),
            get(update),
            shape(start, start_n),
            shape(stop, stop_n),
            shape(strides, strides_n),
            get(s)));
  });
}

MLXC int mlx_slice_dynamic(
    mlx_array* out,
    mlx_array a,
    mlx_array start,
    const int* axes,
    size_t axes_n,
    const int* size,
    size_t size_n,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::slice(
            get(a),
            get(start),
            ints(axes, axes_n),
            shape(size, size_n),
            get(s)));
  });
}

MLXC int mlx_slice_update_dynamic(
    mlx_array* out,
    mlx_array a,
    mlx_array update,
    mlx_array start,
    const int* axes,
    size_t n,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::slice_update(
            get(a), get(update), get(start), ints(axes, n), get(s)));
  });
}

// Picking by indices along an axis.
#define INDEXED(name, function) \
  MLXC int mlx_##name( \
      mlx_array* out, \
      mlx_array a, \
      mlx_array indices, \
      int axis, \
      mlx_stream s) { \
    return attempt([&] { \
      put(out, mx::function(get(a), get(indices), axis, get(s))); \
    }); \
  }

INDEXED(take_axis, take)
INDEXED(take_along_axis, take_along_axis)

#define PUT_ALONG(name) \
  MLXC int mlx_##name( \
      mlx_array* out, \
      mlx_array a, \
      mlx_array indices, \
      mlx_array values, \
      int axis, \
      mlx_stream s) { \
    return attempt([&] { \
      put(out, mx::name(get(a), get(indices), get(values), axis, get(s))); \
    }); \
  }

PUT_ALONG(put_along_axis)
PUT_ALONG(scatter_add_axis)

MLXC int mlx_gather(
    mlx_array* out,
    mlx_array a,
    mlx_vector_array indices,
    const int* axes,
    size_t axes_n,
    const int* sizes,
    size_t sizes_n,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::gather(
            get(a),
            get(indices),
            ints(axes, axes_n),
            shape(sizes, sizes_n),
            get(s)));
  });
}

#define SCATTER(name) \
  MLXC int mlx_##name( \
      mlx_array* out, \
      mlx_array a, \
      mlx_vector_array indices, \
      mlx_array updates, \
      const int* axes, \
      size_t n, \
      mlx_stream s) { \
    return attempt([&] { \
      put(out, \
          mx::name(get(a), get(indices), get(updates), ints(axes, n), get(s))); \
    }); \
  }

SCATTER(scatter)
SCATTER(scatter_add)

MLXC int mlx_astype(mlx_array* out, mlx_array a, int type, mlx_stream s) {
  return attempt([&] { put(out, mx::astype(get(a), dtype(type), get(s))); });
}

MLXC int mlx_view(mlx_array* out, mlx_array a, int type, mlx_stream s) {
  return attempt([&] { put(out, mx::view(get(a), dtype(type), get(s))); });
}

MLXC int
mlx_contiguous(mlx_array* out, mlx_array a, bool col_major, mlx_stream s) {
  return attempt([&] { put(out, mx::contiguous(get(a), col_major, get(s))); });
}

MLXC int mlx_copy(mlx_array* out, mlx_array a, mlx_stream s) {
  return attempt([&] { put(out, mx::copy(get(a), get(s))); });
}

MLXC int mlx_zeros(
    mlx_array* out,
    const int* dims,
    size_t n,
    int type,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::zeros(shape(dims, n), dtype(type), get(s))); });
}

MLXC int mlx_full(
    mlx_array* out,
    const int* dims,
    size_t n,
    mlx_array value,
    int type,
    mlx_stream s) {
  return attempt([&] {
    put(out, mx::full(shape(dims, n), get(value), dtype(type), get(s)));
  });
}

MLXC int mlx_arange(
    mlx_array* out,
    double start,
    double stop,
    double step,
    int type,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::arange(start, stop, step, dtype(type), get(s))); });
}

MLXC int
mlx_tri(mlx_array* out, int n, int m, int k, int type, mlx_stream s) {
  return attempt([&] { put(out, mx::tri(n, m, k, dtype(type), get(s))); });
}
