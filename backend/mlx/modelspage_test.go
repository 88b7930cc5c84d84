package mlx

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/model/modeltest"
)

var update = flag.Bool("update", false, "measure the deviations of all architectures and write docs/Models.md")

const modelsPage = "../../docs/Models.md"

// TestModelsPage: docs/Models.md lists the architectures that are registered, with the
// forms of their tiny models, and whatever is said of them. The deviations in it are
// measured, and the page written, with
//
//	INFERFLUX_TEST_MLX_LIBRARY=... go test ./backend/mlx -run TestModelsPage -update
func TestModelsPage(t *testing.T) {
	b := testBackend(t)
	text, err := os.ReadFile("testdata/models.md")
	if err != nil {
		t.Fatal(err)
	}
	forms, deviations := map[string][]string{}, map[string][2]float64{}
	for _, name := range modeltest.Fixtures(t) {
		c := modeltest.Open(t, name)
		cfg, err := model.Inspect(c)
		if err != nil {
			t.Fatal(err)
		}
		arch := cfg.Architecture
		form := "GGUF"
		switch {
		case strings.HasSuffix(name, "-openai"):
			form = "OpenAI's MXFP4"
		case strings.HasPrefix(name, "mlx/"):
			form = "MLX"
		case c.Format() == checkpoint.HuggingFace:
			form = "safetensors"
		}
		if !slices.Contains(forms[arch], form) {
			forms[arch] = append(forms[arch], form)
		}
		if *update && !strings.HasPrefix(name, "mlx/") { // on cpu, those are multiplied as integers
			tokens, want := modeltest.Reference(t, name)
			d := deviations[arch]
			for i, e := range []backend.Engine{loadEngine(t, cpu.Backend{}, c, backend.LoadOptions{KVType: "f32"}), loadEngine(t, b, c, backend.LoadOptions{})} {
				alone, _ := worst(runChunked(t, e, tokens, len(tokens)), want)
				d[i] = max(d[i], alone, backendtest.Deviation(t, e, tokens, want))
			}
			deviations[arch] = d
		}
	}
	var rows strings.Builder
	for _, a := range model.Architectures() {
		d := deviations[a.GGUF[0]]
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s | %s | %s |\n", strings.Join(a.GGUF, "`, `"), "`"+strings.Join(a.HuggingFace, "`, `")+"`", a.Models,
			strings.Join(forms[a.GGUF[0]], ", "), figure(d[0]), figure(d[1]))
	}
	page := strings.Replace(string(text), "ARCHITECTURES\n", rows.String(), 1)
	if *update {
		if err := os.WriteFile(modelsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(modelsPage)
	if err != nil {
		t.Fatal(err)
	}
	figures := regexp.MustCompile(`\d+e-\d+ \|`)
	if figures.ReplaceAllString(string(written), "|") != figures.ReplaceAllString(page, "|") {
		t.Errorf("%s isn't what the architectures and testdata/models.md make: write it with -update", modelsPage)
	}
}

// figure rounds up to one digit, so that the last bits of a measurement don't show.
func figure(d float64) string {
	if d == 0 {
		return "0e-0"
	}
	unit := math.Pow(10, math.Floor(math.Log10(d)))
	return fmt.Sprintf("%.0e", math.Ceil(d/unit)*unit)
}
