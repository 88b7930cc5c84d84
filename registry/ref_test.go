package registry_test

import (
	"strings"
	"testing"

	"github.com/inferflux/inferflux/registry"
)

func TestParseRef(t *testing.T) {
	for name, want := range map[string]registry.Ref{
		"smollm2:135m":               {Kind: registry.Catalog, Name: "smollm2:135m"},
		"./a.gguf":                   {Kind: registry.Local, Name: "./a.gguf"},
		"a.gguf":                     {Kind: registry.Local, Name: "a.gguf"},
		"/models/folder":             {Kind: registry.Local, Name: "/models/folder"},
		".":                          {Kind: registry.Local, Name: "."},
		"model.safetensors":          {Kind: registry.Local, Name: "model.safetensors"},
		"weights.npz":                {Kind: registry.Local, Name: "weights.npz"},
		"hf:org/repo":                {Kind: registry.Hub, Repo: "org/repo"},
		"hf:org/repo/a b (1).gguf":   {Kind: registry.Hub, Repo: "org/repo", File: "a b (1).gguf"},
		"hf:o.r-g/r/Q4/x.gguf@v1":    {Kind: registry.Hub, Repo: "o.r-g/r", File: "Q4/x.gguf", Revision: "v1"},
		"hf:org/repo@refs/pr/1":      {Kind: registry.Hub, Repo: "org/repo", Revision: "refs/pr/1"},
		"hf:org/repo/_x.gguf@0123ab": {Kind: registry.Hub, Repo: "org/repo", File: "_x.gguf", Revision: "0123ab"},
	} {
		got, err := registry.ParseRef(name)
		if err != nil || got != want || got.String() != name {
			t.Errorf("%s: %+v (%s), %v; want %+v", name, got, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"smollm":                    "there is no model \"smollm\": use one of the catalog (gemma3:270m, smollm2:135m)",
		"":                          "there is no model",
		"hf:":                       "needs an organisation and a repository",
		"hf:repo":                   "needs an organisation and a repository",
		"hf:../../etc":              `".." can't be a name there`,
		"hf:org/..":                 `".." can't be a name there`,
		"hf:org/repo/../../x.gguf":  `".." can't be a file name there`,
		"hf:org/repo//x.gguf":       `"" can't be a file name there`,
		`hf:org/repo/..\..\x.gguf`:  "can't be a file name there",
		"hf:org/repo/.hidden.gguf":  "can't be a file name there",
		"hf:org/repo/x.safetensors": "the file must be a .gguf",
		"hf:org/repo/x.gguf@../..":  `can't be a revision`,
		"hf:org/repo@":              `can't be a revision`,
		"hf:org/repo?x=1":           "can't be a name there",
		"hf:org/re\x00po":           "can't be a name there",
		"hf:org/repo/a.gguf%2f..":   "can't be a file name there",
	} {
		if _, err := registry.ParseRef(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("hf:org/repo/file.gguf@main")
	f.Add("smollm2:135m")
	f.Add("hf:../..")
	f.Fuzz(func(t *testing.T, name string) {
		r, err := registry.ParseRef(name)
		if err != nil {
			return
		}
		if again, err := registry.ParseRef(r.String()); err != nil || again != r {
			t.Fatalf("%q: %+v reads back as %+v, %v", name, r, again, err)
		}
		if r.Kind == registry.Hub && (strings.Contains("/"+r.Repo+"/"+r.File+"/", "/../") || strings.ContainsAny(r.String(), "\\\x00")) {
			t.Fatalf("%q leads out: %+v", name, r)
		}
	})
}
