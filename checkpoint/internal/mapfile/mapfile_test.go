package mapfile

import (
	"io"
	"strings"
	"testing"
)

// TestReadAll: what stands in for mmap reads all or fails.
func TestReadAll(t *testing.T) {
	const text = "some bytes"
	got, err := readAll(strings.NewReader(text), len(text))
	if err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readAll(strings.NewReader(text), len(text)+1); err == nil || !strings.Contains(err.Error(), "got 10 of 11 bytes") {
		t.Errorf("a file that shrank gives %v", err)
	}
	if _, err := readAll(failing{}, 4); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
		t.Errorf("a failing read gives %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 2, io.ErrClosedPipe }
