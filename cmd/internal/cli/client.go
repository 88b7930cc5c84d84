package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/inferflux/inferflux/cmd/internal/bench"
)

const defaultServer = "http://127.0.0.1:8080"

// client speaks the part of the server's API that the commands need.
type client struct {
	base string
	key  string
	http *http.Client
}

func (a *app) client() (*client, error) {
	return clientAt(a.server, "--server or INFERFLUX_SERVER", os.Getenv("INFERFLUX_API_KEY"))
}

// clientAt is a client of the server at an address, which was given as flag says.
func clientAt(address, flag, key string) (*client, error) {
	base := strings.TrimRight(address, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	base = strings.TrimSuffix(base, "/v1") // people copy it from their OpenAI client
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("the server's address must be like %s, not %q (%s)", defaultServer, address, flag)
	}
	return newClient(base, key), nil
}

func newClient(base, key string) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	return &client{base: base, key: key, http: &http.Client{Transport: t}}
}

// unreachableError: nothing answers at the server's address.
type unreachableError struct {
	base string
	err  error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no server answers at %s: %v\nStart one with: inferctl serve --model smollm2:135m", e.base, e.err)
}

func (e *unreachableError) Unwrap() []error { return []error{e.err, bench.ErrGone} }

// apiError is the server's own account of what went wrong.
type apiError struct {
	Status  int
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    string `json:"code"`
}

func (e *apiError) Error() string {
	s := e.Message
	switch e.Status {
	case http.StatusUnauthorized:
		s += " (set INFERFLUX_API_KEY)"
	case http.StatusNotFound:
		s += " (inferctl models shows what is served)"
	}
	return s
}

// do sends a request; the caller closes the body. Statuses other than those
// accepted become an apiError.
func (c *client) do(ctx context.Context, method, path string, body any, accept ...int) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		// Not sent; it lets a request be sent again whose kept connection the server was
		// just closing, as some do after a number of requests.
		req.Header["Idempotency-Key"] = nil
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is in our own message
		}
		return nil, &unreachableError{c.base, err}
	}
	for _, ok := range append(accept, http.StatusOK) {
		if res.StatusCode == ok {
			return res, nil
		}
	}
	defer res.Body.Close()
	return nil, readError(res)
}

func readError(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var e struct{ Error apiError }
	if json.Unmarshal(data, &e) != nil || e.Error.Message == "" {
		text, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		return &apiError{Status: res.StatusCode, Message: fmt.Sprintf("the server answered %s: %s", res.Status, text)}
	}
	e.Error.Status = res.StatusCode
	return &e.Error
}

// get reads a JSON answer.
func (c *client) get(ctx context.Context, path string, into any, accept ...int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, path, nil, accept...)
	if errors.Is(err, context.DeadlineExceeded) {
		return &unreachableError{c.base, errors.New("no answer within 10 seconds")}
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(into); err != nil {
		return fmt.Errorf("%s%s is not what an InferFlux server sends: %w", c.base, path, err)
	}
	return nil
}

// servedModel is an entry of /v1/models.
type servedModel struct {
	ID             string   `json:"id"`
	Aliases        []string `json:"aliases,omitempty"`
	State          string   `json:"state"`
	Ready          bool     `json:"ready"`
	Error          string   `json:"error,omitempty"`
	Backend        string   `json:"backend,omitempty"`
	Device         string   `json:"device,omitempty"`
	FallbackReason string   `json:"fallback_reason,omitempty"`
	ContextLength  int      `json:"context_length,omitempty"`
	Parameters     int64    `json:"parameters,omitempty"`
	Quantization   string   `json:"quantization,omitempty"`
}

func (c *client) models(ctx context.Context) ([]servedModel, error) {
	var list struct{ Data []servedModel }
	err := c.get(ctx, "/v1/models", &list)
	return list.Data, err
}

// message is one turn of a conversation.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// generateRequest is the body of both completion endpoints. Fields left out
// take the server's defaults.
type generateRequest struct {
	Model       string         `json:"model,omitempty"`
	Messages    []message      `json:"messages,omitempty"`
	Prompt      *string        `json:"prompt,omitempty"`
	Stream      bool           `json:"stream"`
	StreamOpts  map[string]any `json:"stream_options"`
	MaxTokens   *int           `json:"max_tokens,omitempty"`
	Temperature *float64       `json:"temperature,omitempty"`
	TopP        *float64       `json:"top_p,omitempty"`
	Seed        *int64         `json:"seed,omitempty"`
	Stop        []string       `json:"stop,omitempty"`
}

// answer is what a stream amounted to.
type answer struct {
	Text         string
	Finish       string
	PromptTokens int
	Tokens       int
	FirstToken   time.Duration // from the request to the first text
	Generation   time.Duration // from the first text to the end
}

// speed is the rate of the tokens after the first.
func (a answer) speed() float64 {
	if a.Tokens < 2 || a.Generation <= 0 {
		return 0
	}
	return float64(a.Tokens-1) / a.Generation.Seconds()
}

// stats is the line shown below an answer.
func (a answer) stats() string {
	if a.FirstToken == 0 {
		return fmt.Sprintf("an empty answer (%d tokens)", a.Tokens)
	}
	if s := a.speed(); s > 0 {
		return fmt.Sprintf("%d tokens, %.0f tokens/s, first after %s", a.Tokens, s, a.FirstToken.Round(time.Millisecond))
	}
	return fmt.Sprintf("%d tokens, first after %s", a.Tokens, a.FirstToken.Round(time.Millisecond))
}

// generate streams an answer and hands over its text piece by piece. On an
// error the answer holds what had arrived.
func (c *client) generate(ctx context.Context, path string, r generateRequest, each func(text string)) (answer, error) {
	var a answer
	r.Stream, r.StreamOpts = true, map[string]any{"include_usage": true}
	start := time.Now()
	res, err := c.do(ctx, http.MethodPost, path, r)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	var text strings.Builder
	var last time.Time
	err = readEvents(res.Body, func(data []byte) error {
		var chunk struct {
			Error   *apiError
			Choices []struct {
				Text         string
				Delta        struct{ Content string }
				FinishReason string `json:"finish_reason"`
			}
			Usage *struct {
				Prompt     int `json:"prompt_tokens"`
				Completion int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return fmt.Errorf("the server sent a broken event: %w", err)
		}
		if chunk.Error != nil {
			return chunk.Error
		}
		for _, choice := range chunk.Choices {
			piece := choice.Delta.Content + choice.Text
			if piece != "" {
				last = time.Now()
				if a.FirstToken == 0 {
					a.FirstToken = last.Sub(start)
				}
				text.WriteString(piece)
				each(piece)
			}
			if choice.FinishReason != "" {
				a.Finish = choice.FinishReason
			}
		}
		if chunk.Usage != nil {
			a.PromptTokens, a.Tokens = chunk.Usage.Prompt, chunk.Usage.Completion
		}
		return nil
	})
	a.Text = text.String()
	if a.FirstToken > 0 {
		a.Generation = last.Sub(start) - a.FirstToken
	}
	if ctx.Err() != nil {
		return a, ctx.Err()
	}
	return a, err
}

// readEvents reads server-sent events up to [DONE].
func readEvents(r io.Reader, each func(data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // blank lines, comments
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			return nil
		}
		if err := each(data); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the connection to the server broke: %w", err)
	}
	return errors.New("the server ended the answer early")
}
