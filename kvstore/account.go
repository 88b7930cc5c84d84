package kvstore

import (
	"container/list"
	"iter"
	"time"
)

// What is here needs Store.mu.

// region is the memory of an entry. Only n bytes of b are counted and used.
type region struct {
	b      []byte
	n      int64
	pins   int  // loads and saves under way
	doomed bool // to be released when there are none
}

func prev(el *list.Element) *list.Element      { return el.Prev() }
func following(el *list.Element) *list.Element { return el.Next() }

// entries is every entry once, those of files that can't be used included.
func (s *Store) entries() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for el := s.memory.lru.Front(); el != nil; el = el.Next() {
			if !yield(el.Value.(*entry)) {
				return
			}
		}
		for el := s.disk.lru.Front(); el != nil; el = el.Next() {
			if e := el.Value.(*entry); e.memory == nil && !yield(e) {
				return
			}
		}
	}
}

// covering is an entry that begins with the tokens, or nil.
func (s *Store) covering(scope Scope, tokens []int32) *entry {
	t := s.roots[scope]
	if t == nil {
		return nil
	}
	if n, e := t.match(tokens); n == len(tokens) {
		return e
	}
	return nil
}

// link lets an entry be found, and drops the one that it makes superfluous.
func (s *Store) link(e *entry) {
	t := s.roots[e.scope]
	if t == nil {
		t = &tree{}
		s.roots[e.scope] = t
	}
	if old := t.insert(e); old != nil {
		s.stats.Superseded++
		s.drop(old)
	}
}

// drop forgets an entry.
func (s *Store) drop(e *entry) {
	if e.node != nil {
		t := s.roots[e.scope]
		if t.remove(e); t.empty() {
			delete(s.roots, e.scope)
		}
	}
	if e.memory != nil {
		s.leaveMemory(e)
	}
	if e.file != nil {
		s.leaveDisk(e)
	}
}

// touch makes an entry the most recently used.
func (s *Store) touch(e *entry) {
	s.stamp++
	e.use, e.unsavable = use{s.stamp, time.Now()}, false
	if e.memory != nil {
		s.memory.lru.MoveToFront(e.memoryElem)
	}
	if e.file != nil {
		s.disk.lru.MoveToFront(e.diskElem)
	}
}

// makeRoom evicts from memory until n bytes fit, or nothing if they can't.
func (s *Store) makeRoom(n int64) bool {
	room := s.memory.limit - s.memory.used
	var victims []*entry
	for el := s.memory.lru.Back(); el != nil && room < n; el = el.Prev() {
		if e := el.Value.(*entry); e.memory.pins == 0 {
			victims = append(victims, e)
			room += e.memory.n
		}
	}
	if room < n {
		return false
	}
	for _, e := range victims {
		s.stats.EvictedMemory++
		if e.file == nil {
			s.stats.Lost++
			s.drop(e)
		} else {
			s.leaveMemory(e)
		}
	}
	return true
}

// enterMemory gives an entry its memory, which is counted already.
func (s *Store) enterMemory(e *entry, r *region) {
	e.memory, e.memoryElem = r, insertByUse(&s.memory.lru, e)
	if e.file == nil {
		s.dirty += r.n
	}
}

func (s *Store) leaveMemory(e *entry) {
	r := e.memory
	s.memory.lru.Remove(e.memoryElem)
	e.memory, e.memoryElem = nil, nil
	if e.file == nil {
		s.dirty -= r.n
	}
	s.discardRegion(r)
}

func (s *Store) discardRegion(r *region) {
	if r.pins > 0 {
		r.doomed = true
		return
	}
	release(r.b)
	s.memory.used -= r.n
}

func (s *Store) unpinRegion(r *region) {
	if r.pins--; r.doomed {
		s.discardRegion(r)
	}
}

// enterDisk gives an entry its file, which is counted already.
func (s *Store) enterDisk(e *entry, f *file) {
	e.file, e.diskElem = f, insertByUse(&s.disk.lru, e)
	if e.memory != nil {
		s.dirty -= e.memory.n
	}
}

// leaveDisk takes the file from an entry, which is forgotten if it isn't in
// memory.
func (s *Store) leaveDisk(e *entry) {
	f := e.file
	s.disk.lru.Remove(e.diskElem)
	e.file, e.diskElem = nil, nil
	if e.memory != nil {
		s.dirty += e.memory.n
	}
	s.discardFile(f)
	if e.memory == nil && e.node != nil {
		s.drop(e)
	}
}

func (s *Store) discardFile(f *file) {
	if f.pins > 0 {
		f.doomed = true
		return
	}
	s.trash = append(s.trash, f)
	s.poke()
}

func (s *Store) unpinFile(f *file) {
	if f.pins--; f.doomed {
		s.discardFile(f)
	}
}

// insertByUse puts an entry behind those used after it.
func insertByUse(l *list.List, e *entry) *list.Element {
	for el := l.Front(); el != nil; el = el.Next() {
		if el.Value.(*entry).use.stamp < e.use.stamp {
			return l.InsertBefore(e, el)
		}
	}
	return l.PushBack(e)
}
