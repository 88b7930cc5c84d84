//go:build unix

package checkpoint_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
)

// TestNamedPipe: opening one would wait for a writer for ever.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe.gguf")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := checkpoint.Open(path); err == nil || !strings.Contains(err.Error(), "neither a regular file nor a folder") {
		t.Errorf("checkpoint.Open: %v", err)
	}
	if _, err := gguf.Open(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("gguf.Open: %v", err)
	}
}
