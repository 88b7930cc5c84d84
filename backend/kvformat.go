package backend

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/bits"
)

// KVDType is the element type of an exported sequence.
type KVDType uint8

// The element types.
const (
	KVF32 KVDType = 1 // IEEE binary32, little-endian
	KVF16 KVDType = 2 // IEEE binary16, little-endian
)

// Size is the bytes of one element, 0 for an unknown type.
func (d KVDType) Size() int {
	switch d {
	case KVF32:
		return 4
	case KVF16:
		return 2
	}
	return 0
}

// String is "f32" or "f16".
func (d KVDType) String() string {
	switch d {
	case KVF32:
		return "f32"
	case KVF16:
		return "f16"
	}
	return fmt.Sprintf("KVDType(%d)", uint8(d))
}

// KVHeader begins an exported sequence. All backends write and read the same
// bytes, little-endian:
//
//	magic        8 bytes "IFLUXKV\x00"
//	version      uint32  1
//	dtype        uint32  1 f32, 2 f16
//	layers, kv_heads, seq, head_dim   uint32 each
//	fingerprint  uint32 length (at most 256) and that many bytes
//	payload      K then V, each [layers, kv_heads, seq, head_dim], contiguous
//	checksum     32 bytes: SHA-256 of all that precedes it
//
// Keys are stored as attention uses them: rotated to their positions, the pairs
// in the order of the checkpoint's own rows.
type KVHeader struct {
	Fingerprint string // checkpoint.Checkpoint.Fingerprint of the model
	DType       KVDType
	Layers      int
	KVHeads     int
	Seq         int // positions
	HeadDim     int
}

const (
	kvMagic          = "IFLUXKV\x00"
	kvVersion        = 1
	maxKVFingerprint = 256
	maxKVDim         = 1 << 27
)

// ErrKVFormat is wrapped by every error about exported bytes that are damaged,
// of a later version, or of another model.
var ErrKVFormat = errors.New("unusable kv data")

// PayloadBytes is the size of K and V together.
func (h KVHeader) PayloadBytes() (int64, error) {
	if h.DType.Size() == 0 {
		return 0, fmt.Errorf("%w: unknown element type %d", ErrKVFormat, uint8(h.DType))
	}
	n := uint64(2 * h.DType.Size())
	for _, d := range []int{h.Layers, h.KVHeads, h.Seq, h.HeadDim} {
		if d < 1 || d > maxKVDim {
			return 0, fmt.Errorf("%w: dimensions [%d, %d, %d, %d] out of range", ErrKVFormat, h.Layers, h.KVHeads, h.Seq, h.HeadDim)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("%w: dimensions [%d, %d, %d, %d] are too large", ErrKVFormat, h.Layers, h.KVHeads, h.Seq, h.HeadDim)
		}
		n = lo
	}
	return int64(n), nil
}

// Fits reports, as an error, why a sequence exported with header h can't be
// read by an engine whose own exports begin with want (Seq and DType aside).
func (h KVHeader) Fits(want KVHeader) error {
	if h.Fingerprint != want.Fingerprint {
		return fmt.Errorf("%w: it belongs to model %q, this is %q", ErrKVFormat, h.Fingerprint, want.Fingerprint)
	}
	if h.Layers != want.Layers || h.KVHeads != want.KVHeads || h.HeadDim != want.HeadDim {
		return fmt.Errorf("%w: it has %d layers, %d heads of %d, this model %d, %d of %d", ErrKVFormat,
			h.Layers, h.KVHeads, h.HeadDim, want.Layers, want.KVHeads, want.HeadDim)
	}
	return nil
}

// KVWriter writes one exported sequence.
type KVWriter struct {
	w    io.Writer
	sum  hash.Hash
	left int64
}

// NewKVWriter writes the header. The payload follows by Write, and Close.
func NewKVWriter(w io.Writer, h KVHeader) (*KVWriter, error) {
	size, err := h.PayloadBytes()
	if err != nil {
		return nil, err
	}
	if len(h.Fingerprint) > maxKVFingerprint {
		return nil, fmt.Errorf("%w: fingerprint of %d bytes", ErrKVFormat, len(h.Fingerprint))
	}
	b := []byte(kvMagic)
	for _, v := range []int{kvVersion, int(h.DType), h.Layers, h.KVHeads, h.Seq, h.HeadDim, len(h.Fingerprint)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	b = append(b, h.Fingerprint...)
	kw := &KVWriter{w: w, sum: sha256.New(), left: int64(len(b)) + size}
	_, err = kw.Write(b)
	return kw, err
}

// Write appends to the payload.
func (w *KVWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, errors.New("kv payload is longer than its header says")
	}
	n, err := w.w.Write(p)
	w.sum.Write(p[:n])
	w.left -= int64(n)
	if err != nil {
		return n, fmt.Errorf("write kv data: %w", err)
	}
	return n, nil
}

// Close writes the checksum. It does not close the underlying writer.
func (w *KVWriter) Close() error {
	if w.left != 0 {
		return fmt.Errorf("kv payload lacks %d bytes", w.left)
	}
	if _, err := w.w.Write(w.sum.Sum(nil)); err != nil {
		return fmt.Errorf("write kv data: %w", err)
	}
	return nil
}

// KVReader reads one exported sequence. Nothing read from it may be trusted
// before Verify.
type KVReader struct {
	Header KVHeader
	r      io.Reader
	sum    hash.Hash
	left   int64
}

// NewKVReader reads and checks the header. It never reads, nor allocates, more
// than the header's own bytes.
func NewKVReader(r io.Reader) (*KVReader, error) {
	kr := &KVReader{r: r, sum: sha256.New()}
	fixed := make([]byte, len(kvMagic)+7*4)
	if err := kr.full(fixed); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(fixed, []byte(kvMagic)) {
		return nil, fmt.Errorf("%w: it begins with %q, expected %q", ErrKVFormat, fixed[:len(kvMagic)], kvMagic)
	}
	var v [7]int
	for i := range v {
		v[i] = int(binary.LittleEndian.Uint32(fixed[len(kvMagic)+4*i:]))
	}
	if v[0] != kvVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrKVFormat, v[0], kvVersion)
	}
	if v[1] > math.MaxUint8 || v[6] > maxKVFingerprint {
		return nil, fmt.Errorf("%w: element type %d, fingerprint of %d bytes", ErrKVFormat, v[1], v[6])
	}
	name := make([]byte, v[6])
	if err := kr.full(name); err != nil {
		return nil, err
	}
	kr.Header = KVHeader{Fingerprint: string(name), DType: KVDType(v[1]), Layers: v[2], KVHeads: v[3], Seq: v[4], HeadDim: v[5]}
	size, err := kr.Header.PayloadBytes()
	kr.left = size
	return kr, err
}

func (r *KVReader) full(p []byte) error {
	if _, err := io.ReadFull(r.r, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it ends early", ErrKVFormat)
		}
		return fmt.Errorf("read kv data: %w", err)
	}
	r.sum.Write(p)
	return nil
}

// ReadFull fills p from the payload; asking for more than is left is an error.
func (r *KVReader) ReadFull(p []byte) error {
	if int64(len(p)) > r.left {
		return fmt.Errorf("%w: the payload is shorter than expected", ErrKVFormat)
	}
	r.left -= int64(len(p))
	return r.full(p)
}

// Verify reads the checksum, after the whole payload, and compares it.
func (r *KVReader) Verify() error {
	if r.left != 0 {
		return fmt.Errorf("%w: %d bytes of payload were not expected", ErrKVFormat, r.left)
	}
	want := r.sum.Sum(nil)
	got := make([]byte, len(want))
	if err := r.full(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: the checksum doesn't match", ErrKVFormat)
	}
	return nil
}
