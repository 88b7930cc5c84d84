package mlx_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// TestMain opens, in a child process started by openInChild, what the parent
// asks for, and says what came of it: a process loads one MLX only, and a bad
// one must not bring the tests down.
func TestMain(m *testing.M) {
	path := os.Getenv("MLX_TEST_OPEN")
	if path == "" {
		os.Exit(m.Run())
	}
	lib, err := mlx.Open(mlx.Location{Path: path, MLX: os.Getenv("MLX_TEST_OPEN_MLX")})
	switch e := (*mlx.VersionError)(nil); {
	case errors.As(err, &e):
		fmt.Printf("version error: %v\n", err)
	case err != nil:
		fmt.Printf("error: %v\n", err)
	default:
		fmt.Printf("opened %s\n", lib.Version())
	}
	os.Exit(0)
}

func openInChild(t *testing.T, location mlx.Location) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MLX_TEST_OPEN="+location.Path, "MLX_TEST_OPEN_MLX="+location.MLX)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the process died: %v: %s", err, out)
	}
	return string(out)
}

func TestOpenTwice(t *testing.T) {
	lib := library(t)
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(lib.Location().Path, link); err != nil {
		t.Fatal(err)
	}
	if again, err := mlx.Open(mlx.Location{Path: link}); err != nil || again != lib {
		t.Errorf("opened %p, then %p: %v", lib, again, err)
	}
	if _, err := mlx.Open(mlx.Location{Path: "/elsewhere/libmlxc.so"}); err == nil || !strings.Contains(err.Error(), lib.Location().Path) {
		t.Errorf("opened two libraries: %v", err)
	}
	if v := lib.Version(); !strings.HasPrefix(v, "0.3") {
		t.Errorf("version %q", v)
	}
}
