// Matrix products, quantized ones, and what has fused kernels.

#include "shim.h"

MLXC int mlx_matmul(mlx_array* out, mlx_array a, mlx_array b, mlx_stream s) {
  return attempt([&] { put(out, mx::matmul(get(a), get(b), get(s))); });
}

MLXC int mlx_addmm(
    mlx_array* out,
    mlx_array c,
    mlx_array a,
    mlx_array b,
    float alpha,
    float beta,
    mlx_stream s) {
  return attempt([&] {
    put(out, mx::addmm(get(c), get(a), get(b), alpha, beta, get(s)));
  });
}

MLXC int mlx_gather_mm(
    mlx_array* out,
    mlx_array a,
    mlx_array b,
    mlx_array lhs,
    mlx_array rhs,
    bool sorted,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::gather_mm(
            get(a), get(b), maybe(lhs), maybe(rhs), sorted, get(s)));
  });
}

MLXC int mlx_quantize(
    mlx_vector_array* out,
    mlx_array w,
    mlx_optional_int group,
    mlx_optional_int bits,
    const char* mode,
    mlx_array global_scale,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::quantize(
            get(w),
            maybe(group),
            maybe(bits),
            mode,
            maybe(global_scale),
            get(s)));
  });
}

MLXC int mlx_dequantize(
    mlx_array* out,
    mlx_array w,
    mlx_array scales,
    mlx_array biases,
    mlx_optional_int group,
    mlx_optional_int bits,
    const char* mode,
    mlx_array global_scale,
    mlx_optional_dtype type,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::dequantize(
            get(w),
            get(scales),
            maybe(biases),
            maybe(group),
            maybe(bits),
            mode,
            maybe(global_scale),
            maybe(type),
            get(s)));
  });
}

MLXC int mlx_quantized_matmul(
    mlx_array* out,
    mlx_array x,
    mlx_array w,
    mlx_array scales,
    mlx_array biases,
    bool transpose,
    mlx_optional_int group,
    mlx_optional_int bits,
    const char* mode,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::quantized_matmul(
            get(x),
            get(w),
            get(scales),
            maybe(biases),
            transpose,
            maybe(group),
            maybe(bits),
            mode,
            get(s)));
  });
}

MLXC int mlx_gather_qmm(
    mlx_array* out,
    mlx_array x,
    mlx_array w,
    mlx_array scales,
    mlx_array biases,
    mlx_array lhs,
    mlx_array rhs,
    bool transpose,
    mlx_optional_int group,
    mlx_optional_int bits,
    const char* mode,
    mlx_array global_scale,
    bool sorted,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::gather_qmm(
            get(x),
            get(w),
            get(scales),
            maybe(biases),
            maybe(lhs),
            maybe(rhs),
            transpose,
            maybe(group),
            maybe(bits),
            mode,
            maybe(global_scale),
            sorted,
            get(s)));
  });
}

MLXC int mlx_fast_rms_norm(
    mlx_array* out,
    mlx_array x,
    mlx_array weight,
    float eps,
    mlx_stream s) {
  return attempt([&] {
    put(out, mx::fast::rms_norm(get(x), maybe(weight), eps, get(s)));
  });
}

MLXC int mlx_fast_layer_norm(
    mlx_array* out,
    mlx_array x,
    mlx_array weight,
    mlx_array bias,
    float eps,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::fast::layer_norm(
            get(x), maybe(weight), maybe(bias), eps, get(s)));
  });
}

MLXC int mlx_fast_rope(
    mlx_array* out,
    mlx_array x,
    int dims,
    bool traditional,
    mlx_optional_float base,
    float scale,
    int offset,
    mlx_array freqs,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::fast::rope(
            get(x),
            dims,
            traditional,
            maybe(base),
            scale,
            offset,
            maybe(freqs),
            get(s)));
  });
}

MLXC int mlx_fast_rope_dynamic(
    mlx_array* out,
    mlx_array x,
    int dims,
    bool traditional,
    mlx_optional_float base,
    float scale,
    mlx_array offset,
    mlx_array freqs,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::fast::rope(
            get(x),
            dims,
            traditional,
            maybe(base),
            scale,
            get(offset),
            maybe(freqs),
            get(s)));
  });
}

MLXC int mlx_fast_scaled_dot_product_attention(
    mlx_array* out,
    mlx_array q,
    mlx_array k,
    mlx_array v,
    float scale,
    const char* mask_mode,
    mlx_array mask,
    mlx_array sinks,
    bool force_fused,
    mlx_stream s) {
  return attempt([&] {
    put(out,
        mx::fast::scaled_dot_product_attention(
            get(q),
            get(k),
            get(v),
            scale,
            mask_mode,
            maybe(mask),
            maybe(sinks),
            force_fused,
            get(s)));
  });
}
