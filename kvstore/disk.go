package kvstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// directory is the folder of the disk tier. It is held open, so that nothing
// outside of it is ever reached, by whatever a name in it links to.
type directory struct {
	path string
	root *os.Root
	lock *os.File
	keys keyring
}

const (
	lockName   = ".lock"
	fileSuffix = ".kv"
	tempSuffix = ".tmp"
)

func (id fileID) name() string { return hex.EncodeToString(id[:]) + fileSuffix }

func (id fileID) temp() string { return hex.EncodeToString(id[:]) + tempSuffix }

func openDirectory(path string, key []byte) (*directory, error) {
	d := &directory{path: path}
	var err error
	if d.keys, err = newKeyring(key); err != nil {
		return nil, err
	}
	if err = os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if d.root, err = os.OpenRoot(path); err != nil {
		return nil, err
	}
	if d.lock, err = d.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		err = lock(d.lock)
	}
	if err != nil {
		d.close()
		if errors.Is(err, ErrInUse) {
			return nil, fmt.Errorf("%w: %s belongs to another process; give each its own", err, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return d, nil
}

func (d *directory) close() {
	if d.lock != nil {
		d.lock.Close()
	}
	d.root.Close()
}

// sync makes a rename outlive a crash of the system, where it can be done. If not,
// the file may be found under its temporary name, and is lost.
func (d *directory) sync() {
	if f, err := d.root.Open("."); err == nil {
		_ = f.Sync()
		f.Close()
	}
}

// file is one file of ours. header is empty if it can't be used.
type file struct {
	name   string
	header header
	size   int64
	pins   int  // loads under way
	doomed bool // to be removed when there are none
}

// found is a file of ours as it was found at start.
type found struct {
	*file
	scope  Scope
	tokens []int32 // nil if it can't be used, and must stay
	used   time.Time
}

// scan indexes the folder. Called by Open only.
func (s *Store) scan() error {
	list, err := fs.ReadDir(s.dir.root.FS(), ".")
	if err != nil {
		return err
	}
	var all []found
	for _, item := range list {
		if !item.Type().IsRegular() || item.Name() == lockName {
			continue
		}
		f, reason, err := s.dir.inspect(item.Name())
		if err != nil {
			s.stats.Errors++
			s.log.Warn("kv store: can't read a file; it isn't used", "path", s.dir.path, "file", item.Name(), "error", err)
			continue
		}
		if reason != "" {
			s.stats.Discarded[reason]++
		}
		if f.file == nil {
			continue
		}
		s.disk.used += f.size
		if reason.remains() {
			all = append(all, f)
		} else {
			s.trash = append(s.trash, f.file)
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name))
	})
	for _, f := range all {
		s.stamp++
		e := &entry{scope: f.scope, tokens: f.tokens, bytes: f.header.body, use: use{s.stamp, f.used}}
		if f.tokens != nil {
			if s.covering(f.scope, f.tokens) != nil {
				s.stats.Superseded++
				s.trash = append(s.trash, f.file)
				continue
			}
			s.link(e)
		}
		s.enterDisk(e, f.file)
	}
	s.found = s.stamp
	s.emptyTrash()
	for s.disk.used > s.disk.limit && s.disk.lru.Len() > 0 {
		s.stats.EvictedDisk++
		s.drop(s.disk.lru.Back().Value.(*entry))
		s.emptyTrash()
	}
	s.log.Info("kv store: opened", "path", s.dir.path, "files", s.disk.lru.Len(), "bytes", s.disk.used,
		"limit", s.disk.limit, "discarded", s.stats.discarded())
	return nil
}

// inspect says what a file is: its file is nil if it isn't ours, and the reason
// empty if it can be used. It reads no more than the header and the description.
func (d *directory) inspect(name string) (f found, reason Reason, err error) {
	r, err := d.root.Open(name)
	if err != nil {
		return f, "", err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return f, "", err
	}
	var buf [headerSize]byte
	n, err := io.ReadFull(r, buf[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return f, "", err
	}
	h, err := parseHeader(buf[:n])
	f.file = &file{name: name, header: h, size: info.Size()}
	f.used = info.ModTime()
	switch {
	case isTemp(name) && (torn(buf[:n]) || !errors.Is(err, errForeign)):
		return f, Unfinished, nil
	case errors.Is(err, errForeign):
		return found{}, "", nil
	case errors.Is(err, errVersion):
		return f, OtherVersion, nil
	case err != nil:
		return f, BadHeader, nil
	case name != h.id.name():
		return f, BadName, nil
	case h.key != d.keys.id:
		return f, OtherKey, nil
	case info.Size() != fileSize(h.meta, h.body, d.keys.overhead()):
		return f, BadSize, nil
	}
	g, err := d.keys.guard(h.id)
	if err != nil {
		return f, "", err
	}
	f.scope, f.tokens, err = readMeta(r, h, g)
	if errors.Is(err, errHeader) {
		return f, BadHeader, nil
	}
	return f, "", err
}

// saveOrder gives files the time of their last use, by which the next scan sorts
// them. Called by Close only.
func (s *Store) saveOrder() {
	for el := s.disk.lru.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); e.use.stamp > s.found {
			_ = s.dir.root.Chtimes(e.file.name, e.use.at, e.use.at)
		}
	}
}

func isTemp(name string) bool {
	id, ok := strings.CutSuffix(name, tempSuffix)
	b, err := hex.DecodeString(id)
	return ok && err == nil && len(b) == len(fileID{})
}

// torn is whether a temporary file was never written to the end, by its first
// bytes: the header is written last, until then there are zeros or nothing.
func torn(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// writeFile writes an entry to a file, of at most size bytes of content. For
// room it removes files of an earlier use only. The caller holds lockDisk.
func (s *Store) writeFile(ctx context.Context, e *entry, size int64, u use, write func(io.Writer) error) (*file, error) {
	h := header{meta: metaSize(e.scope, len(e.tokens)), body: size, key: s.dir.keys.id}
	_, _ = rand.Read(h.id[:]) // never fails
	g, err := s.dir.keys.guard(h.id)
	if err != nil {
		return nil, err
	}
	reserved := fileSize(h.meta, h.body, g.overhead())
	if err := s.reserveDisk(reserved, u.stamp); err != nil {
		return nil, err
	}
	var diskErr error
	h.body, diskErr, err = s.dir.write(h, g, e, u.at, func(w io.Writer) error { return fill(ctx, w, size, write) })
	f := &file{name: h.id.name(), header: h, size: fileSize(h.meta, h.body, g.overhead())}
	s.mu.Lock()
	defer s.mu.Unlock()
	if diskErr != nil {
		s.stats.Errors++
		if s.failed == nil {
			s.failed = diskErr
			s.log.Error("kv store: can't write to the disk; nothing more is stored there", "path", s.dir.path, "error", diskErr)
		}
		err = fmt.Errorf("store kv entry: %w", diskErr)
	}
	if err != nil {
		s.disk.used -= reserved
		return nil, err
	}
	s.disk.used -= reserved - f.size
	s.stats.Written += uint64(f.size)
	return f, nil
}

// write makes the file of an entry under its temporary name, and renames it. Of
// its errors the first is the disk's, the second one of write.
func (d *directory) write(h header, g guard, e *entry, used time.Time, write func(io.Writer) error) (n int64, diskErr, err error) {
	f, err := d.root.OpenFile(h.id.temp(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err, nil
	}
	defer func() {
		f.Close()
		if diskErr != nil || err != nil {
			_ = d.root.Remove(h.id.temp())
		}
	}()
	if _, err := f.Seek(headerSize+int64(h.meta+g.overhead()), io.SeekStart); err != nil {
		return 0, err, nil
	}
	w := newBodyWriter(f, g, h.body)
	err = write(w)
	if w.err != nil {
		return 0, w.err, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if err := w.flush(lastFrame); err != nil {
		return 0, err, nil
	}
	h.body = w.n
	head := h.append(make([]byte, 0, headerSize))
	meta := appendMeta(make([]byte, 0, h.meta+g.overhead()), e.scope, e.tokens)
	meta = g.seal(meta, nonce(0, metaFrame), head)
	if _, err := f.WriteAt(slices.Concat(head, meta), 0); err != nil {
		return 0, err, nil
	}
	if err := f.Sync(); err != nil {
		return 0, err, nil
	}
	if err := f.Close(); err != nil {
		return 0, err, nil
	}
	_ = d.root.Chtimes(h.id.temp(), used, used) // see Store.saveOrder
	if err := d.root.Rename(h.id.temp(), h.id.name()); err != nil {
		return 0, err, nil
	}
	d.sync()
	return w.n, nil, nil
}

// open opens a file for its content.
func (d *directory) open(f *file) (*os.File, *bodyReader, error) {
	r, err := d.root.Open(f.name)
	if err != nil {
		return nil, nil, err
	}
	var buf [headerSize]byte
	if _, err = io.ReadFull(r, buf[:]); err == nil {
		var h header
		if h, err = parseHeader(buf[:]); err == nil && h != f.header {
			err = errHeader
		}
	}
	g, keyErr := d.keys.guard(f.header.id)
	if err = errors.Join(err, keyErr); err == nil {
		_, err = r.Seek(int64(f.header.meta+g.overhead()), io.SeekCurrent)
	}
	if err != nil {
		r.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, newBodyReader(r, g, f.header.body), nil
}

// fill lets write write at most size bytes to w, and at least one, until ctx is
// done. An error of the writer is one of fill, even if write doesn't mind it.
func fill(ctx context.Context, w io.Writer, size int64, write func(io.Writer) error) error {
	f := &filler{ctx: ctx, w: w, left: size}
	if err := write(f); err != nil {
		return err
	}
	if f.err == nil && f.left == size {
		return errors.New("the sequence has no bytes")
	}
	return f.err
}

type filler struct {
	ctx  context.Context // of the call that it serves
	w    io.Writer
	left int64
	err  error
}

func (f *filler) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.err = context.Cause(f.ctx); f.err != nil {
		return 0, f.err
	}
	if int64(len(p)) > f.left {
		f.err = errors.New("the sequence is longer than was said")
		return 0, f.err
	}
	var n int
	n, f.err = f.w.Write(p)
	f.left -= int64(n)
	return n, f.err
}
