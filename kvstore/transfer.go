package kvstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// Put stores a sequence: what write writes, at most size bytes, as that of the
// tokens. It returns nil without calling write if the store can do without: an entry
// that is at least as fast begins with the same tokens. If the entry doesn't fit the
// memory, Put takes as long as writing to the disk does.
//
// write must not call the store.
func (s *Store) Put(ctx context.Context, scope Scope, tokens []int32, size int64, write func(io.Writer) error) error {
	if err := checkScope(scope); err != nil {
		return err
	}
	if len(tokens) == 0 || len(tokens) > maxTokens || size < 1 || size > maxBody {
		return fmt.Errorf("store kv entry: %d tokens of %d bytes are out of range", len(tokens), size)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	fits := size <= s.memory.limit
	e := s.covering(scope, tokens)
	if e != nil && (e.memory != nil || len(e.tokens) > len(tokens) || !fits) {
		s.stats.Covered++
		s.touch(e)
		s.mu.Unlock()
		return nil
	}
	e = &entry{scope: scope, tokens: slices.Clone(tokens)}
	if !fits {
		s.mu.Unlock()
		return s.putDisk(ctx, e, size, write)
	}
	if !s.makeRoom(size) {
		s.stats.NoRoom++
		s.mu.Unlock()
		return fmt.Errorf("store kv entry: %w: memory is in use", ErrNoRoom)
	}
	s.memory.used += size
	s.mu.Unlock()

	r := &region{n: size}
	w := regionWriter{r: r}
	var err error
	if r.b, err = allocate(size); err != nil {
		err = fmt.Errorf("store kv entry: allocate %d bytes: %w", size, err)
	} else if err = fill(ctx, &w, size, write); err != nil {
		err = fmt.Errorf("store kv entry: %w", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.discardRegion(r)
		return err
	}
	s.memory.used -= size - w.n
	r.n = w.n
	e.bytes = w.n
	s.commit(e, r, nil)
	return nil
}

func (s *Store) putDisk(ctx context.Context, e *entry, size int64, write func(io.Writer) error) error {
	if s.dir == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stats.NoRoom++
		return fmt.Errorf("store kv entry: %w: %d bytes are more than the memory tier's limit, and there is no disk", ErrNoRoom, size)
	}
	if err := s.lockDisk(ctx); err != nil {
		return err
	}
	defer s.unlockDisk()
	f, err := s.writeFile(ctx, e, size, use{newestStamp, time.Now()}, write)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if errors.Is(err, ErrNoRoom) {
			s.stats.NoRoom++
			err = fmt.Errorf("store kv entry: %w on disk for %d bytes", err, size)
		}
		return err
	}
	e.bytes = f.header.body
	s.commit(e, nil, f)
	return nil
}

// commit adds a new entry with its memory or its file, if there still is need of it.
func (s *Store) commit(e *entry, r *region, f *file) {
	s.stats.Puts++
	if c := s.covering(e.scope, e.tokens); c != nil {
		s.touch(c)
		switch {
		case f != nil:
			s.discardFile(f)
		case c.memory == nil && len(c.tokens) == len(e.tokens) && c.bytes == e.bytes:
			s.enterMemory(c, r)
		default:
			s.discardRegion(r)
		}
		return
	}
	s.stamp++
	e.use = use{s.stamp, time.Now()}
	s.link(e)
	if r != nil {
		s.enterMemory(e, r)
	} else {
		s.enterDisk(e, f)
	}
	s.poke()
}

// regionWriter fills a region, which fill doesn't let it overrun.
type regionWriter struct {
	r *region
	n int64
}

func (w *regionWriter) Write(p []byte) (int, error) {
	w.n += int64(copy(w.r.b[w.n:], p))
	return len(p), nil
}

// Lookup finds the entry that shares the longest prefix with the tokens; of
// several, the one of fewest bytes.
func (s *Store) Lookup(scope Scope, tokens []int32) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.roots[scope]; t != nil && !s.closed {
		if n, e := t.match(tokens); e != nil {
			v := e.view(n)
			s.stats.Hits[v.Where]++
			return v, true
		}
	}
	s.stats.Misses++
	return Entry{}, false
}

// Load gives read the bytes of an entry. They are valid until read returns, and
// every byte from disk was verified before read sees it. If read returns an
// error of backend.ErrKVFormat, the entry is discarded. It returns read's error,
// ErrGone, ErrDamaged, or what the disk said.
func (s *Store) Load(ctx context.Context, entry Entry, read func(io.Reader) error) error {
	e := entry.e
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if e == nil || e.node == nil {
		s.stats.Gone++
		s.mu.Unlock()
		return ErrGone
	}
	s.touch(e)
	r, f := e.memory, e.file
	where := InMemory
	if r != nil {
		r.pins++
	} else {
		where = OnDisk
		f.pins++
	}
	s.mu.Unlock()

	start := time.Now()
	counted := &countingReader{ctx: ctx}
	var err error
	var reason Reason
	if r != nil {
		counted.r = bytes.NewReader(r.b[:r.n])
		err = read(counted)
	} else {
		reason, err = s.loadFile(f, counted, read)
	}
	counted.done = true
	if reason == "" && errors.Is(err, backend.ErrKVFormat) {
		reason = Rejected
	}
	took := time.Since(start)

	s.mu.Lock()
	defer s.mu.Unlock()
	if r != nil {
		s.unpinRegion(r)
	} else {
		s.unpinFile(f)
	}
	if err == nil {
		s.stats.Loads[where]++
		s.stats.Loaded[where] += uint64(counted.n)
		s.cost(e.scope.Model).load[where].observe(float64(counted.n), took)
		return nil
	}
	if reason != "" {
		s.stats.Discarded[reason]++
		// Only if it is what was read: it may have been put again.
		if e.node != nil && e.memory == r && (r != nil || e.file == f) {
			s.drop(e)
		}
	}
	return err
}

func (s *Store) loadFile(f *file, counted *countingReader, read func(io.Reader) error) (Reason, error) {
	file, body, err := s.dir.open(f)
	if err == nil {
		defer file.Close()
		counted.r = body
		if err = read(counted); body.err == nil {
			return "", err
		}
		err = body.err
	}
	if errors.Is(err, ErrDamaged) {
		return BadBody, fmt.Errorf("load kv entry %s: %w", f.name, err)
	}
	return Unreadable, fmt.Errorf("load kv entry: %w", err)
}

// countingReader counts, and ends when its context does, or Load: the memory
// isn't there any more then.
type countingReader struct {
	ctx  context.Context // of the call that it serves
	r    io.Reader
	n    int64
	done bool
}

func (r *countingReader) Read(p []byte) (int, error) {
	if r.done {
		return 0, io.ErrClosedPipe
	}
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}
