// Files.

#include "shim.h"

namespace {

// Iterator is the place in a map that C walks through, and the map.
template <class M>
struct Iterator {
  void* ctx;
  void* map;

  typename M::iterator& place() const {
    return *static_cast<typename M::iterator*>(ctx);
  }
};

template <class M>
Iterator<M> begin(Handle<M> map) noexcept {
  Iterator<M> it{nullptr, nullptr};
  attempt([&] {
    it = {new typename M::iterator(get(map).begin()), &get(map)};
  });
  return it;
}

template <class M>
int end(Iterator<M> it) noexcept {
  return attempt([&] { delete static_cast<typename M::iterator*>(it.ctx); });
}

// done says that the walk is over. It is no failure.
constexpr int done = 2;

template <class M, class F>
int next(Iterator<M> it, F&& visit) noexcept {
  if (!it.ctx || it.place() == static_cast<M*>(it.map)->end()) {
    return done;
  }
  return attempt([&] { visit(*it.place()++); });
}

} // namespace

using ArrayIterator = Iterator<ArrayMap>;
using StringIterator = Iterator<StringMap>;

MLXC mlx_map_string_to_array mlx_map_string_to_array_new() {
  return create([] { return make(ArrayMap()); });
}

MLXC int mlx_map_string_to_array_free(mlx_map_string_to_array map) {
  return drop(map);
}

MLXC int mlx_map_string_to_array_insert(
    mlx_map_string_to_array map,
    const char* key,
    mlx_array value) {
  return attempt([&] { get(map).insert_or_assign(key, get(value)); });
}

MLXC ArrayIterator
mlx_map_string_to_array_iterator_new(mlx_map_string_to_array map) {
  return begin(map);
}

MLXC int mlx_map_string_to_array_iterator_free(ArrayIterator it) {
  return end(it);
}

MLXC int mlx_map_string_to_array_iterator_next(
    const char** key,
    mlx_array* value,
    ArrayIterator it) {
  return next(it, [&](auto& entry) {
    *key = entry.first.c_str();
    put(value, entry.second);
  });
}

MLXC mlx_map_string_to_string mlx_map_string_to_string_new() {
  return create([] { return make(StringMap()); });
}

MLXC int mlx_map_string_to_string_free(mlx_map_string_to_string map) {
  return drop(map);
}

MLXC int mlx_map_string_to_string_insert(
    mlx_map_string_to_string map,
    const char* key,
    const char* value) {
  return attempt([&] { get(map).insert_or_assign(key, value); });
}

MLXC StringIterator
mlx_map_string_to_string_iterator_new(mlx_map_string_to_string map) {
  return begin(map);
}

MLXC int mlx_map_string_to_string_iterator_free(StringIterator it) {
  return end(it);
}

MLXC int mlx_map_string_to_string_iterator_next(
    const char** key,
    const char** value,
    StringIterator it) {
  return next(it, [&](auto& entry) {
    *key = entry.first.c_str();
    *value = entry.second.c_str();
  });
}

MLXC int mlx_load(mlx_array* out, const char* file, mlx_stream s) {
  return attempt([&] { put(out, mx::load(std::string(file), get(s))); });
}

MLXC int mlx_save(const char* file, mlx_array a) {
  return attempt([&] { mx::save(std::string(file), get(a)); });
}

MLXC int mlx_load_safetensors(
    mlx_map_string_to_array* arrays,
    mlx_map_string_to_string* metadata,
    const char* file,
    mlx_stream s) {
  return attempt([&] {
    auto [a, m] = mx::load_safetensors(std::string(file), get(s));
    put(arrays, ArrayMap(std::move(a)));
    put(metadata, StringMap(std::move(m)));
  });
}

MLXC int mlx_save_safetensors(
    const char* file,
    mlx_map_string_to_array arrays,
    mlx_map_string_to_string metadata) {
  return attempt([&] {
    mx::save_safetensors(std::string(file), get(arrays), get(metadata));
  });
}
