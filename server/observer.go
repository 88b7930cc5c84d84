package server

import (
	"errors"
	"time"

	"github.com/inferflux/inferflux/scheduler"
	"github.com/prometheus/client_golang/prometheus"
)

// observer feeds the metrics of one model. It holds the metrics with the label
// filled in, because it is called for every token.
type observer struct {
	promptTokens, cachedTokens           prometheus.Counter
	generatedTokens                      prometheus.Counter
	finished, rejected                   *prometheus.CounterVec // by reason
	queueTime, firstToken, interval      prometheus.Observer
	decodeTokens, prefillTokens, stepDur prometheus.Observer
}

var _ scheduler.Observer = (*observer)(nil)

// Observer is what a model's scheduler reports to.
func (m *Metrics) Observer(model string) scheduler.Observer {
	label := prometheus.Labels{"model": model}
	return &observer{
		promptTokens:    m.promptTokens.With(label),
		cachedTokens:    m.cachedTokens.With(label),
		generatedTokens: m.generatedTokens.With(label),
		finished:        m.finished.MustCurryWith(label),
		rejected:        m.rejected.MustCurryWith(label),
		queueTime:       m.queueTime.With(label),
		firstToken:      m.firstToken.With(label),
		interval:        m.interval.With(label),
		decodeTokens:    m.stepTokens.WithLabelValues(model, "decode"),
		prefillTokens:   m.stepTokens.WithLabelValues(model, "prefill"),
		stepDur:         m.stepDuration.With(label),
	}
}

func (o *observer) Queued(int) {}

func (o *observer) Rejected(err error) {
	reason := "invalid"
	switch {
	case errors.Is(err, scheduler.ErrQueueFull):
		reason = "queue_full"
	case errors.Is(err, scheduler.ErrContextLength):
		reason = "context_length"
	case errors.Is(err, scheduler.ErrStopped):
		reason = "stopped"
	}
	o.rejected.WithLabelValues(reason).Inc()
}

func (o *observer) Admitted(waited time.Duration, cachedTokens int) {
	o.queueTime.Observe(waited.Seconds())
	o.cachedTokens.Add(float64(cachedTokens))
}

func (o *observer) FirstToken(after time.Duration) { o.firstToken.Observe(after.Seconds()) }
func (o *observer) NextToken(after time.Duration)  { o.interval.Observe(after.Seconds()) }

func (o *observer) Finished(reason scheduler.FinishReason, t scheduler.Timings, err error) {
	why := string(reason)
	if err != nil {
		why = "error"
	}
	o.finished.WithLabelValues(why).Inc()
	o.promptTokens.Add(float64(t.PromptTokens))
	o.generatedTokens.Add(float64(t.GeneratedTokens))
}

func (o *observer) Stepped(s scheduler.Step) {
	if s.DecodeTokens > 0 {
		o.decodeTokens.Observe(float64(s.DecodeTokens))
	}
	if s.PrefillTokens > 0 {
		o.prefillTokens.Observe(float64(s.PrefillTokens))
	}
	o.stepDur.Observe(s.Duration.Seconds())
}
