package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/server"
)

// remembering is an engine whose library accounts for its memory.
type remembering struct{ *fakeEngine }

func (remembering) Memory() backend.DeviceMemory {
	return backend.DeviceMemory{Active: 1 << 20, Cache: 4096, Peak: 1 << 21}
}

// Two models on one library share its memory: it is told once, and not at all by
// an engine without such a library.
func TestDeviceMemory(t *testing.T) {
	models := generate.NewModels()
	metrics := server.NewMetrics(models)
	tok := fakeTokenizer(t)
	scrape := func() string {
		w := httptest.NewRecorder()
		metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	serve := func(id string, e backend.Engine) {
		t.Helper()
		err := models.Add(t.Context(), id, nil, func(context.Context) (*generate.Model, error) {
			return generate.New(generate.ModelOptions{ID: id, Tokenizer: tok, Engine: e}), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if strings.Contains(scrape(), `inferflux_model_ready{model="`+id+`"} 1`) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Fatalf("%s is not ready", id)
	}
	serve("plain", newFakeEngine())
	if got := scrape(); strings.Contains(got, "inferflux_device_memory") {
		t.Errorf("without a library: %s", got)
	}
	serve("first", remembering{newFakeEngine()})
	serve("second", remembering{newFakeEngine()})
	got := scrape()
	for _, line := range []string{`{backend="fake",kind="active"} 1.048576e+06`, `{backend="fake",kind="cache"} 4096`, `{backend="fake",kind="peak"} 2.097152e+06`} {
		if strings.Count(got, "\ninferflux_device_memory_bytes"+line+"\n") != 1 {
			t.Errorf("%s is not there once:\n%s", line, got)
		}
	}
	if err := models.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
