package server

import (
	"net/http"
	"time"
)

// responseWriter counts what is written and gives every write a deadline, so
// that a client that doesn't read can't hold on to a sequence for ever.
type responseWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	deadline time.Time
	status   int // 0 until the headers are written
	written  int64
}

func newResponseWriter(w http.ResponseWriter, timeout time.Duration) *responseWriter {
	return &responseWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Status is what was sent, or will be if the handler writes nothing.
func (w *responseWriter) Status() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

// FlushError is what http.ResponseController calls.
func (w *responseWriter) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	return w.control.Flush()
}

// extend moves the write deadline, only when half of it is over: a write has
// between half the timeout and all of it.
func (w *responseWriter) extend() {
	now := time.Now()
	if w.deadline.Sub(now) > w.timeout/2 {
		return
	}
	w.deadline = now.Add(w.timeout)
	_ = w.control.SetWriteDeadline(w.deadline) // a test's recorder has none
}

// unwrap is the server's own ResponseWriter, which http.MaxBytesReader tells to
// close the connection.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if rec, ok := w.(*responseWriter); ok {
		return rec.ResponseWriter
	}
	return w
}
