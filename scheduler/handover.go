package scheduler

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/inferflux/inferflux/backend"
)

// A sequence that is handed over, from one server to another or to a file, is
//
//	magic     8 bytes "IFLUXSEQ"
//	version   uint32  1
//	count     uint32  of its tokens
//	tokens    count × int32
//	checksum  32 bytes: SHA-256 of all that precedes it
//	kv        as backend.KV exports it, with the model's fingerprint and a checksum
//
// little-endian. The tokens say for which prompts the rest may be used.
const (
	handoverMagic   = "IFLUXSEQ"
	handoverVersion = 1
)

// Errors of handing over.
var (
	// ErrNotHeld: the cache of prefixes is off, or doesn't hold the sequence (any more).
	ErrNotHeld = errors.New("the sequence is not in the cache of prefixes")
	// ErrNoStore: there is nothing below the engine's memory to save to.
	ErrNoStore = errors.New("no storage for keys and values is configured (runtime.kv.host_memory, runtime.kv.disk)")
)

// Export writes the KV of tokens, which must be held for the tenant as a whole.
func (s *Scheduler) Export(ctx context.Context, tenant string, tokens []int32) (data []byte, err error) {
	failed := s.call(ctx, func() {
		var kv bytes.Buffer
		if err = s.exportHeld(tenant, tokens, &kv); err == nil {
			data = append(handoverHeader(tokens), kv.Bytes()...)
		}
	})
	return data, errors.Join(failed, err)
}

func (s *Scheduler) exportHeld(tenant string, tokens []int32, w io.Writer) error {
	if s.held == nil || len(tokens) == 0 {
		return ErrNotHeld
	}
	src, n := s.held.Lookup(tenant, tokens)
	if n < len(tokens) {
		return ErrNotHeld
	}
	seq, err := s.kv.Fork(src, n, n)
	if err != nil {
		return fmt.Errorf("export a sequence of %d tokens: %w", n, err)
	}
	if err = s.kv.Export(seq, w); err != nil {
		err = fmt.Errorf("export a sequence of %d tokens: %w", n, err)
	}
	return errors.Join(err, s.freed(seq))
}

// freed frees a sequence of the scheduler's own.
func (s *Scheduler) freed(seq backend.SeqID) error {
	err := s.kv.Free(seq)
	if err != nil {
		s.broken = fmt.Errorf("%w: free a sequence: %w", backend.ErrEngineFailed, err)
	}
	return err
}

// MostHandover is more bytes than any sequence takes that could be imported.
func (s *Scheduler) MostHandover() int64 { return int64(s.context)*(s.exported+4) + 1<<20 }

// Import holds a sequence that was exported, for the tenant, and returns how many tokens it
// has. An error that wraps backend.ErrKVFormat means that the data is damaged or another
// model's, backend.ErrKVFull that there is no room for it.
func (s *Scheduler) Import(ctx context.Context, tenant string, data []byte) (n int, err error) {
	tokens, kv, err := readHandover(data)
	if err != nil {
		return 0, err
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= s.vocab {
			return 0, fmt.Errorf("%w: token %d is not in the vocabulary of %d", backend.ErrKVFormat, t, s.vocab)
		}
	}
	failed := s.call(ctx, func() {
		err = s.holdImported(tenant, tokens, func(seq backend.SeqID) error {
			r := bytes.NewReader(kv)
			err := s.kv.Import(seq, r)
			if err == nil && r.Len() > 0 {
				err = fmt.Errorf("%w: %d bytes follow it", backend.ErrKVFormat, r.Len())
			}
			return err
		})
	})
	return len(tokens), errors.Join(failed, err)
}

// holdImported reserves a sequence, fills it, and holds it.
func (s *Scheduler) holdImported(tenant string, tokens []int32, fill func(backend.SeqID) error) error {
	if s.held == nil {
		return ErrNotHeld
	}
	if s.held.Held(tenant, tokens) == len(tokens) {
		return nil
	}
	defer s.recount()
	seq, err := s.evicting(len(tokens), 0, func() (backend.SeqID, error) { return s.kv.Reserve(len(tokens)) })
	if err != nil {
		return fmt.Errorf("reserve kv for %d tokens: %w", len(tokens), err)
	}
	err = fill(seq)
	if err == nil && s.kv.Len(seq) != len(tokens) {
		err = fmt.Errorf("%w: it has %d positions for %d tokens", backend.ErrKVFormat, s.kv.Len(seq), len(tokens))
	}
	if err != nil {
		return errors.Join(err, s.freed(seq))
	}
	if err := s.held.Insert(tenant, tokens, seq); err != nil {
		s.broken = fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
		return s.broken
	}
	return nil
}

// recount brings what Stats tells up to date.
func (s *Scheduler) recount() {
	if s.broken != nil {
		return
	}
	usage := s.kv.Usage()
	s.mu.Lock()
	s.usage, s.prefixes = usage, s.prefixStats()
	s.mu.Unlock()
}

// Save stores all that is held of ended sequences, and returns how many there were.
func (s *Scheduler) Save(ctx context.Context) (entries, tokens int, err error) {
	if s.opts.Store == nil {
		return 0, 0, ErrNoStore
	}
	err = s.call(ctx, func() {
		if s.held == nil {
			return
		}
		for e, seq := range s.held.All {
			s.stash(e, seq)
			if len(e.Tokens) >= leastStored {
				entries, tokens = entries+1, tokens+len(e.Tokens)
			}
		}
	})
	if err == nil {
		err = s.opts.Store.Flush(ctx)
	}
	return entries, tokens, err
}

// Restore holds what is stored for the model, the last used first, as far as there is room
// without giving anything up, and returns how much it was.
func (s *Scheduler) Restore(ctx context.Context) (entries, tokens int, err error) {
	if s.opts.Store == nil {
		return 0, 0, ErrNoStore
	}
	for _, e := range s.opts.Store.List() {
		if e.Scope.Model != s.opts.StoreModel {
			continue
		}
		done := false
		err = s.call(ctx, func() {
			if s.held == nil || e.Tokens > s.usage.Capacity-s.usage.Reserved || s.held.Held(e.Scope.Tenant, e.TokenIDs()) == e.Tokens {
				return
			}
			// One that is gone or damaged is no more than a pity.
			done = s.holdImported(e.Scope.Tenant, e.TokenIDs(), func(seq backend.SeqID) error {
				return s.opts.Store.Load(ctx, e, func(r io.Reader) error { return s.kv.Import(seq, r) })
			}) == nil
		})
		if err != nil {
			return entries, tokens, err
		}
		if done {
			entries, tokens = entries+1, tokens+e.Tokens
		}
	}
	return entries, tokens, nil
}

func handoverHeader(tokens []int32) []byte {
	b := append(make([]byte, 0, 16+4*len(tokens)+sha256.Size), handoverMagic...)
	b = binary.LittleEndian.AppendUint32(b, handoverVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(tokens)))
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// readHandover takes apart what handoverHeader begins.
func readHandover(data []byte) (tokens []int32, kv []byte, err error) {
	fixed := len(handoverMagic) + 8
	if len(data) < fixed || string(data[:len(handoverMagic)]) != handoverMagic {
		return nil, nil, fmt.Errorf("%w: it isn't an exported sequence", backend.ErrKVFormat)
	}
	version := binary.LittleEndian.Uint32(data[len(handoverMagic):])
	count := int64(binary.LittleEndian.Uint32(data[len(handoverMagic)+4:]))
	if version != handoverVersion {
		return nil, nil, fmt.Errorf("%w: version %d, this program reads %d", backend.ErrKVFormat, version, handoverVersion)
	}
	end := int64(fixed) + 4*count
	if count == 0 || int64(len(data)) < end+sha256.Size {
		return nil, nil, fmt.Errorf("%w: it ends within its %d tokens", backend.ErrKVFormat, count)
	}
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:end+sha256.Size]) {
		return nil, nil, fmt.Errorf("%w: the checksum of its tokens doesn't match", backend.ErrKVFormat)
	}
	tokens = make([]int32, count)
	for i := range tokens {
		tokens[i] = int32(binary.LittleEndian.Uint32(data[fixed+4*i:]))
	}
	return tokens, data[end+sha256.Size:], nil
}
