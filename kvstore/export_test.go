package kvstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Settle waits until the saver has nothing to do.
func (s *Store) Settle() {
	for s.saveOne(context.Background(), s.memory.limit/2, false) {
		continue
	}
}

// FrameSize is the content of a whole frame.
const FrameSize = frameSize

// ReadFile reads a file as a store with the key does, and returns what it trusts.
func ReadFile(b, key []byte) (Scope, []int32, []byte, error) {
	keys, err := newKeyring(key)
	if err != nil {
		return Scope{}, nil, nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return Scope{}, nil, nil, err
	}
	if h.key != keys.id || int64(len(b)) != fileSize(h.meta, h.body, keys.overhead()) {
		return Scope{}, nil, nil, errHeader
	}
	g, err := keys.guard(h.id)
	if err != nil {
		return Scope{}, nil, nil, err
	}
	r := bytes.NewReader(b[headerSize:])
	scope, tokens, err := readMeta(r, h, g)
	if err != nil {
		return Scope{}, nil, nil, err
	}
	body, err := io.ReadAll(newBodyReader(r, g, h.body))
	return scope, tokens, body, err
}

// Reseal makes a file of a header's fields between version and checksum, and what
// follows it, with the checksums of header and description made right.
func Reseal(fields, rest []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(magic), version)
	b = append(b, fields[:min(len(fields), headerSize-4-len(b))]...)
	b = append(b, make([]byte, headerSize-4-len(b))...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	h, err := parseHeader(b)
	b = append(b, rest...)
	if err != nil || headerSize+h.meta+4 > len(b) {
		return b
	}
	meta := b[headerSize : headerSize+h.meta]
	binary.LittleEndian.PutUint32(b[headerSize+h.meta:], checksum{h.id}.sum(meta, nonce(0, metaFrame), b[:headerSize]))
	return b
}
