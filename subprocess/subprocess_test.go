//go:build unix

package subprocess_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/inferflux/inferflux/subprocess"
)

// What a program has started ends with it: nobody holds its output open.
func TestEndsTogether(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := subprocess.Command(ctx, "sh", "-c", "sleep 60 & echo started; wait")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := bufio.NewReader(r)
	if line, err := out.ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("a cancelled program ended well")
	}
	if _, err := out.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"", 2, ""}, {"a\n", 2, "a"}, {"a\nb\nc\n\n", 2, "b\nc"}} {
		if got := subprocess.LastLines(c.in, c.n); got != c.want {
			t.Errorf("LastLines(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
