package gguf

import (
	"crypto/sha256"
	"encoding/hex"
)

// What Fingerprint takes of the data.
const (
	sampledTensors = 1024
	sampledBytes   = 512
)

// Fingerprint is a SHA-256, in hexadecimal, over each part's header (all
// metadata, names, types, shapes and offsets) and size, and over 512 bytes from
// the middle of every tensor (of 1,024 of them, evenly spread, if there are
// more). So files that differ in any name, setting or shape differ, and so do
// models trained apart; a file changed by hand elsewhere in a tensor doesn't. It
// doesn't depend on where the files lie. It is computed on the first call, which
// reads up to 1,024 pages: a few milliseconds. After Close it is what it was
// before, or "" if nobody asked.
func (f *File) Fingerprint() string { return f.fingerprint() }

func (f *File) computeFingerprint() string {
	if f.closed.Load() {
		return ""
	}
	hash := sha256.New()
	for _, p := range f.parts {
		hash.Write(p.meta.data)
		hash.Write(le.AppendUint64(nil, uint64(p.size)))
	}
	samples := min(len(f.tensors), sampledTensors)
	for i := range samples {
		t := f.tensors[i*len(f.tensors)/samples]
		n := min(t.bytes, sampledBytes)
		from := t.offset + (t.bytes-n)/2
		hash.Write(t.part.file.Data[from : from+n])
	}
	return hex.EncodeToString(hash.Sum(nil))
}
