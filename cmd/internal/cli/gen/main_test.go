package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The page is committed; this fails when it lags behind the commands.
func TestPageIsCurrent(t *testing.T) {
	// What the help shows must not depend on who generates it.
	t.Setenv("INFERFLUX_SERVER", "http://elsewhere:1")
	got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "CLI.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page(), string(got)); diff != "" {
		t.Errorf("docs/CLI.md is out of date: run go generate ./cmd/internal/cli\n%s", diff)
	}
}
