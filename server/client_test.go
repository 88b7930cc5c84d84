package server_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
)

// The official Go client, as an application uses it.
func TestOpenAIGo(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{APIKeys: []string{"sk-test"}}})
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	ctx := t.Context()
	ask := openai.ChatCompletionNewParams{
		Model:       "fake",
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.DeveloperMessage("Be brief."), openai.UserMessage("Count.")},
		Temperature: openai.Float(0),
	}

	t.Run("chat", func(t *testing.T) {
		got, err := client.Chat.Completions.New(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		if c := got.Choices[0]; c.Message.Content != recited || c.FinishReason != "stop" || got.Usage.TotalTokens == 0 || got.Model != "fake" {
			t.Errorf("got %s", got.RawJSON())
		}
	})
	t.Run("streaming", func(t *testing.T) {
		ask := ask
		ask.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
		stream := client.Chat.Completions.NewStreaming(ctx, ask)
		defer stream.Close()
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			if !all.AddChunk(stream.Current()) {
				t.Fatalf("the accumulator refused %s", stream.Current().RawJSON())
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if c := all.Choices[0]; c.Message.Content != recited || c.FinishReason != "stop" || all.Usage.CompletionTokens == 0 {
			t.Errorf("got %+v", all.ChatCompletion)
		}
	})
	t.Run("stop", func(t *testing.T) {
		ask := ask
		ask.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"four"}}
		got, err := client.Chat.Completions.New(ctx, ask)
		if err != nil || got.Choices[0].Message.Content != "one two three " {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("n", func(t *testing.T) {
		ask := ask
		ask.Temperature, ask.Seed, ask.N, ask.MaxCompletionTokens = openai.Float(1), openai.Int(3), openai.Int(3), openai.Int(20)
		got, err := client.Chat.Completions.New(ctx, ask)
		if err != nil || len(got.Choices) != 3 {
			t.Fatalf("got %+v, %v", got, err)
		}
		if got.Choices[0].Message.Content == got.Choices[1].Message.Content {
			t.Errorf("both answers are %q", got.Choices[0].Message.Content)
		}
	})
	t.Run("logprobs", func(t *testing.T) {
		ask := ask
		ask.Logprobs, ask.TopLogprobs, ask.MaxTokens = openai.Bool(true), openai.Int(2), openai.Int(2)
		got, err := client.Chat.Completions.New(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		l := got.Choices[0].Logprobs.Content
		if len(l) != 2 || l[0].Token != "one" || l[0].Logprob > 0 || len(l[0].TopLogprobs) != 2 || string(rune(l[0].Bytes[0])) != "o" {
			t.Errorf("got %s", got.RawJSON())
		}
	})
	t.Run("completions", func(t *testing.T) {
		got, err := client.Completions.New(ctx, openai.CompletionNewParams{
			Model:       "fake",
			Prompt:      openai.CompletionNewParamsPromptUnion{OfArrayOfTokens: []int64{256}},
			Temperature: openai.Float(0), MaxTokens: openai.Int(2), Logprobs: openai.Int(1),
		})
		if err != nil || got.Choices[0].Text != " two three" || got.Choices[0].Logprobs.Tokens[1] != " three" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("models", func(t *testing.T) {
		got, err := client.Models.Get(ctx, "fake")
		if err != nil || got.ID != "fake" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("errors", func(t *testing.T) {
		ask := ask
		ask.TopP = openai.Float(2)
		_, err := client.Chat.Completions.New(ctx, ask)
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != http.StatusBadRequest || e.Param != "top_p" || e.Type != "invalid_request_error" {
			t.Errorf("got %#v", err)
		}
		ask = openai.ChatCompletionNewParams{Model: "nobody", Messages: ask.Messages}
		stream := client.Chat.Completions.NewStreaming(ctx, ask)
		if stream.Next() || !errors.As(stream.Err(), &e) || e.Code != "model_not_found" {
			t.Errorf("got %#v", stream.Err())
		}
		stranger := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("sk-other"), option.WithMaxRetries(0))
		if _, err := stranger.Models.List(ctx); !errors.As(err, &e) || e.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %#v", err)
		}
	})
}

// The official Node client: see the scripts.
func TestOpenAINode(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{APIKeys: []string{"sk-test"}}})
	runNode(t, s, "client.mjs")
}

func TestOpenAINodeAgent(t *testing.T) {
	runNode(t, agentSite(t, agentScript, toolTemplate), "agent.mjs")
}

// Its helpers for answers in a form, with a random model.
func TestOpenAINodeParse(t *testing.T) {
	s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return speaking(t, o, "none") }})
	runNode(t, s, "parse.mjs")
}

// Another maker's agents.
func TestAISDKAgent(t *testing.T) {
	runNode(t, agentSite(t, agentScript, toolTemplate), "ai-sdk.mjs")
}

func runNode(t *testing.T, s *site, script string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	folder := filepath.Join("..", "api", "openai", "testdata", "node")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "openai")); err != nil {
		t.Skipf("the client is not installed: run npm ci --prefix %s", filepath.ToSlash(filepath.Clean(folder)))
	}
	cmd := exec.CommandContext(t.Context(), node, script)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "INFERFLUX_BASE_URL="+s.url+"/v1", "INFERFLUX_RECITED="+recited, "INFERFLUX_API_KEY=sk-test")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Equal(bytes.TrimSpace(out), []byte("ok")) {
		t.Errorf("%v\n%s", err, out)
	}
}
