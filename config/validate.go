package config

import (
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

const badKey = "a key must be 8 to 512 printable ASCII characters without spaces"

// validate checks what a single key's type, range and choices can't say, fills
// in model names, and warns of what is legal but unwise.
func (c *Config) validate() Problems {
	var p Problems
	bad := func(key, format string, args ...any) { p.add(c.origins[key], key, format, args...) }

	host, port, err := net.SplitHostPort(c.Server.Listen)
	if err != nil {
		bad("server.listen", "must be an address and a port such as 127.0.0.1:8080, not %s", quote(c.Server.Listen))
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		bad("server.listen", "the port must be a number between 0 and 65535, not %s", quote(port))
	} else if !isLoopback(host) && len(c.Server.APIKeys)+len(c.Server.AdminKeys) == 0 && c.Server.APIKeysFile == "" {
		c.warnings = append(c.warnings, fmt.Sprintf("server.listen is %s and there are no server.api_keys: "+
			"everybody who can reach port %d of this machine can use it", c.Server.Listen, n))
	}
	for i, k := range c.Server.APIKeys {
		if !validKey(string(k)) {
			bad(fmt.Sprintf("server.api_keys[%d]", i), badKey)
		}
	}
	for i, k := range c.Server.AdminKeys {
		if !validKey(string(k)) {
			bad(fmt.Sprintf("server.admin_keys[%d]", i), badKey)
		}
	}
	c.validateModels(bad)

	c.validateBackends(bad)
	s := c.Runtime.Scheduler
	if s.BatchTokens > 0 && s.PrefillChunk > s.BatchTokens {
		bad("runtime.scheduler.prefill_chunk", "must not be larger than batch_tokens (%d), but is %d", s.BatchTokens, s.PrefillChunk)
	}
	if s.BatchTokens > 0 && s.MaxRunning > s.BatchTokens {
		bad("runtime.scheduler.max_running", "must not be larger than batch_tokens (%d), since every running sequence needs a token a step, but is %d", s.BatchTokens, s.MaxRunning)
	}
	return p
}

func (c *Config) validateBackends(bad func(key, format string, args ...any)) {
	seen := map[string]int{}
	for i, b := range c.Runtime.Backends {
		key := fmt.Sprintf("runtime.backends[%d]", i)
		if b.Name == "" {
			bad(key, "needs a name")
			continue
		}
		if first, ok := seen[b.Name]; ok {
			bad(key+".name", "%q is listed already as runtime.backends[%d]", b.Name, first)
		} else {
			seen[b.Name] = i
		}
		for _, f := range fieldsOf(reflect.TypeOf(b)) {
			if _, set := c.origins[key+"."+f.key]; set && !f.isFor(reflect.ValueOf(b)) {
				bad(key+"."+f.key, "is a setting of %s, not of %s", strings.Join(f.names, ", "), b.Name)
			}
		}
	}
	listed := map[string]bool{}
	for i, name := range c.Runtime.BackendPriority {
		key := fmt.Sprintf("runtime.backend_priority[%d]", i)
		switch {
		case name == "":
			bad(key, "is empty")
		case listed[name]:
			bad(key, "%q is listed twice", name)
		case !c.Runtime.Backend(name).Enabled:
			bad(key, "%q is switched off by %s", name, c.Runtime.Backend(name).OffBy())
		}
		listed[name] = true
	}
}

func (c *Config) validateModels(bad func(key, format string, args ...any)) {
	names := map[string]string{} // every id and alias, and the key that has it
	take := func(name, key string) {
		if first, ok := names[name]; ok {
			bad(key, "the name %q is taken already by %s", name, first)
			return
		}
		names[name] = key
	}
	for i := range c.Models {
		m := &c.Models[i]
		key := fmt.Sprintf("models[%d]", i)
		switch {
		case m.Source == "" && m.Path == "":
			bad(key, "needs a source (such as smollm2:135m) or a path")
			continue
		case m.Source != "" && m.Path != "":
			bad(key, "has both source and path: leave one out")
		}
		idKey := key + ".id"
		if m.ID == "" {
			m.ID, idKey = modelID(m.Source, m.Path), key
		}
		if !validName(m.ID) {
			bad(idKey, "a model's name must be 1 to 128 printable characters without spaces, not %s", quote(m.ID))
		}
		take(m.ID, idKey)
		for j, a := range m.Aliases {
			aliasKey := fmt.Sprintf("%s.aliases[%d]", key, j)
			if !validName(a) {
				bad(aliasKey, "a model's name must be 1 to 128 printable characters without spaces, not %s", quote(a))
			}
			take(a, aliasKey)
		}
		if m.Backend != "" && !m.Fallback && !c.Runtime.Backend(m.Backend).Enabled {
			bad(key+".backend", "%q is switched off by %s", m.Backend, c.Runtime.Backend(m.Backend).OffBy())
		}
		switch s := m.Speculation; {
		case s.Method == "draft" && s.Draft == "":
			bad(key+".speculation.draft", "names the model that method draft asks: it is missing")
		case s.Draft != "" && s.Method != "draft" && s.Method != "auto":
			bad(key+".speculation.draft", "is for method draft, not for %s", s.Method)
		case s.Backend != "" && s.Draft == "":
			bad(key+".speculation.backend", "is for a draft model, and there is none")
		}
		if m.KVTokens > 0 && m.Context > m.KVTokens {
			bad(key+".context", "must not be larger than kv_tokens (%d), but is %d", m.KVTokens, m.Context)
		}
	}
}

// modelID is a model's name when the configuration gives none: a catalog name
// stays as it is, of anything with folders the last part counts.
func modelID(source, path string) string {
	id := source
	if strings.HasPrefix(source, "hf:") {
		source, _, _ = strings.Cut(source, "@") // the revision
		id = source
	}
	if path != "" || strings.ContainsAny(source, `/\`) || strings.HasSuffix(source, ".gguf") {
		id = strings.TrimSuffix(filepath.Base(strings.ReplaceAll(source+path, `\`, "/")), ".gguf")
	}
	return strings.ReplaceAll(id, " ", "-")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	host, _, _ = strings.Cut(host, "%") // zone
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func validKey(k string) bool { return len(k) >= 8 && len(k) <= 512 && printable(k) }

func validName(s string) bool { return len(s) >= 1 && len(s) <= 128 && printable(s) }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
