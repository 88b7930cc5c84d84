package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// download fetches one file of a hub into its place, by way of a .part file
// that a later attempt, or a later process, continues.
type download struct {
	hub      hub
	ref      Ref
	item     hubItem
	revision string
	path     string
	report   func(phase string, n int64)

	file   *os.File
	hash   hash.Hash
	have   int64  // bytes in the file and in the hash
	size   int64  // of the whole file, 0 if unknown
	linked string // X-Linked-Etag of the last answer: the SHA-256 of an LFS file
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

const maxIdleAttempts = 6 // attempts in a row that bring nothing

func (d *download) run(ctx context.Context) (File, error) {
	want := strings.ToLower(d.item.LFS.SHA256)
	if !hexSHA256.MatchString(want) {
		want = ""
	}
	d.size = d.item.size()
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return File{}, err
	}
	// The part is named after what it is to become: never is a file continued
	// with another one's bytes. Without a checksum that can't be known.
	part := d.path + ".part"
	if want != "" {
		part = d.path + "." + want[:16] + ".part"
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	d.file = f
	for again := false; ; again = true {
		if err := d.take(ctx, want != "" && !again); err != nil {
			return File{}, err
		}
		resumed := d.have > 0
		if err := d.hub.retry(ctx, func() (bool, error) { return d.attempt(ctx) }); err != nil {
			return File{}, fmt.Errorf("download %s: %w", d.item.Name, err)
		}
		got := hex.EncodeToString(d.hash.Sum(nil))
		for _, w := range []string{want, d.linked} {
			if hexSHA256.MatchString(w) && w != got {
				err = &checksumError{d.item.Name, w, got}
			}
		}
		if err == nil {
			return File{Size: d.have, SHA256: got}, publish(f, d.path)
		}
		if !resumed {
			os.Remove(part)
			return File{}, err
		}
		err = nil // the old piece was bad: once more from the start
	}
}

// take reads what an earlier pull left, or empties the file.
func (d *download) take(ctx context.Context, keep bool) error {
	d.hash, d.have = sha256.New(), 0
	if !keep {
		return d.restart()
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := copyReporting(ctx, d.hash, d.file, func(n int64) { d.report("verifying", n) })
	d.have = n
	if err == nil && d.size > 0 && n > d.size {
		return d.restart()
	}
	return err
}

func (d *download) restart() error {
	d.hash, d.have = sha256.New(), 0
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// attempt asks for what is missing and appends it. It reports whether anything
// arrived; nil means that the file is complete.
func (d *download) attempt(ctx context.Context) (progress bool, err error) {
	if d.size > 0 && d.have == d.size {
		return true, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A connection that stalls is cut and tried again.
	watchdog := time.AfterFunc(d.hub.stall, func() {
		cancel(fmt.Errorf("nothing arrived for %s", d.hub.stall))
	})
	defer watchdog.Stop()
	req, err := d.hub.request(ctx, "/"+d.ref.Repo+"/resolve/"+url.PathEscape(d.revision)+"/"+escapePath(d.item.Name))
	if err != nil {
		return false, err
	}
	if d.have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
	}
	client := *d.hub.client
	client.CheckRedirect = d.redirect
	res, err := client.Do(req)
	if err != nil {
		return false, cause(ctx, err)
	}
	defer res.Body.Close()
	d.note(res.Header)
	switch {
	case res.StatusCode == http.StatusPartialContent && d.have > 0 && rangeStart(res.Header) == d.have:
	case res.StatusCode == http.StatusOK:
		if err := d.restart(); err != nil { // the server doesn't do ranges
			return false, &permanentError{err}
		}
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable, res.StatusCode == http.StatusPartialContent:
		if err := d.restart(); err != nil {
			return false, &permanentError{err}
		}
		return false, fmt.Errorf("the hub would not continue at the given byte (%s)", res.Status)
	default:
		return false, d.hub.statusError(res, d.ref)
	}
	if res.ContentLength >= 0 {
		total := d.have + res.ContentLength
		if d.size > 0 && d.size != total {
			return false, &permanentError{fmt.Errorf("%s has %d bytes there, but the list says %d", d.item.Name, total, d.size)}
		}
		d.size = total
	}
	start := d.have
	var write error
	_, err = copyReporting(ctx, writerFunc(func(b []byte) (int, error) {
		watchdog.Reset(d.hub.stall)
		if d.size > 0 && d.have+int64(len(b)) > d.size {
			write = &permanentError{fmt.Errorf("%s is longer than the %d bytes it should have", d.item.Name, d.size)}
			return 0, write
		}
		n, err := d.file.Write(b)
		d.hash.Write(b[:n])
		d.have += int64(n)
		if err != nil {
			write = &permanentError{err} // a full disk won't get better by trying
		}
		return n, err
	}), res.Body, func(int64) { d.report("downloading", d.have) })
	progress = d.have > start
	switch {
	case write != nil:
		return progress, write
	case err != nil:
		return progress, cause(ctx, err)
	case d.size > 0 && d.have < d.size:
		return progress, fmt.Errorf("the connection ended at byte %d of %d", d.have, d.size)
	}
	return true, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// redirect follows to the storage and keeps what the hub says of the file on
// the way: its own answer carries the checksum, the storage's doesn't.
func (d *download) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return &permanentError{errors.New("more than 10 redirects")}
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &permanentError{fmt.Errorf("refusing a redirect from https to %s", req.URL.Scheme)}
	}
	d.note(req.Response.Header)
	return nil
}

func (d *download) note(h http.Header) {
	if tag := strings.Trim(h.Get("X-Linked-Etag"), `"`); hexSHA256.MatchString(tag) {
		d.linked = tag
	}
	if n, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64); err == nil && n > 0 && d.size == 0 {
		d.size = n
	}
}

func rangeStart(h http.Header) int64 {
	rest, ok := strings.CutPrefix(h.Get("Content-Range"), "bytes ")
	if !ok {
		return -1
	}
	start, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// cause prefers the reason a context was cancelled for to "context canceled".
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// permanentError won't go away by trying again.
type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// waitError asks for a certain pause before the next attempt.
type waitError struct {
	error
	wait time.Duration
}

// statusError explains an answer that isn't the file.
func (h hub) statusError(res *http.Response, r Ref) error {
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		why := "set HF_TOKEN to a token that may read it"
		if h.token != "" {
			why = "the token in HF_TOKEN may not read it"
		}
		return &permanentError{fmt.Errorf("%s is private, gated or doesn't exist (%s): %s", r, res.Status, why)}
	case code == http.StatusNotFound:
		return &permanentError{fmt.Errorf("%s doesn't exist at %s (%s)", r, h.endpoint, res.Status)}
	case code == http.StatusTooManyRequests || code >= 500:
		err := fmt.Errorf("%s answered %s", h.endpoint, res.Status)
		if s, convErr := strconv.Atoi(res.Header.Get("Retry-After")); convErr == nil && s > 0 {
			return &waitError{err, time.Duration(min(s, 60)) * time.Second}
		}
		return err
	default:
		return &permanentError{fmt.Errorf("%s answered %s for %s", h.endpoint, res.Status, r)}
	}
}

// retry repeats an attempt until it succeeds, fails for good, or has brought
// nothing several times in a row. Pauses double, with some chance in them.
func (h hub) retry(ctx context.Context, attempt func() (progress bool, err error)) error {
	for idle := 0; ; {
		progress, err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var permanent *permanentError
		if errors.As(err, &permanent) {
			return permanent.error
		}
		if idle++; progress {
			idle = 0
		}
		if idle >= maxIdleAttempts {
			return fmt.Errorf("gave up after %d attempts; what has arrived is kept, so pull again later to go on: %w", idle, err)
		}
		pause := h.backoff << idle
		var asked *waitError
		if errors.As(err, &asked) {
			pause = asked.wait
		}
		pause += time.Duration(rand.Int64N(int64(pause)/4 + 1))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(pause, time.Minute)):
		}
	}
}
