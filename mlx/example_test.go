package mlx_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// The examples run where there is an MLX only, so they have no Output comments;
// TestExamples checks what they print.

// The product of two matrices.
func Example_matmul() {
	location, err := mlx.Find(mlx.FindOptions{})
	if err != nil {
		log.Fatal(err)
	}
	lib, err := mlx.Open(location)
	if err != nil {
		log.Fatal(err)
	}
	stream, err := lib.NewStream(lib.CPU())
	if err != nil {
		log.Fatal(err)
	}
	lib.Do(func() {
		s := lib.NewScope(stream)
		defer s.Close()
		a := s.FromFloat32s([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
		b := s.FromFloat32s([]float32{1, 0, 0, 1, 1, 1}, 3, 2)
		product := s.Matmul(a, b)
		values := s.Float32s(product)
		if err := s.Err(); err != nil {
			log.Fatal(err)
		}
		fmt.Println(lib.Shape(product), values)
	})
	// prints [2 2] [4 5 10 11]
}

// open is the beginning of Example_matmul.
func open() (*mlx.Library, mlx.Stream) {
	location, err := mlx.Find(mlx.FindOptions{})
	if err != nil {
		log.Fatal(err)
	}
	lib, err := mlx.Open(location)
	if err != nil {
		log.Fatal(err)
	}
	stream, err := lib.NewStream(lib.CPU())
	if err != nil {
		log.Fatal(err)
	}
	return lib, stream
}

// A mistake says where it was made.
func ExampleScope_Err() {
	lib, stream := open()
	lib.Do(func() {
		s := lib.NewScope(stream)
		defer s.Close()
		a := s.Zeros(mlx.Float32, 2, 3)
		b := s.Matmul(a, a)
		c := s.Softmax(b, -1, false) // does nothing: the scope has failed
		fmt.Println(s.Eval(c))
		fmt.Println(strings.SplitAfter(s.Err().Error(), ":")[0])
	})
	// prints false
	// prints mlx matmul of [2 3] float32 and [2 3] float32:
}

// A fused function: recorded once, called many times.
func ExampleLibrary_Compile() {
	lib, stream := open()
	double, err := lib.Compile(func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		return []mlx.Array{s.Add(in[0], in[0])}
	}, true)
	if err != nil {
		log.Fatal(err)
	}
	defer double.Free()
	lib.Do(func() {
		s := lib.NewScope(stream)
		defer s.Close()
		x := s.FromFloat32s([]float32{1, 2, 3}, 3)
		fmt.Println(s.Float32s(s.Call(double, x)[0]))
	})
	// prints [2 4 6]
}

func TestExamples(t *testing.T) {
	t.Setenv("MLX_C_ROOT", library(t).Location().Path)
	for _, tt := range []struct {
		name    string
		example func()
		want    string
	}{
		{"matmul", Example_matmul, "[2 2] [4 5 10 11]\n"},
		{"Err", ExampleScope_Err, "false\nmlx matmul of [2 3] float32 and [2 3] float32:\n"},
		{"Compile", ExampleLibrary_Compile, "[2 4 6]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := printed(t, tt.example); got != tt.want {
				t.Errorf("printed %q, want %q", got, tt.want)
			}
		})
	}
}

// printed is what f writes to the standard output.
func printed(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	f()
	os.Stdout = stdout
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
