package mlx

import (
	"maps"
	"slices"
	"unsafe"
)

// Files are read and written by MLX's own code, which trusts them. What comes
// from strangers is better read with package checkpoint and given to FromBytes.

// Load reads an array from a .npy file.
func (s *Scope) Load(path string) Array {
	if s.err != nil {
		return Array{}
	}
	name := cString(path)
	s.pinned = unsafe.Pointer(name)
	defer s.unpin()
	s.args[0], s.args[1], s.args[2] = s.outPtr, uintptr(s.pinned), s.lib.cpuStream
	return s.call(fnLoad, 3)
}

// Save evaluates an array and writes it as a .npy file.
func (s *Scope) Save(path string, a Array) {
	if s.err != nil {
		return
	}
	name := cString(path)
	if rc := callC(s.lib.fns[fnSave], uintptr(unsafe.Pointer(name)), a.ctx); int32(rc) != 0 {
		s.fail(fnSave, a)
	}
}

func (s *Scope) unpin() { s.pinned = nil }

// LoadSafetensors reads a .safetensors file: its arrays and its metadata, by
// name. The arrays' elements are read when they are evaluated.
func (s *Scope) LoadSafetensors(path string) (arrays map[string]Array, metadata map[string]string) {
	if s.err != nil {
		return nil, nil
	}
	fns := &s.lib.fns
	name := cString(path)
	tables := &[2]uintptr{callC(fns[fnMapArrayNew]), callC(fns[fnMapStringNew])}
	defer func() {
		callC(fns[fnMapArrayFree], tables[0])
		callC(fns[fnMapStringFree], tables[1])
	}()
	rc := callC(fns[fnLoadSafetensors], uintptr(unsafe.Pointer(&tables[0])), uintptr(unsafe.Pointer(&tables[1])), uintptr(unsafe.Pointer(name)), s.lib.cpuStream)
	if int32(rc) != 0 {
		s.fail(fnLoadSafetensors)
		return nil, nil
	}
	arrays, metadata = map[string]Array{}, map[string]string{}
	entry := new([2]uintptr)
	it, table := callC2(fns[fnMapArrayIteratorNew], tables[0])
	for {
		*entry = [2]uintptr{}
		if rc := callC(fns[fnMapArrayIteratorNext], uintptr(unsafe.Pointer(&entry[0])), uintptr(unsafe.Pointer(&entry[1])), it, table); int32(rc) != 0 {
			break
		}
		arrays[goString(entry[0])] = s.made(entry[1])
	}
	callC(fns[fnMapArrayIteratorFree], it, table)
	it, table = callC2(fns[fnMapStringIteratorNew], tables[1])
	for {
		*entry = [2]uintptr{}
		if rc := callC(fns[fnMapStringIteratorNext], uintptr(unsafe.Pointer(&entry[0])), uintptr(unsafe.Pointer(&entry[1])), it, table); int32(rc) != 0 {
			break
		}
		metadata[goString(entry[0])] = goString(entry[1])
	}
	callC(fns[fnMapStringIteratorFree], it, table)
	return arrays, metadata
}

// SaveSafetensors evaluates arrays and writes them as a .safetensors file.
func (s *Scope) SaveSafetensors(path string, arrays map[string]Array, metadata map[string]string) {
	if s.err != nil {
		return
	}
	fns := &s.lib.fns
	a, m := callC(fns[fnMapArrayNew]), callC(fns[fnMapStringNew])
	defer func() {
		callC(fns[fnMapArrayFree], a)
		callC(fns[fnMapStringFree], m)
	}()
	for _, key := range slices.Sorted(maps.Keys(arrays)) {
		k := cString(key)
		if rc := callC(fns[fnMapArrayInsert], a, uintptr(unsafe.Pointer(k)), arrays[key].ctx); int32(rc) != 0 {
			s.fail(fnSaveSafetensors, arrays[key])
			return
		}
	}
	for key, value := range metadata {
		k, v := cString(key), cString(value)
		if rc := callC(fns[fnMapStringInsert], m, uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(v))); int32(rc) != 0 {
			s.fail(fnSaveSafetensors)
			return
		}
	}
	name := cString(path)
	if rc := callC(fns[fnSaveSafetensors], uintptr(unsafe.Pointer(name)), a, m); int32(rc) != 0 {
		s.fail(fnSaveSafetensors)
	}
}
