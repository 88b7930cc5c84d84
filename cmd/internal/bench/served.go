package bench

import "time"

// Served is how a server answered at one level. Times are in milliseconds.
type Served struct {
	Level
	Failed int `json:"failed"`
	// PromptTokens and CachedTokens (of them, those that the server knew already)
	// are means, as the server reports them.
	PromptTokens float64 `json:"mean_prompt_tokens"`
	CachedTokens float64 `json:"mean_cached_prompt_tokens"`
	Generated    int     `json:"generated_tokens"`
	CountedBy    string  `json:"counted_by"` // "usage", or "pieces" if the server reports none
	Seconds      float64 `json:"seconds"`
	// Speed is of all answers together, from the first request to the last answer.
	Speed             float64 `json:"tokens_per_second"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	// Goodput counts only requests that kept every limit.
	Goodput    float64   `json:"good_requests_per_second"`
	FirstToken Quantiles `json:"time_to_first_token_ms"`
	Interval   Quantiles `json:"inter_token_latency_ms"`   // between two pieces of an answer
	PerToken   Quantiles `json:"time_per_output_token_ms"` // of a request, after its first token
	Latency    Quantiles `json:"request_latency_ms"`
}

// Limits are what a request must keep to be counted as good; 0 is none.
type Limits struct {
	FirstToken, PerToken, Latency time.Duration
}

// Summarize puts together what came of rounds at one level: the answers of all,
// which took so long one after the other. failure is one of the errors.
func Summarize(level Level, took time.Duration, answers []Answer, limits Limits) (s Served, failure error) {
	s = Served{Level: level, CountedBy: "usage", Seconds: took.Seconds()}
	s.Requests = len(answers)
	var first, interval, perToken, latency []float64
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	within := func(d, limit time.Duration) bool { return limit == 0 || d <= limit }
	good := 0
	for i := range answers {
		a := &answers[i]
		if a.Err != nil {
			s.Failed++
			failure = a.Err
			continue
		}
		if a.Generated == 0 {
			s.CountedBy = "pieces"
		}
		s.PromptTokens += float64(a.Prompt)
		s.CachedTokens += float64(a.Cached)
		s.Generated += a.Tokens()
		all := a.End.Sub(a.Start)
		latency = append(latency, ms(all))
		n := len(a.Pieces)
		if n == 0 {
			continue
		}
		toFirst := a.Pieces[0].Sub(a.Start)
		first = append(first, ms(toFirst))
		for i := 1; i < n; i++ {
			interval = append(interval, ms(a.Pieces[i].Sub(a.Pieces[i-1])))
		}
		each := time.Duration(0)
		if a.Tokens() > 1 {
			each = a.Pieces[n-1].Sub(a.Pieces[0]) / time.Duration(a.Tokens()-1)
			perToken = append(perToken, ms(each))
		}
		if within(toFirst, limits.FirstToken) && within(each, limits.PerToken) && within(all, limits.Latency) {
			good++
		}
	}
	answered := s.Requests - s.Failed
	s.PromptTokens /= float64(max(1, answered))
	s.CachedTokens /= float64(max(1, answered))
	seconds := max(took, 1).Seconds()
	s.Speed, s.RequestsPerSecond, s.Goodput = float64(s.Generated)/seconds, float64(answered)/seconds, float64(good)/seconds
	s.FirstToken, s.Interval, s.PerToken, s.Latency = QuantilesOf(first), QuantilesOf(interval), QuantilesOf(perToken), QuantilesOf(latency)
	return s, failure
}
