package kvstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file holds one entry, all numbers little-endian:
//
//	magic     8 bytes "IFLUXKVS"
//	version   uint32  1
//	meta      uint32  bytes of the description
//	body      uint64  bytes of the exported sequence, at least 1
//	id        16 bytes, random; in hexadecimal the file's name
//	key       8 bytes: which key the frames are encrypted with, zeros for none
//	checksum  uint32  CRC-32C of all that precedes it
//	frames    the description, then the body cut into pieces of 1 MiB
//
// The description is a frame of its own:
//
//	model, tenant  uint16 length and that many bytes each
//	tokens         int32 each, to the frame's end
//
// A frame is its content and a seal: 4 bytes of CRC-32C over the id, the
// frame's nonce, what it is bound to and its content; or the 16 bytes of the tag
// of AES-256-GCM, under a key derived from the configured one and the id. The
// nonce counts the frames and marks the last, so that none can be left out,
// moved, or taken from another file. The description is bound to the header.
//
// CRC-32C is to find what a disk does to data; the exported sequence carries a
// SHA-256 of its own. Only a key guards against intent.
const (
	magic      = "IFLUXKVS"
	version    = 1
	headerSize = 8 + 4 + 4 + 8 + 16 + 8 + 4
	frameSize  = 1 << 20
	maxMeta    = 2*(2+maxName) + 4*maxTokens
	maxBody    = 1 << 50
)

type fileID [16]byte

type keyID [8]byte

type header struct {
	meta int
	body int64
	id   fileID
	key  keyID
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors about a file's first bytes.
var (
	errForeign = errors.New("it isn't a file of this package")
	errVersion = errors.New("it has another version")
	errHeader  = errors.New("its header is damaged")
)

func (h header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.meta))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.body))
	b = append(b, h.id[:]...)
	b = append(b, h.key[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseHeader reads the first headerSize bytes of a file, or fewer if it is
// shorter.
func parseHeader(b []byte) (header, error) {
	var h header
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return h, errForeign
	}
	if len(b) < headerSize {
		return h, errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		// A later version may keep its checksum elsewhere. An earlier one isn't.
		if v > version {
			return h, errVersion
		}
		return h, errHeader
	}
	sum := b[headerSize-4 : headerSize]
	if crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(sum) {
		return h, errHeader
	}
	meta, body := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint64(b[16:])
	if meta > maxMeta || body < 1 || body > maxBody {
		return h, errHeader
	}
	h.meta, h.body = int(meta), int64(body)
	copy(h.id[:], b[24:])
	copy(h.key[:], b[40:])
	return h, nil
}

// fileSize is the size of a file whose frames have the given overhead.
func fileSize(meta int, body int64, overhead int) int64 {
	frames := (body + frameSize - 1) / frameSize
	return headerSize + int64(meta) + body + (frames+1)*int64(overhead)
}

func metaSize(scope Scope, tokens int) int {
	return 2 + len(scope.Model) + 2 + len(scope.Tenant) + 4*tokens
}

func appendMeta(b []byte, scope Scope, tokens []int32) []byte {
	for _, n := range []string{scope.Model, scope.Tenant} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(n)))
		b = append(b, n...)
	}
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	return b
}

func parseMeta(b []byte) (scope Scope, tokens []int32, err error) {
	for _, n := range []*string{&scope.Model, &scope.Tenant} {
		if len(b) < 2 {
			return scope, nil, errHeader
		}
		k := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; k > len(b) || k > maxName {
			return scope, nil, errHeader
		}
		*n, b = string(b[:k]), b[k:]
	}
	if len(b) == 0 || len(b)%4 != 0 || len(b) > 4*maxTokens {
		return scope, nil, errHeader
	}
	tokens = make([]int32, len(b)/4)
	for i := range tokens {
		tokens[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return scope, tokens, nil
}

// readMeta reads the description from a reader that is past the header h.
func readMeta(r io.Reader, h header, g guard) (Scope, []int32, error) {
	b := make([]byte, h.meta+g.overhead())
	if _, err := io.ReadFull(r, b); err != nil {
		return Scope{}, nil, err
	}
	b, err := g.open(b, nonce(0, metaFrame), h.append(nil))
	if err != nil {
		return Scope{}, nil, errHeader
	}
	return parseMeta(b)
}

// The kinds of frames.
const (
	bodyFrame = iota
	lastFrame
	metaFrame
)

type frameNonce [12]byte

func nonce(i int64, kind byte) frameNonce {
	var n frameNonce
	n[0] = kind
	binary.LittleEndian.PutUint64(n[4:], uint64(i))
	return n
}

// bodyWriter cuts what is written to it into frames.
type bodyWriter struct {
	w   io.Writer
	g   guard
	buf []byte // the frame begun, with room for its seal
	i   int64
	n   int64 // bytes of content
	err error // of w
}

// newBodyWriter makes one for at most limit bytes.
func newBodyWriter(w io.Writer, g guard, limit int64) *bodyWriter {
	return &bodyWriter{w: w, g: g, buf: make([]byte, 0, min(limit, frameSize)+int64(g.overhead()))}
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if len(w.buf) == frameSize {
			if err := w.flush(bodyFrame); err != nil {
				return done, err
			}
		}
		k := min(len(p)-done, frameSize-len(w.buf))
		w.buf = append(w.buf, p[done:done+k]...)
		done += k
		w.n += int64(k)
	}
	return done, nil
}

func (w *bodyWriter) flush(kind byte) error {
	if w.err == nil {
		_, w.err = w.w.Write(w.g.seal(w.buf, nonce(w.i, kind), nil))
		w.i++
		w.buf = w.buf[:0]
	}
	return w.err
}

// bodyReader hands out the content of frames, each after its seal was checked.
type bodyReader struct {
	r    io.Reader
	g    guard
	buf  []byte
	rest []byte // of the current frame, yet to be read
	i    int64
	left int64 // bytes of content that no frame was read of yet
	err  error
}

func newBodyReader(r io.Reader, g guard, size int64) *bodyReader {
	return &bodyReader{r: r, g: g, left: size, buf: make([]byte, min(size, frameSize)+int64(g.overhead()))}
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.left == 0 {
			return 0, io.EOF
		}
		r.rest, r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *bodyReader) next() ([]byte, error) {
	k := min(r.left, frameSize)
	kind := byte(bodyFrame)
	if k == r.left {
		kind = lastFrame
	}
	b := r.buf[:k+int64(r.g.overhead())]
	if _, err := io.ReadFull(r.r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it ends early", ErrDamaged)
		}
		return nil, err
	}
	b, err := r.g.open(b, nonce(r.i, kind), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: frame %d doesn't match its seal", ErrDamaged, r.i)
	}
	r.i++
	r.left -= k
	return b, nil
}
