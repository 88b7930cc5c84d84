// Package kvstore keeps exported sequences (see backend.KV.Export) below an
// engine's own memory: first in host memory, then on disk, each within a limit.
// A prompt that begins like a stored sequence can be hydrated instead of
// computed, also after a restart.
//
//	store, err := kvstore.Open(kvstore.Options{
//		Memory: 4 << 30,
//		Disk:   kvstore.Disk{Path: "/var/cache/inferflux/kv", Limit: 64 << 30},
//	})
//	defer store.Close(ctx)
//
//	// A sequence leaves the engine.
//	err = store.Put(ctx, scope, tokens, size, func(w io.Writer) error { return kv.Export(seq, w) })
//
//	// A prompt arrives.
//	if e, ok := store.Lookup(scope, prompt); ok && store.Cheaper(e) {
//		err = store.Load(ctx, e, func(r io.Reader) error { return kv.Import(seq, r) })
//		// then truncate seq to e.Matched; on an error, compute the prompt
//	}
//
// # What is found
//
// Entries are kept by [Scope]: a model and a tenant. Within a scope, Lookup
// finds the longest prefix that a prompt shares with any entry, to the token; an
// imported sequence can be truncated, so an entry serves all of its prefixes, and
// one that is itself a prefix of a longer one is dropped.
//
// # Where it is kept
//
// Put fills memory. Of what is least recently used, at least half of the memory
// is kept free or also written to disk, in the background, so that making room
// seldom waits or loses: what must go before it could be written is lost, and
// counted. The least recently used files go when the disk's limit is reached. An
// entry larger than the whole memory (or any, if Memory is 0) is written to disk
// by Put itself. Loading from disk doesn't bring an entry back to memory (the
// engine has it then); putting it again does.
//
// # What is trusted
//
// Nothing on disk. A file is written under a temporary name, synchronized and
// renamed; it is used only if its name, size and header fit together, and its
// content is handed out in frames of 1 MiB, each after its checksum matched (and
// with [Options.Key], after it was authenticated). An importer that commits when
// it has read everything, as backend.KV.Import does, therefore never commits damaged
// data. A file of ours that doesn't fit is removed and counted; one that needs
// another key, or a later version, isn't used, but stays until its room is
// needed; what doesn't begin with our magic is never touched.
//
// A disk that can't be written to any more is written to no more, which is
// logged once; what it holds is still read. Nothing that happens to the disk
// after Open is an error of anything but the call that met it, and every such
// error means no more than: compute.
package kvstore

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options describe a store. Without Memory and Disk it keeps nothing.
type Options struct {
	// Memory is the most bytes kept in host memory, those being written
	// to disk included. The index takes a few bytes a token more.
	Memory int64
	Disk   Disk
	// Key, 32 bytes, encrypts files with AES-256-GCM. Files of another key, or of
	// none, aren't used then. Empty for no encryption. See ParseKey.
	Key []byte
	// Logger gets few lines: what was found at start, and a disk that failed.
	// nil for none.
	Logger *slog.Logger
}

// Disk describes the disk tier.
type Disk struct {
	// Path is the folder, of one store of one process at a time. It is made, for
	// its owner alone, if it doesn't exist. Empty for no disk tier.
	Path string
	// Limit is the most bytes of all files of this package in the folder,
	// whoever wrote them.
	Limit int64
}

// Scope is what an entry belongs to. Nothing is ever found from another scope.
type Scope struct {
	// Model says whose exports are interchangeable: the checkpoint's fingerprint,
	// and the number format of the cache where results must not depend on it.
	Model string
	// Tenant separates those who mustn't learn of each other's prompts. It may be
	// empty.
	Tenant string
}

// Tier is where an entry is.
type Tier uint8

// The tiers.
const (
	InMemory Tier = iota
	OnDisk
	tiers
)

// String is "memory" or "disk".
func (t Tier) String() string {
	switch t {
	case InMemory:
		return "memory"
	case OnDisk:
		return "disk"
	}
	return fmt.Sprintf("Tier(%d)", uint8(t))
}

// Errors a caller may want to tell apart. After any of them the prompt is computed.
var (
	// ErrGone: the entry was evicted, replaced or cleared since it was looked up.
	ErrGone = errors.New("the kv entry is gone")
	// ErrDamaged: the entry's file can't be used, and was discarded.
	ErrDamaged = errors.New("damaged kv entry")
	// ErrNoRoom: the entry is larger than the tiers, or they are busy.
	ErrNoRoom = errors.New("no room for the kv entry")
	// ErrInUse: another store has the folder.
	ErrInUse = errors.New("kv folder is in use")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("kv store is closed")
)

// Entry is a stored sequence, as it was when it was looked up.
type Entry struct {
	Scope Scope
	// Matched is the number of leading tokens shared with the prompt; in a List,
	// all of them.
	Matched int
	// Tokens is the number stored: Load imports so many.
	Tokens int
	// Bytes is what Load reads.
	Bytes int64
	Where Tier
	// Used is when it was last put or loaded.
	Used time.Time

	e *entry
}

// TokenIDs are the tokens of the stored sequence.
func (e Entry) TokenIDs() []int32 {
	if e.e == nil {
		return nil
	}
	return slices.Clone(e.e.tokens)
}

// entry is guarded by Store.mu, but for scope, tokens and bytes, which never change.
type entry struct {
	scope  Scope
	tokens []int32
	bytes  int64

	node *node // nil if it can't be found
	use  use

	memory     *region
	memoryElem *list.Element
	file       *file
	diskElem   *list.Element
	unsavable  bool // the disk has no room but that of entries used later
}

// use is when an entry was last used.
type use struct {
	stamp uint64 // the order
	at    time.Time
}

// Store keeps exported sequences. Its methods may be called by several
// goroutines at a time.
type Store struct {
	log     *slog.Logger
	dir     *directory    // nil without disk
	writing chan struct{} // holds a token while somebody writes to the disk
	wake    chan struct{} // tells the saver to look
	stop    context.CancelFunc
	saver   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	roots  map[Scope]*tree
	stamp  uint64 // the latest
	found  uint64 // the latest that Open gave
	memory tier
	dirty  int64 // bytes in memory that aren't on disk
	disk   tier
	trash  []*file // to be removed
	failed error   // why the disk isn't written to any more
	stats  Stats
	costs  map[string]*cost
}

// tier is what one tier holds. used includes what was reserved, is being
// removed, or is in use though no longer found.
type tier struct {
	limit, used int64
	lru         list.List // of *entry, most recently used first
}

const (
	maxName   = 1 << 10 // bytes of Scope.Model and of Scope.Tenant
	maxTokens = 1 << 22
)

// Open makes a store and indexes what the disk holds. A folder that can't be
// used is an error: one in use by another store ErrInUse.
func Open(o Options) (*Store, error) {
	if o.Memory < 0 || o.Disk.Limit < 0 {
		return nil, errors.New("open kv store: limits must not be negative")
	}
	if n := len(o.Key); n != 0 && n != KeySize {
		return nil, fmt.Errorf("open kv store: the key has %d bytes, expected %d", n, KeySize)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		log: o.Logger, writing: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		roots: map[Scope]*tree{}, costs: map[string]*cost{},
		memory: tier{limit: o.Memory}, disk: tier{limit: o.Disk.Limit},
	}
	s.stats.Discarded = map[Reason]uint64{}
	if o.Disk.Path == "" {
		return s, nil
	}
	var err error
	if s.dir, err = openDirectory(o.Disk.Path, o.Key); err != nil {
		return nil, fmt.Errorf("open kv store: %w", err)
	}
	if err := s.scan(); err != nil {
		s.dir.close()
		return nil, fmt.Errorf("open kv store: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.saver.Go(func() { s.save(ctx) })
	s.poke()
	return s, nil
}

// Close writes what is only in memory to disk, the most recently used first, until
// all is written, the limit is reached, or ctx is done, and releases everything.
// Calls of Put and Load must have returned.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if s.dir != nil {
		s.stop()
		s.saver.Wait()
		err = s.flush(ctx)
		s.emptyTrash()
		s.saveOrder()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.memory.lru.Len() > 0 {
		s.leaveMemory(s.memory.lru.Back().Value.(*entry))
	}
	if s.dir != nil {
		s.dir.close()
	}
	return err
}

// Flush writes what is only in memory to disk, as Close does.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if s.dir == nil {
		return nil
	}
	return s.flush(ctx)
}

// Clear drops the entries of all scopes that match, and all files, those of
// other keys included, if match is nil. It returns how many it dropped. Their
// files are gone when it returns; but what is being loaded is loaded to its end.
func (s *Store) Clear(match func(Scope) bool) int {
	s.mu.Lock()
	var drop []*entry
	for e := range s.entries() {
		if match == nil || e.node != nil && match(e.scope) {
			drop = append(drop, e)
		}
	}
	for _, e := range drop {
		s.drop(e)
	}
	s.mu.Unlock()
	if s.dir != nil {
		s.emptyTrash()
	}
	return len(drop)
}

// List is all entries that can be found, the most recently used first.
func (s *Store) List() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*entry
	for e := range s.entries() {
		if e.node != nil {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(b.use.stamp, a.use.stamp) })
	list := make([]Entry, len(all))
	for i, e := range all {
		list[i] = e.view(len(e.tokens))
	}
	return list
}

func (e *entry) view(matched int) Entry {
	v := Entry{Scope: e.scope, Matched: matched, Tokens: len(e.tokens), Bytes: e.bytes, Used: e.use.at, Where: OnDisk, e: e}
	if e.memory != nil {
		v.Where = InMemory
	}
	return v
}

func checkScope(scope Scope) error {
	for _, n := range []string{scope.Model, scope.Tenant} {
		if len(n) > maxName {
			return fmt.Errorf("kv store: name %q... is longer than %d bytes", strings.ToValidUTF8(n[:32], "?"), maxName)
		}
	}
	return nil
}
