package bench

import (
	"math"
	"slices"
)

// Quantiles describe many measurements of one thing.
type Quantiles struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// QuantilesOf takes each quantile by nearest rank: the smallest sample that at
// least this part of them doesn't exceed. Without samples all are 0.
func QuantilesOf(samples []float64) Quantiles {
	if len(samples) == 0 {
		return Quantiles{}
	}
	s := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 { return s[max(0, int(math.Ceil(q*float64(len(s))))-1)] }
	return Quantiles{Mean: mean(s), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: s[len(s)-1]}
}

// Spread is the median, the mean and the sample standard deviation.
func Spread(samples []float64) (median, average, deviation float64) {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	median = (s[(n-1)/2] + s[n/2]) / 2
	average = mean(s)
	if n > 1 {
		for _, x := range s {
			deviation += (x - average) * (x - average) / float64(n-1)
		}
	}
	return median, average, math.Sqrt(deviation)
}

func mean(samples []float64) float64 {
	sum := 0.0
	for _, x := range samples {
		sum += x
	}
	return sum / float64(len(samples))
}
