package chat_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/chat"
)

// conversation is an element of testdata/conversations.json.
type conversation struct {
	Name                string
	Messages            []chat.Message
	Tools               json.RawMessage // the string "$tools" stands for tools.json
	Documents           json.RawMessage
	Kwargs              json.RawMessage
	AddGenerationPrompt bool `json:"add_generation_prompt"`
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func conversations(t testing.TB) []conversation {
	var list []conversation
	var tools json.RawMessage
	readJSON(t, "testdata/conversations.json", &list)
	readJSON(t, "testdata/tools.json", &tools)
	for i := range list {
		if list[i].Tools != nil {
			list[i].Tools = tools
		}
	}
	return list
}

func (c conversation) input() chat.Input {
	return chat.Input{
		Messages: c.Messages, Tools: c.Tools, Documents: c.Documents, Kwargs: c.Kwargs,
		AddGenerationPrompt: c.AddGenerationPrompt,
		Now:                 time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC),
	}
}

// TestRenderAsTransformers compares prompts byte for byte with those that
// transformers renders (testdata/generate.py), and expects an error where it
// raises one: with the same words where the template chose them.
func TestRenderAsTransformers(t *testing.T) {
	compareWithTransformers(t, "testdata/templates", "testdata/expected.json")
}

func compareWithTransformers(t *testing.T, templates, expected string) {
	var want map[string]map[string]struct{ Text, Error *string }
	readJSON(t, expected, &want)
	paths, err := filepath.Glob(filepath.Join(templates, "*.jinja"))
	if err != nil || len(paths) == 0 || len(paths) != len(want) {
		t.Fatalf("%d templates (%v), %d expectations", len(paths), err, len(want))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			template, err := chat.Parse(string(source), chat.Options{BOS: "<s>", EOS: "</s>"})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range conversations(t) {
				t.Run(c.Name, func(t *testing.T) {
					want, ok := want[filepath.Base(path)][c.Name]
					if !ok {
						t.Fatal("no expectation: run testdata/generate.py")
					}
					got, err := template.Render(c.input())
					switch {
					case want.Text != nil && err != nil:
						t.Fatal(err)
					case want.Text != nil:
						if diff := cmp.Diff(*want.Text, got); diff != "" {
							t.Errorf("differs from transformers (-want +got):\n%s", diff)
						}
					case err == nil:
						t.Errorf("rendered %q, transformers fails with %q", got, *want.Error)
					default:
						raised, isRaised := strings.CutPrefix(*want.Error, "TemplateError: ")
						failure, ok := err.(*chat.TemplateError)
						if !ok {
							t.Fatalf("error %T: %v", err, err)
						}
						if isRaised && (failure.Line != 0 || failure.Message != raised) {
							t.Errorf("error %+v, want the template's own message %q", failure, raised)
						}
					}
				})
			}
		})
	}
}
