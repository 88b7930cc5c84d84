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
	promptTokens, cachedTokens      prometheus.Counter
	generatedTokens, preempted      prometheus.Counter
	guessed, accepted               prometheus.Counter
	finished, rejected              *prometheus.CounterVec // by reason
	queueTime, firstToken, interval prometheus.Observer
	decodeTokens, prefillTokens     prometheus.Observer
	decoding, prefilling, mixed     prometheus.Observer // the durations of steps
}

var _ scheduler.Observer = (*observer)(nil)

// Observer is what a model's scheduler reports to.
func (m *Metrics) Observer(model string) scheduler.Observer {
	label := prometheus.Labels{"model": model}
	return &observer{
		promptTokens:    m.promptTokens.With(label),
		cachedTokens:    m.cachedTokens.With(label),
		generatedTokens: m.generatedTokens.With(label),
		preempted:       m.preempted.With(label),
		guessed:         m.guessed.With(label),
		accepted:        m.accepted.With(label),
		finished:        m.finished.MustCurryWith(label),
		rejected:        m.rejected.MustCurryWith(label),
		queueTime:       m.queueTime.With(label),
		firstToken:      m.firstToken.With(label),
		interval:        m.interval.With(label),
		decodeTokens:    m.stepTokens.WithLabelValues(model, "decode"),
		prefillTokens:   m.stepTokens.WithLabelValues(model, "prefill"),
		decoding:        m.stepDuration.WithLabelValues(model, "decode"),
		prefilling:      m.stepDuration.WithLabelValues(model, "prefill"),
		mixed:           m.stepDuration.WithLabelValues(model, "mixed"),
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

func (o *observer) Preempted() { o.preempted.Inc() }

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
	o.guessed.Add(float64(s.GuessedTokens))
	o.accepted.Add(float64(s.AcceptedTokens))
	duration := o.mixed
	switch {
	case s.PrefillTokens == 0:
		duration = o.decoding
	case s.DecodeTokens == 0:
		duration = o.prefilling
	}
	duration.Observe(s.Duration.Seconds())
}
