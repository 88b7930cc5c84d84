package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/checkpoint"
	_ "github.com/inferflux/inferflux/checkpoint/gguf"        // registers the format
	_ "github.com/inferflux/inferflux/checkpoint/huggingface" // registers the format
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/kvstore"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
	"github.com/inferflux/inferflux/tokenizer"
)

// loader makes served models out of configured ones.
type loader struct {
	store *kvstore.Store // nil: none
	Options
	manager *backend.Manager
	metrics *server.Metrics
}

func (l *loader) load(ctx context.Context, m config.Model) (loaded *generate.Model, err error) {
	start := time.Now()
	log := l.Logger.With("model", m.ID)
	defer func() {
		if err != nil && ctx.Err() == nil {
			log.Error("the model can't be served", "error", err)
		}
	}()
	path, err := l.fetch(ctx, m)
	if err != nil {
		return nil, err
	}
	log.Info("loading", "file", path)
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	tok, err := tokenizer.FromCheckpoint(c)
	if err != nil {
		return nil, fmt.Errorf("read the tokenizer of %s: %w", path, err)
	}
	template, err := chat.FromCheckpoint(c, spelling(tok, tok.BOS), spelling(tok, tok.EOS))
	switch {
	case errors.Is(err, chat.ErrNoTemplate):
		log.Info("the model has no chat template: it continues text, and /v1/chat/completions refuses it")
	case err != nil:
		// Text completion still works; a chat request says what is wrong.
		log.Warn("the model's chat template can't be used: only text completion is possible", "error", err)
		template = nil
	}
	meaning, err := generate.NamedDialect(m.ToolFormat, m.ReasoningFormat, generate.DetectDialect(template, tok))
	if err != nil {
		return nil, err
	}
	choice, err := l.manager.Load(ctx, c, backend.LoadRequest{Backend: m.Backend, Fallback: m.Fallback, Options: backend.LoadOptions{
		Context: m.Context, KVTokens: m.KVTokens, KVType: m.KVType,
		MaxBatchTokens: l.Config.Runtime.Scheduler.BatchTokens,
		Threads:        l.Config.Runtime.Backend("cpu").Threads,
		Repack:         l.Config.Runtime.Backend("cpu").Repack,
		Progress:       func(f float64) { l.report(m.ID, "loading", int64(f*1000), 1000) },
	}})
	if err != nil {
		return nil, err
	}
	if choice.FallbackReason != "" {
		log.Warn("the model runs on another backend than the first choice", "backend", choice.Backend, "reason", choice.FallbackReason)
	}
	e := choice.Engine
	if r, ok := e.(backend.Repacker); ok {
		if cost := r.Repacked(); cost.Mapped != "" {
			log.Info("weights stay in the mapped file, which is slower", "reason", cost.Mapped)
		} else {
			log.Info("weights repacked", "memory_bytes", cost.Bytes, "took", cost.Took.Round(time.Millisecond))
		}
	}
	log.Info("ready", "backend", choice.Backend, "device", e.Description().Device, "quantization", e.Model().Quantization,
		"context", e.Context(), "kv_tokens", e.KV().Usage().Capacity, "took", time.Since(start).Round(time.Millisecond))
	options := schedulerOptions(l.Config.Runtime.Scheduler, l.Config.Runtime.KV, l.metrics.Observer(m.ID), l.store,
		fmt.Sprintf("%s %s %s", c.Fingerprint(), choice.Backend, m.KVType))
	var closeDraft func() error
	if options.Speculation, closeDraft, err = l.speculation(ctx, m, tok, choice); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	pooling := generate.Pooling(m.Pooling)
	if m.Pooling == "auto" {
		pooling = ""
	}
	return generate.New(generate.ModelOptions{
		Pooling: pooling,
		ID:      m.ID, Aliases: m.Aliases, File: path, Created: time.Now(), Tokenizer: tok, Template: template, Dialect: meaning,
		Engine: e, Choice: choice, Close: func() error { return errors.Join(closeDraft(), c.Close()) },
		Scheduler: options,
	}), nil
}

// fetch finds the model's file, and pulls it first if it isn't here.
func (l *loader) fetch(ctx context.Context, m config.Model) (string, error) {
	if m.Path != "" {
		return m.Path, nil
	}
	var phase string
	var next time.Time
	pulled, err := l.Store.Pull(ctx, m.Source, func(p string, done, total int64) {
		if l.Options.Progress != nil {
			l.report(m.ID, p, done, total)
			return
		}
		// The log hears of each phase, and then every five seconds.
		if now := time.Now(); p != phase || now.After(next) {
			phase, next = p, now.Add(5*time.Second)
			l.Logger.Info("fetching the model", "model", m.ID, "phase", p, "done_bytes", done, "total_bytes", total)
		}
	})
	if err != nil {
		return "", err
	}
	return pulled.Path(), nil
}

func (l *loader) report(model, phase string, done, total int64) {
	if l.Options.Progress != nil {
		l.Options.Progress(model, phase, done, total)
	}
}

func schedulerOptions(c config.Scheduler, kv config.KV, o scheduler.Observer, store *kvstore.Store, storeModel string) scheduler.Options {
	queue := c.MaxQueue
	if queue == 0 {
		queue = -1 // the scheduler's 0 means its default
	}
	prefix := kv.PrefixTokens
	if !kv.PrefixCache {
		prefix = -1
	}
	return scheduler.Options{
		Policy: scheduler.Policy(c.Policy), TargetLatency: c.TargetLatency, ClientRunning: c.KeyRunning, ClientQueue: c.KeyQueue,
		PrefixTokens: prefix, MaxRunning: c.MaxRunning, MaxQueue: queue, BatchTokens: c.BatchTokens, PrefillChunk: c.PrefillChunk,
		DefaultMaxTokens: c.DefaultMaxTokens, Observer: o, Store: store, StoreModel: storeModel,
	}
}

func spelling(t *tokenizer.Tokenizer, special func() (int32, bool)) string {
	if id, ok := special(); ok {
		return t.Text(id)
	}
	return ""
}
