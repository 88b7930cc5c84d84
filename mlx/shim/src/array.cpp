// Errors, versions, strings, arrays and vectors.

#include "shim.h"

#include <cstdio>
#include <cstring>

#include "mlx/allocator.h"

using Handler = void (*)(const char* message, void* data);

namespace {

void print(const char* message, void*) {
  std::fprintf(stderr, "MLX error: %s\n", message);
}

Handler handler = print;
std::shared_ptr<void> handler_data;

constexpr mx::Dtype dtypes[] = {
    mx::bool_, mx::uint8, mx::uint16, mx::uint32,  mx::uint64,
    mx::int8,  mx::int16, mx::int32,  mx::int64,   mx::float16,
    mx::float32, mx::float64, mx::bfloat16, mx::complex64,
};

} // namespace

void report(const char* message) noexcept {
  handler(message, handler_data.get());
}

mx::Dtype dtype(int number) {
  if (number < 0 || static_cast<size_t>(number) >= std::size(dtypes)) {
    throw std::invalid_argument("unknown dtype " + std::to_string(number));
  }
  return dtypes[number];
}

MLXC void mlx_set_error_handler(Handler f, void* data, void (*dtor)(void*)) {
  handler_data = dtor ? std::shared_ptr<void>(data, dtor)
                      : std::shared_ptr<void>(data, [](void*) {});
  handler = f ? f : print;
}

MLXC int mlx_version(mlx_string* out) {
  return attempt([&] { put(out, std::string(mx::version())); });
}

MLXC mlx_string mlx_string_new() {
  return {nullptr};
}

MLXC const char* mlx_string_data(mlx_string s) {
  const char* data = nullptr;
  attempt([&] { data = get(s).c_str(); });
  return data;
}

MLXC int mlx_string_free(mlx_string s) {
  return drop(s);
}

MLXC mlx_array mlx_array_new_data(
    const void* data,
    const int* dims,
    int n,
    int type) {
  return create([&] {
    size_t bytes = dtype(type).size();
    for (int i = 0; i < n; i++) {
      bytes *= dims[i];
    }
    auto memory = mx::allocator::malloc(bytes);
    if (bytes > 0) {
      void* p = memory.buffer().raw_ptr();
      if (!p) { // MLX's allocator for the CPU doesn't throw
        throw std::runtime_error(
            "[malloc] Unable to allocate " + std::to_string(bytes) + " bytes.");
      }
      std::memcpy(p, data, bytes);
    }
    return make(mx::array(std::move(memory), shape(dims, n), dtype(type)));
  });
}

MLXC int mlx_array_free(mlx_array a) {
  return drop(a);
}

MLXC size_t mlx_array_ndim(mlx_array a) {
  size_t n = 0;
  attempt([&] { n = get(a).ndim(); });
  return n;
}

MLXC const int* mlx_array_shape(mlx_array a) {
  const int* dims = nullptr;
  attempt([&] { dims = get(a).shape().data(); });
  return dims;
}

MLXC size_t mlx_array_size(mlx_array a) {
  size_t n = 0;
  attempt([&] { n = get(a).size(); });
  return n;
}

MLXC size_t mlx_array_nbytes(mlx_array a) {
  size_t n = 0;
  attempt([&] { n = get(a).nbytes(); });
  return n;
}

MLXC int mlx_array_dtype(mlx_array a) {
  int number = 0;
  attempt([&] {
    while (dtypes[number] != get(a).dtype()) {
      number++;
    }
  });
  return number;
}

MLXC int mlx_array_eval(mlx_array a) {
  return attempt([&] { get(a).eval(); });
}

MLXC int _mlx_array_is_row_contiguous(bool* res, mlx_array a) {
  return attempt([&] { *res = get(a).flags().row_contiguous; });
}

MLXC const uint8_t* mlx_array_data_uint8(mlx_array a) {
  const uint8_t* data = nullptr;
  attempt([&] { data = get(a).data<uint8_t>(); });
  return data;
}

MLXC mlx_vector_array mlx_vector_array_new_data(
    const mlx_array* arrays,
    size_t n) {
  return create([&] {
    Arrays v;
    v.reserve(n);
    for (size_t i = 0; i < n; i++) {
      v.push_back(get(arrays[i]));
    }
    return make(std::move(v));
  });
}

MLXC int mlx_vector_array_set_data(
    mlx_vector_array* out,
    const mlx_array* arrays,
    size_t n) {
  return attempt([&] {
    Arrays v;
    v.reserve(n);
    for (size_t i = 0; i < n; i++) {
      v.push_back(get(arrays[i]));
    }
    put(out, std::move(v));
  });
}

MLXC size_t mlx_vector_array_size(mlx_vector_array v) {
  size_t n = 0;
  attempt([&] { n = get(v).size(); });
  return n;
}

MLXC int mlx_vector_array_get(mlx_array* out, mlx_vector_array v, size_t i) {
  return attempt([&] { put(out, get(v).at(i)); });
}

MLXC int mlx_vector_array_free(mlx_vector_array v) {
  return drop(v);
}

MLXC mlx_vector_string mlx_vector_string_new_data(
    const char** strings,
    size_t n) {
  return create([&] { return make(Strings(strings, strings + n)); });
}

MLXC int mlx_vector_string_free(mlx_vector_string v) {
  return drop(v);
}
