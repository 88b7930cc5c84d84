package mlx_test

import (
	"os"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// library opens the MLX under test: INFERFLUX_TEST_MLX_LIBRARY is the path of a
// libmlxc.
func library(t testing.TB) *mlx.Library {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if path == "" {
		t.Skip("INFERFLUX_TEST_MLX_LIBRARY is not set; it names the libmlxc to test")
	}
	location, err := mlx.Find(mlx.FindOptions{Library: path, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := mlx.Open(location)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// stream is the one stream of all tests, on the GPU if there is one.
var stream mlx.Stream

// onLibrary runs f on the library's thread with a scope, and checks that it
// leaves no array behind.
func onLibrary(t testing.TB, f func(s *mlx.Scope)) {
	t.Helper()
	lib := library(t)
	if stream == (mlx.Stream{}) {
		device := lib.CPU()
		if lib.HasGPU() {
			device = lib.GPU()
		}
		var err error
		if stream, err = lib.NewStream(device); err != nil {
			t.Fatal(err)
		}
	}
	before := lib.Live()
	lib.Do(func() {
		s := lib.NewScope(stream)
		defer s.Close()
		f(s)
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
	if n := lib.Live(); n != before {
		t.Errorf("%d arrays live that did not before", n-before)
	}
}
