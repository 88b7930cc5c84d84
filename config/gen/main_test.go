package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The generated files are committed; this fails when they lag behind the schema.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is out of date: run go generate ./config\n%s", name, diff)
		}
	}
}
