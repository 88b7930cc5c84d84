package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The kernels in package simd must be what this program writes.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	for name, want := range generate() {
		got, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date: run go generate ./simd", name)
		}
	}
}
