package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inferflux/inferflux/cmd/internal/cli"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

// The scripts run this test binary under the programs' names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"inferctl":   func() { os.Exit(cli.Main("v0.0.0-test", os.Args[1:])) },
		"inferfluxd": func() { os.Exit(daemon.Main("v0.0.0-test", os.Args[1:])) },
	})
}

// Each file of testdata/script is a story told on the command line. Beside
// testscript's own commands there are:
//
//	start ARGS  run inferfluxd on a free port, wait until its models are loaded,
//	            and point INFERFLUX_SERVER at it; its log goes to server.log
//	shutdown    send it SIGTERM and want exit code 0
//	try N ARGS  run a program and want exit code N
func TestScripts(t *testing.T) {
	models, err := filepath.Abs("../../../model/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// One model as a file and as a folder, and one that MLX quantized.
			data, err := os.ReadFile(filepath.Join(models, "llama-gqa-tied.gguf"))
			if err != nil {
				return err
			}
			for folder, from := range map[string]string{"tiny": "llama-gqa-tied", "quantized": "mlx/mixed"} {
				if err := os.CopyFS(filepath.Join(e.WorkDir, folder), os.DirFS(filepath.Join(models, from))); err != nil {
					return err
				}
			}
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // under the race detector, a second for each command otherwise
			e.Setenv("INFERFLUX_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("INFERFLUX_SERVER", "127.0.0.1:1") // not one that happens to run here
			e.Values[serverKey{}] = &running{}
			e.Defer(func() { e.Values[serverKey{}].(*running).kill() })
			return os.WriteFile(filepath.Join(e.WorkDir, "tiny.gguf"), data, 0o644)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": start, "shutdown": shutdown, "try": try,
		},
	})
}

type serverKey struct{}

// running is the script's server.
type running struct {
	cmd  *exec.Cmd
	done chan error // its end, after its log was read
}

func (r *running) kill() {
	if r.cmd != nil {
		r.cmd.Process.Kill()
		<-r.done
		r.cmd = nil
	}
}

func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "INFERFLUX_HOME", "INFERFLUX_API_KEY", "ENABLE_MLX", "TMPDIR"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	r := ts.Value(serverKey{}).(*running)
	program, err := exec.LookPath("inferfluxd")
	ts.Check(err)
	r.cmd = exec.Command(program, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	r.cmd.Dir, r.cmd.Env = ts.MkAbs("."), environ(ts)
	log, err := r.cmd.StderrPipe()
	ts.Check(err)
	file, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	ts.Check(r.cmd.Start())
	url := make(chan string, 1)
	r.done = make(chan error, 1)
	go func() {
		defer file.Close()
		lines := bufio.NewScanner(io.TeeReader(log, file))
		for lines.Scan() {
			var l struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "listening" {
				url <- l.URL
			}
		}
		r.done <- r.cmd.Wait()
	}()
	select {
	case base := <-url:
		ts.Setenv("INFERFLUX_SERVER", base)
		for range 500 {
			res, err := http.Get(base + "/readyz")
			ts.Check(err)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		ts.Fatalf("the models were not loaded in time")
	case err := <-r.done:
		r.done <- err
		ts.Fatalf("inferfluxd ended: %v", err)
	}
}

func shutdown(ts *testscript.TestScript, _ bool, _ []string) {
	r := ts.Value(serverKey{}).(*running)
	ts.Check(r.cmd.Process.Signal(os.Interrupt))
	err := <-r.done
	r.cmd = nil
	ts.Check(err)
}

func try(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = strconv.Itoa(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %s, want %s", got, want)
	}
}
