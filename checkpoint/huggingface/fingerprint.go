package huggingface

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// What Fingerprint takes of the data.
const (
	sampledArrays = 1024
	sampledBytes  = 512
)

// Fingerprint is a SHA-256, in hexadecimal, over config.json, over each file's
// header (names, types, shapes and offsets) and size, and over 512 bytes from the
// middle of every array (of 1,024 of them, evenly spread, if there are more). So
// models that differ in any setting, name or shape differ, and so do models trained
// apart; one changed by hand elsewhere in a tensor doesn't. It doesn't depend on
// where the folder lies. It is computed on the first call, which reads up to 1,024
// pages. After Close it is what it was before, or "" if nobody asked.
func (c *Checkpoint) Fingerprint() string { return c.fingerprint() }

func (c *Checkpoint) computeFingerprint() string {
	if c.closed.Load() {
		return ""
	}
	hash := sha256.New()
	part := func(b []byte) {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b))))
		hash.Write(b)
	}
	part(c.config)
	var all []array
	for _, f := range c.files {
		part(f.Header())
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(f.Size())))
		for i, e := range f.Entries() {
			all = append(all, array{e, f, i})
		}
	}
	samples := min(len(all), sampledArrays)
	for i := range samples {
		a := all[i*len(all)/samples]
		data := a.file.Data(a.index)
		n := min(len(data), sampledBytes)
		from := (len(data) - n) / 2
		hash.Write(data[from : from+n])
	}
	return hex.EncodeToString(hash.Sum(nil))
}
