package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/generate"
)

// gauges reads the schedulers when /metrics is asked, so that the numbers are
// those of this moment and cost nothing otherwise.
type gauges struct {
	models *generate.Models

	ready, running, waiting                     *prometheus.Desc
	kvCapacity, kvReserved, kvUsed, kvUsedBytes *prometheus.Desc
	prefixEntries, prefixTokens, prefixEvicted  *prometheus.Desc
	routerWaiting, routerRunning, routerKVUsage *prometheus.Desc
	deviceMemory                                *prometheus.Desc
}

func newGauges(models *generate.Models) *gauges {
	desc := func(name, label, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{label}, nil)
	}
	memory := "Memory of a backend's native library, for all its models together: active, free but cached for reuse, and the most that was ever active (peak)."
	return &gauges{
		models:        models,
		ready:         desc("inferflux_model_ready", "model", "1 if the model answers requests."),
		running:       desc("inferflux_running_sequences", "model", "Sequences that hold KV memory."),
		waiting:       desc("inferflux_queue_length", "model", "Sequences that wait for room."),
		kvCapacity:    desc("inferflux_kv_capacity_tokens", "model", "Positions that the KV cache has."),
		kvReserved:    desc("inferflux_kv_reserved_tokens", "model", "Positions promised to sequences."),
		kvUsed:        desc("inferflux_kv_used_tokens", "model", "Positions that hold values."),
		kvUsedBytes:   desc("inferflux_kv_used_bytes", "model", "Memory of the positions that hold values."),
		prefixEntries: desc("inferflux_prefix_entries", "model", "Ends of the tree of prefixes that are held."),
		prefixTokens:  desc("inferflux_prefix_tokens", "model", "Tokens of prefixes that are held. They are among kv_used, and give way when running sequences need room."),
		prefixEvicted: desc("inferflux_prefix_evicted_tokens_total", "model", "Tokens of prefixes that gave way."),
		// The names that inference routers (llm-d, the Gateway API Inference
		// Extension) read to choose a server.
		routerWaiting: desc("vllm:num_requests_waiting", "model_name", "Sequences that wait for room."),
		routerRunning: desc("vllm:num_requests_running", "model_name", "Sequences that hold KV memory."),
		routerKVUsage: desc("vllm:kv_cache_usage_perc", "model_name", "Part of the KV cache that running sequences take, 0 to 1."),
		deviceMemory:  prometheus.NewDesc("inferflux_device_memory_bytes", memory, []string{"backend", "kind"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.ready, g.running, g.waiting, g.kvCapacity, g.kvReserved, g.kvUsed, g.kvUsedBytes, g.prefixEntries, g.prefixTokens, g.prefixEvicted,
		g.routerWaiting, g.routerRunning, g.routerKVUsage, g.deviceMemory,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	backends := map[string]bool{} // whose memory has been told
	for _, e := range g.models.List() {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, e.ID)
		}
		if e.State != generate.Ready {
			gauge(g.ready, 0)
			continue
		}
		gauge(g.ready, 1)
		stats := e.Model.Scheduler().Stats()
		gauge(g.running, float64(stats.Running))
		gauge(g.waiting, float64(stats.Waiting))
		gauge(g.routerRunning, float64(stats.Running))
		gauge(g.routerWaiting, float64(stats.Waiting))

		gauge(g.prefixEntries, float64(stats.Prefix.Entries))
		gauge(g.prefixTokens, float64(stats.Prefix.Tokens))
		ch <- prometheus.MustNewConstMetric(g.prefixEvicted, prometheus.CounterValue, float64(stats.Prefix.EvictedTokens), e.ID)
		kv := stats.KV
		gauge(g.kvCapacity, float64(kv.Capacity))
		gauge(g.kvReserved, float64(kv.Reserved))
		gauge(g.kvUsed, float64(kv.Used))
		gauge(g.kvUsedBytes, float64(kv.Used)*float64(kv.BytesPerToken))
		if kv.Capacity > 0 {
			gauge(g.routerKVUsage, float64(max(0, kv.Reserved-stats.Prefix.Tokens))/float64(kv.Capacity))
		}
		if r, ok := e.Model.Engine().(backend.MemoryReporter); ok && !backends[r.Description().Name] {
			name, m := r.Description().Name, r.Memory()
			backends[name] = true
			for kind, bytes := range map[string]uint64{"active": m.Active, "cache": m.Cache, "peak": m.Peak} {
				ch <- prometheus.MustNewConstMetric(g.deviceMemory, prometheus.GaugeValue, float64(bytes), name, kind)
			}
		}
	}
}
