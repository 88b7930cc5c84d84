// A part of the C API of MLX (mlx-c), on MLX's C++ headers.
//
// Every handle is a struct of one pointer to a C++ object on the heap, null for
// an absent one. Functions that can fail return 0, or nonzero after having told
// the error handler why. A result goes to where the first argument points: into
// the object there if the handle is not null, else into a new one.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "mlx/mlx.h"

#define MLXC extern "C" __attribute__((visibility("default")))

namespace mx = mlx::core;

// Handle is what C holds of an object of type T.
template <class T>
struct Handle {
  void* ctx;
};

using Arrays = std::vector<mx::array>;
using Strings = std::vector<std::string>;
using Function = std::function<Arrays(const Arrays&)>;
using ArrayMap = std::unordered_map<std::string, mx::array>;
using StringMap = std::unordered_map<std::string, std::string>;
using DeviceInfo =
    std::unordered_map<std::string, std::variant<std::string, size_t>>;

using mlx_array = Handle<mx::array>;
using mlx_device = Handle<mx::Device>;
using mlx_stream = Handle<mx::Stream>;
using mlx_string = Handle<std::string>;
using mlx_vector_array = Handle<Arrays>;
using mlx_vector_string = Handle<Strings>;
using mlx_closure = Handle<Function>;
using mlx_map_string_to_array = Handle<ArrayMap>;
using mlx_map_string_to_string = Handle<StringMap>;
using mlx_device_info = Handle<DeviceInfo>;

struct mlx_optional_int {
  int value;
  bool has_value;
};
struct mlx_optional_float {
  float value;
  bool has_value;
};
struct mlx_optional_dtype {
  int value;
  bool has_value;
};

// report tells the error handler.
void report(const char* message) noexcept;

// attempt runs a function and says whether it failed, as C sees it.
template <class F>
int attempt(F&& f) noexcept {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    report(e.what());
  } catch (...) {
    report("an exception of unknown type");
  }
  return 1;
}

// get is the object of a handle.
template <class T>
T& get(Handle<T> h) {
  if (!h.ctx) {
    throw std::invalid_argument("an argument is absent that must be given");
  }
  return *static_cast<T*>(h.ctx);
}

// maybe is the object of a handle that may be null.
template <class T>
std::optional<T> maybe(Handle<T> h) {
  if (!h.ctx) {
    return std::nullopt;
  }
  return *static_cast<T*>(h.ctx);
}

inline std::optional<int> maybe(mlx_optional_int v) {
  return v.has_value ? std::optional<int>(v.value) : std::nullopt;
}

inline std::optional<float> maybe(mlx_optional_float v) {
  return v.has_value ? std::optional<float>(v.value) : std::nullopt;
}

mx::Dtype dtype(int number);

inline std::optional<mx::Dtype> maybe(mlx_optional_dtype v) {
  return v.has_value ? std::optional<mx::Dtype>(dtype(v.value)) : std::nullopt;
}

// make is a new handle.
template <class T>
Handle<T> make(T value) {
  return {new T(std::move(value))};
}

// put stores a result.
template <class T>
void put(Handle<T>* out, T value) {
  if (out->ctx) {
    *static_cast<T*>(out->ctx) = std::move(value);
  } else {
    *out = make(std::move(value));
  }
}

template <class T>
int drop(Handle<T> h) noexcept {
  return attempt([&] { delete static_cast<T*>(h.ctx); });
}

// create is the handle that f makes, or a null one if it fails.
template <class F>
auto create(F&& f) noexcept -> decltype(f()) {
  decltype(f()) h{nullptr};
  attempt([&] { h = f(); });
  return h;
}

inline mx::Shape shape(const int* dims, size_t n) {
  return mx::Shape(dims, dims + n);
}

inline std::vector<int> ints(const int* values, size_t n) {
  return std::vector<int>(values, values + n);
}
