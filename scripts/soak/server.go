package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// server is the process that is tested.
type server struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
	ended  chan error
}

// start runs the server on a free port and waits until it is ready. Its log goes to
// a file.
func start(ctx context.Context, o *options) (*server, error) {
	log, err := os.Create(o.log)
	if err != nil {
		return nil, err
	}
	args := []string{"--model", o.model, "--listen", "127.0.0.1:0"}
	if o.backend != "" {
		args = append(args, "--backend", o.backend)
	}
	s := &server{cmd: exec.Command(o.program, args...), ended: make(chan error, 1)}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = o.parallel
	s.client = &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	url := make(chan string, 1)
	go func() {
		defer log.Close()
		lines := bufio.NewScanner(io.TeeReader(stderr, log))
		for lines.Scan() {
			var l struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "listening" {
				url <- l.URL
			}
		}
		s.ended <- s.cmd.Wait()
	}()
	select {
	case s.url = <-url:
	case err := <-s.ended:
		return nil, fmt.Errorf("the server ended: %w; see %s", err, o.log)
	case <-ctx.Done():
		s.kill()
		return nil, ctx.Err()
	}
	for range 600 {
		res, err := s.client.Get(s.url + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.kill()
	return nil, fmt.Errorf("the server wasn't ready within 2 minutes; see %s", o.log)
}

func (s *server) kill() { _ = s.cmd.Process.Kill() }

// empty reports whether nothing is left of the requests: no sequence, and, once the
// cache of prefixes is cleared, no KV.
func (s *server) empty(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/admin/cache/clear", http.NoBody)
	if err != nil {
		return err
	}
	if res, err := s.client.Do(req); err == nil {
		_ = res.Body.Close()
	}
	var left error
	for range 50 {
		g, err := s.gauges()
		if err != nil {
			return err
		}
		left = nil
		for _, name := range []string{"inferflux_running_sequences", "inferflux_queue_length", "inferflux_kv_used_tokens", "inferflux_kv_reserved_tokens"} {
			if g[name] != 0 {
				left = errors.Join(left, fmt.Errorf("at the end, %s is %g", name, g[name]))
			}
		}
		if left == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left
}

// drain has the server end while it answers.
func (s *server) drain(ctx context.Context, requests []request) error {
	long := request{body: maps.Clone(requests[0].body)}
	long.body["stream"], long.body["max_tokens"], long.body["ignore_eos"] = true, 100, true
	var wait sync.WaitGroup
	answers := make([]error, 8)
	for i := range answers {
		wait.Go(func() { _, answers[i] = s.answer(ctx, &long) })
	}
	time.Sleep(5 * time.Millisecond)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	time.Sleep(5 * time.Millisecond)
	if _, err := s.answer(ctx, &requests[0]); err == nil {
		return errors.New("a request after SIGTERM was answered")
	}
	wait.Wait()
	cut := 0
	for _, err := range answers {
		// Those that came after the signal are refused; nothing may be cut short.
		if err != nil && errors.Is(err, io.ErrUnexpectedEOF) {
			cut++
		}
	}
	select {
	case err := <-s.ended:
		if cut > 0 {
			err = errors.Join(fmt.Errorf("%d answers were cut short", cut), err)
		}
		if err != nil {
			return fmt.Errorf("after SIGTERM: %w", err)
		}
	case <-time.After(30 * time.Second):
		return errors.New("the server didn't end within 30 seconds of SIGTERM")
	}
	return nil
}
