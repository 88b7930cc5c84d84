// Operations on elements, reductions and orders.

#include "shim.h"

#define UNARY(name) \
  MLXC int mlx_##name(mlx_array* out, mlx_array a, mlx_stream s) { \
    return attempt([&] { put(out, mx::name(get(a), get(s))); }); \
  }

UNARY(negative)
UNARY(abs)
UNARY(exp)
UNARY(expm1)
UNARY(log)
UNARY(log1p)
UNARY(sigmoid)
UNARY(tanh)
UNARY(erf)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(square)
UNARY(reciprocal)
UNARY(sin)
UNARY(cos)
UNARY(floor)
UNARY(ceil)
UNARY(sign)
UNARY(logical_not)
UNARY(isnan)
UNARY(isinf)

#define BINARY(name) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, mlx_array b, mlx_stream s) { \
    return attempt([&] { put(out, mx::name(get(a), get(b), get(s))); }); \
  }

BINARY(add)
BINARY(subtract)
BINARY(multiply)
BINARY(divide)
BINARY(maximum)
BINARY(minimum)
BINARY(power)
BINARY(remainder)
BINARY(floor_divide)
BINARY(logaddexp)
BINARY(equal)
BINARY(not_equal)
BINARY(greater)
BINARY(greater_equal)
BINARY(less)
BINARY(less_equal)
BINARY(logical_and)
BINARY(logical_or)
BINARY(bitwise_and)
BINARY(bitwise_or)
BINARY(bitwise_xor)
BINARY(left_shift)
BINARY(right_shift)

MLXC int mlx_round(mlx_array* out, mlx_array a, int decimals, mlx_stream s) {
  return attempt([&] { put(out, mx::round(get(a), decimals, get(s))); });
}

MLXC int mlx_clip(
    mlx_array* out,
    mlx_array a,
    mlx_array low,
    mlx_array high,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::clip(get(a), maybe(low), maybe(high), get(s))); });
}

MLXC int mlx_where(
    mlx_array* out,
    mlx_array condition,
    mlx_array x,
    mlx_array y,
    mlx_stream s) {
  return attempt(
      [&] { put(out, mx::where(get(condition), get(x), get(y), get(s))); });
}

#define REDUCTION(name) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, bool keepdims, mlx_stream s) { \
    return attempt([&] { put(out, mx::name(get(a), keepdims, get(s))); }); \
  } \
  MLXC int mlx_##name##_axes( \
      mlx_array* out, \
      mlx_array a, \
      const int* axes, \
      size_t n, \
      bool keepdims, \
      mlx_stream s) { \
    return attempt([&] { \
      put(out, mx::name(get(a), ints(axes, n), keepdims, get(s))); \
    }); \
  }

REDUCTION(sum)
REDUCTION(max)
REDUCTION(min)
REDUCTION(mean)
REDUCTION(prod)
REDUCTION(all)
REDUCTION(any)
REDUCTION(logsumexp)

// An axis and a flag.
#define AXIS_FLAG(name, function) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, int axis, bool flag, mlx_stream s) { \
    return attempt( \
        [&] { put(out, mx::function(get(a), axis, flag, get(s))); }); \
  }

AXIS_FLAG(argmax_axis, argmax)
AXIS_FLAG(argmin_axis, argmin)
AXIS_FLAG(softmax_axis, softmax)

MLXC int mlx_cumsum(
    mlx_array* out,
    mlx_array a,
    bool reverse,
    bool inclusive,
    mlx_optional_dtype type,
    mlx_stream s) {
  return attempt([&] {
    put(out, mx::cumsum(get(a), reverse, inclusive, maybe(type), get(s)));
  });
}

MLXC int mlx_cumsum_axis(
    mlx_array* out,
    mlx_array a,
    int axis,
    bool reverse,
    bool inclusive,
    mlx_optional_dtype type,
    mlx_stream s) {
  return attempt([&] {
    put(out, mx::cumsum(get(a), axis, reverse, inclusive, maybe(type), get(s)));
  });
}

#define ONE_INT(name, function) \
  MLXC int mlx_##name(mlx_array* out, mlx_array a, int n, mlx_stream s) { \
    return attempt([&] { put(out, mx::function(get(a), n, get(s))); }); \
  }

ONE_INT(sort_axis, sort)
ONE_INT(argsort_axis, argsort)

#define TWO_INTS(name, function) \
  MLXC int mlx_##name( \
      mlx_array* out, mlx_array a, int n, int axis, mlx_stream s) { \
    return attempt([&] { put(out, mx::function(get(a), n, axis, get(s))); }); \
  }

TWO_INTS(partition_axis, partition)
TWO_INTS(argpartition_axis, argpartition)
TWO_INTS(topk_axis, topk)
