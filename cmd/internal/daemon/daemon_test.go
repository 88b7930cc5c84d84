package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/registry"
)

func TestMain(m *testing.M) {
	// MLX's thread lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/inferflux/inferflux/mlx.(*Library).serve"))
}

const tiny = "../../../model/testdata/llama-gqa-tied.gguf"

func load(t *testing.T, yaml string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(yaml), config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run starts a server and returns its address and its end.
func run(t *testing.T, ctx context.Context, yaml string) (base string, ended <-chan error) {
	t.Helper()
	listening, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{Config: load(t, "server: {listen: '127.0.0.1:0'}\n"+yaml), Store: registry.Open(t.TempDir()),
			Logger: slog.New(slog.DiscardHandler), Version: "test", Listening: func(a net.Addr) { listening <- a }})
	}()
	select {
	case a := <-listening:
		return "http://" + a.String(), done
	case err := <-done:
		t.Fatalf("the server ended: %v", err)
	}
	return "", nil
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// A model that can't be loaded doesn't keep the others from being served, and
// nothing is left running at the end.
func TestOneOfTwoModels(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, ended := run(t, ctx, "models: [{id: absent, path: /absent.gguf}, {id: tiny, path: "+tiny+"}]\n")
	deadline := time.Now().Add(10 * time.Second)
	for {
		if status, _ := get(t, base+"/v1/models/tiny"); status == http.StatusOK {
			if _, body := get(t, base+"/v1/models/tiny"); strings.Contains(body, `"ready":true`) {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the model was not loaded in time")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if status, body := get(t, base+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "absent") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stopped: %v", err)
	}
}

func TestEveryModelFails(t *testing.T) {
	_, ended := run(t, t.Context(), "models: [{path: /absent.gguf}, {id: mlx, path: "+tiny+", backend: mlx}]\n")
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "absent: open the model") && !strings.Contains(err.Error(), "/absent.gguf") || !strings.Contains(err.Error(), `backend "mlx" can't be used`) {
		t.Errorf("got %v", err)
	}
}

func TestFallbackIsVisible(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	base, ended := run(t, ctx, "models: [{id: tiny, path: "+tiny+", backend: mlx, fallback: true}]\n")
	for range 1000 {
		if status, _ := get(t, base+"/readyz"); status == http.StatusOK {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, body := get(t, base+"/v1/models"); !strings.Contains(body, `"backend":"cpu"`) || !strings.Contains(body, `"requested_backend":"mlx"`) {
		t.Errorf("/v1/models: %s", body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCanNotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for yaml, want := range map[string]string{
		"": "no model to serve",
		"server: {listen: '" + taken.Addr().String() + "'}\nmodels: [{path: " + tiny + "}]": "is another server running there?",
	} {
		err := daemon.Run(t.Context(), daemon.Options{Config: load(t, yaml), Store: registry.Open(t.TempDir()), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := daemon.NewLogger(&out, config.Logging{Level: "warn", Format: "auto"})
	log.Info("hidden")
	log.Warn("shown", "took", 1500*time.Millisecond)
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "shown" || line["took"] != "1.5s" {
		t.Errorf("auto, not a terminal: %v, %s", err, out.String())
	}
	out.Reset()
	daemon.NewLogger(&out, config.Logging{Level: "debug", Format: "text"}).Debug("shown")
	if !strings.Contains(out.String(), "level=DEBUG msg=shown") {
		t.Errorf("text: %s", out.String())
	}
}
