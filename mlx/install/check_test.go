package install_test

import (
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx/install"
)

// The check passes on the library under test, and knows that it has no GPU
// where it has none.
func TestVerify(t *testing.T) {
	path := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if path == "" {
		t.Skip("needs INFERFLUX_TEST_MLX_LIBRARY, the path of a libmlxc")
	}
	l := install.Library{C: path}
	facts, err := install.Verify(l, install.CPU)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Version == "" || facts.Device == "" || facts.GPU {
		t.Errorf("Verify = %+v", facts)
	}
	best, err := install.Verify(l, install.External)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := install.Verify(l, install.CUDA13); best.GPU != (err == nil) || err != nil && !strings.Contains(err.Error(), "finds no GPU") {
		t.Errorf("Verify for cuda13: %v, though the best device is %+v", err, best)
	}
}
