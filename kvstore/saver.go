package kvstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
)

// lockDisk waits until nobody else writes to the disk; unlockDisk must follow.
func (s *Store) lockDisk(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) unlockDisk() { <-s.writing }

// poke makes the saver look for work.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// save writes entries to disk and removes files, until ctx is done.
func (s *Store) save(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for s.saveOne(ctx, s.memory.limit/2, false) {
			continue
		}
	}
}

// flush saves until nothing is left that can be.
func (s *Store) flush(ctx context.Context) error {
	s.mu.Lock()
	for e := range s.entries() {
		e.unsavable = false
	}
	s.mu.Unlock()
	for s.saveOne(ctx, 0, true) {
		continue
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if s.dirty > 0 {
		return context.Cause(ctx)
	}
	return nil
}

// saveOne removes the trash and, if more than keep bytes of memory aren't on
// disk, writes the least (or most) recently used of them. It reports whether it
// is worth to call it again.
func (s *Store) saveOne(ctx context.Context, keep int64, newest bool) bool {
	if s.lockDisk(ctx) != nil {
		return false
	}
	defer s.unlockDisk()
	s.emptyTrash()
	s.mu.Lock()
	e := s.unsaved(keep, newest)
	if e == nil {
		s.mu.Unlock()
		return false
	}
	r, u := e.memory, e.use
	r.pins++
	s.mu.Unlock()

	f, err := s.writeFile(ctx, e, e.bytes, u, func(w io.Writer) error {
		for piece := range slices.Chunk(r.b[:r.n], frameSize) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	})

	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpinRegion(r)
	if errors.Is(err, ErrNoRoom) {
		e.unsavable = e.use == u
		return true
	}
	if err != nil {
		return false
	}
	if e.node == nil {
		s.discardFile(f)
	} else {
		s.enterDisk(e, f)
	}
	return true
}

// unsaved is what saveOne writes next.
func (s *Store) unsaved(keep int64, newest bool) *entry {
	if s.dirty <= keep || s.failed != nil {
		return nil
	}
	el, next := s.memory.lru.Back(), prev
	if newest {
		el, next = s.memory.lru.Front(), following
	}
	for ; el != nil; el = next(el) {
		if e := el.Value.(*entry); e.file == nil && !e.unsavable {
			return e
		}
	}
	return nil
}

// reserveDisk makes room for a file and counts it as used. It removes files last
// used before stamp, and only if that gives room enough.
func (s *Store) reserveDisk(size int64, stamp uint64) error {
	s.emptyTrash()
	for {
		s.mu.Lock()
		if s.failed != nil {
			s.mu.Unlock()
			return ErrNoRoom
		}
		if size <= s.disk.limit-s.disk.used {
			s.disk.used += size
			s.mu.Unlock()
			return nil
		}
		var victims []*entry
		room := s.disk.limit - s.disk.used
		for el := s.disk.lru.Back(); el != nil && room < size; el = el.Prev() {
			e := el.Value.(*entry)
			if e.use.stamp < stamp && e.file.pins == 0 {
				victims = append(victims, e)
				room += e.file.size
			}
		}
		if room < size {
			s.mu.Unlock()
			return ErrNoRoom
		}
		for _, e := range victims {
			s.stats.EvictedDisk++
			s.leaveDisk(e)
		}
		s.mu.Unlock()
		if !s.emptyTrash() {
			return ErrNoRoom
		}
	}
}

// emptyTrash removes the files that nobody needs. It reports false if one
// couldn't be: that still counts as used.
func (s *Store) emptyTrash() bool {
	s.mu.Lock()
	trash := s.trash
	s.trash = nil
	s.mu.Unlock()
	ok := true
	for _, f := range trash {
		err := s.dir.root.Remove(f.name)
		s.mu.Lock()
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			s.disk.used -= f.size
		} else {
			ok = false
			s.stats.Errors++
			s.log.Warn("kv store: can't remove a file", "path", s.dir.path, "file", f.name, "error", err)
		}
		s.mu.Unlock()
	}
	return ok
}

// newestStamp is later than any use.
const newestStamp = math.MaxUint64
