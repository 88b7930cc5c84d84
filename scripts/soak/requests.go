package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
)

// request is one of those that are sent again and again, with the answer to expect.
type request struct {
	body map[string]any
	want string
}

// plan makes the different requests. Prompts begin like one of a few texts.
func (o *options) plan() []request {
	rng := rand.New(rand.NewPCG(o.seed, 0))
	words := func(n int) []string {
		w := make([]string, n)
		for i := range w {
			w[i] = string("bdfgklmnprstvz"[rng.IntN(14)]) + string("aeiou"[rng.IntN(5)])
		}
		return w
	}
	beginnings := [][]string{nil, words(o.prompt / 4), words(o.prompt / 2), words(o.prompt * 3 / 4)}
	all := make([]request, o.different)
	for i := range all {
		b := beginnings[rng.IntN(len(beginnings))]
		prompt := strings.Join(append(b[:len(b):len(b)], words(1+rng.IntN(o.prompt-len(b)))...), " ")
		body := map[string]any{"prompt": prompt, "max_tokens": 1 + rng.IntN(o.tokens), "temperature": 0, "stream": rng.IntN(2) == 0}
		if rng.IntN(3) == 0 {
			body["temperature"], body["seed"], body["top_p"] = 0.9, rng.IntN(1000), 0.95
		}
		if rng.IntN(4) == 0 {
			body["ignore_eos"] = true
		}
		all[i].body = body
	}
	return all
}

// malformed bodies must be refused with a 400.
var malformed = []string{
	``, `{`, `[]`, `{"prompt": 3}`, `{"prompt": "a", "max_tokens": "many"}`, `{"prompt": "a", "temperature": -1}`, `{"prompt": "a", "no_such_field": 1}`,
	`{"prompt": [1, 2, 99999999]}`, `{"prompt": "a", "n": 0}`, `{"prompt": "a", "stop": [""]}`, `{"prompt": ""`, "{\"prompt\": \"\xff\xfe",
}

// tooLong doesn't fit the context.
func (o *options) tooLong() string {
	return fmt.Sprintf(`{"prompt": %q, "max_tokens": 4}`, strings.Repeat("na ", 2*o.context))
}

func (s *server) post(ctx context.Context, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/completions", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return s.client.Do(req)
}

func (s *server) send(ctx context.Context, r *request) (*http.Response, error) {
	body, err := json.Marshal(r.body)
	if err != nil {
		return nil, err
	}
	res, err := s.post(ctx, bytes.NewReader(body))
	if err == nil && res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return nil, fmt.Errorf("request %s: %s: %s", body, res.Status, text)
	}
	return res, err
}

// answer sends a request and returns the text of its answer and why it ended.
func (s *server) answer(ctx context.Context, r *request) (string, error) {
	res, err := s.send(ctx, r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var text strings.Builder
	finish := ""
	take := func(data []byte) error {
		var piece struct {
			Choices []struct {
				Text   string
				Finish *string `json:"finish_reason"`
			}
			Error json.RawMessage
		}
		if err := json.Unmarshal(data, &piece); err != nil || piece.Error != nil {
			return fmt.Errorf("a piece of an answer: %s: %w", data, err)
		}
		for _, c := range piece.Choices {
			text.WriteString(c.Text)
			if c.Finish != nil {
				finish = *c.Finish
			}
		}
		return nil
	}
	if r.body["stream"] == true {
		err = events(res.Body, take)
	} else {
		var data []byte
		if data, err = io.ReadAll(res.Body); err == nil {
			err = take(data)
		}
	}
	if err == nil && finish == "" {
		err = fmt.Errorf("an answer without an end: %q", text.String())
	}
	return text.String() + "|" + finish, err
}

// events reads a stream to its end.
func events(r io.Reader, take func([]byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err := take(data); err != nil {
			return err
		}
	}
	return fmt.Errorf("a stream without [DONE]: %w", lines.Err())
}

// cut sends a request and goes away after so many pieces of its answer.
func (s *server) cut(ctx context.Context, r *request, pieces int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	long := request{body: map[string]any{"ignore_eos": true}}
	for k, v := range r.body {
		long.body[k] = v
	}
	long.body["stream"], long.body["max_tokens"] = true, 100
	res, err := s.send(ctx, &long)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for seen := 0; seen < pieces && lines.Scan(); {
		if bytes.HasPrefix(lines.Bytes(), []byte("data: ")) {
			seen++
		}
	}
	return nil
}

// refused sends a body that must be answered with a 400 and a reason.
func (s *server) refused(ctx context.Context, body string) error {
	res, err := s.post(ctx, strings.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var e struct{ Error struct{ Message string } }
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil || res.StatusCode != http.StatusBadRequest || e.Error.Message == "" {
		return fmt.Errorf("to %.60q: %s, reason %q", body, res.Status, e.Error.Message)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
