// Random numbers.

#include "shim.h"

MLXC int mlx_random_key(mlx_array* out, uint64_t seed) {
  return attempt([&] { put(out, mx::random::key(seed)); });
}

MLXC int
mlx_random_split_num(mlx_array* out, mlx_array key, int n, mlx_stream s) {
  return attempt([&] { put(out, mx::random::split(get(key), n, get(s))); });
}

MLXC int mlx_random_uniform(
    mlx_array* out,
    mlx_array low,
    mlx_array high,
    const int* dims,
    size_t n,
    int type,
    mlx_array key,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::random::uniform(
            get(low),
            get(high),
            shape(dims, n),
            dtype(type),
            maybe(key),
            get(s)));
  });
}

MLXC int mlx_random_normal(
    mlx_array* out,
    const int* dims,
    size_t n,
    int type,
    float mean,
    float deviation,
    mlx_array key,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::random::normal(
            shape(dims, n),
            dtype(type),
            mean,
            deviation,
            maybe(key),
            get(s)));
  });
}

MLXC int mlx_random_gumbel(
    mlx_array* out,
    const int* dims,
    size_t n,
    int type,
    mlx_array key,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::random::gumbel(shape(dims, n), dtype(type), maybe(key), get(s)));
  });
}

MLXC int mlx_random_categorical(
    mlx_array* out,
    mlx_array logits,
    int axis,
    mlx_array key,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::random::categorical(get(logits), axis, maybe(key), get(s)));
  });
}
