package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const envPrefix = "INFERFLUX_"

// Variables of the same prefix that aren't settings of the server: other parts
// of the program read them.
var otherVariables = []string{"INFERFLUX_HOME", "INFERFLUX_SIMD", "INFERFLUX_SERVER", "INFERFLUX_API_KEY", "INFERFLUX_CONFIG", "INFERFLUX_EMBED_MLXC"}

// Kubernetes gives every container such variables for each service of its
// namespace, so a service called inferflux or inferflux-server must not stop
// the start.
var serviceLink = regexp.MustCompile(`^INFERFLUX_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment applies the INFERFLUX_ variables. One that begins with a
// section's name but names no setting is a problem: it was meant for us. Others
// that nobody reads give a warning.
func (d *decoder) environment(environ []string, root reflect.Value, c *Config) {
	type assignment struct {
		path        []string
		name, value string
	}
	var all []assignment
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		if !ours || slices.Contains(otherVariables, name) || strings.HasPrefix(name, "INFERFLUX_TEST_") {
			continue
		}
		if path, ok := envPath(root.Type(), rest); ok {
			all = append(all, assignment{path, name, value})
			continue
		}
		if serviceLink.MatchString(name) {
			continue
		}
		section, _, _ := strings.Cut(rest, "_")
		_, isSection := find(fieldsOf(root.Type()), strings.ToLower(section))
		hint := ""
		if n := nearest(name, envNames()); n != "" {
			hint = fmt.Sprintf("; did you mean %s?", n)
		}
		if isSection {
			d.problems.add(origin{from: name}, "", "no such setting%s", hint)
		} else {
			c.warnings = append(c.warnings, fmt.Sprintf("the environment variable %s means nothing here%s", name, hint))
		}
	}
	// In the order of list indices, so that entries can be appended one by one.
	slices.SortFunc(all, func(a, b assignment) int {
		return slices.CompareFunc(a.path, b.path, func(x, y string) int {
			i, errI := strconv.Atoi(x)
			j, errJ := strconv.Atoi(y)
			if errI == nil && errJ == nil {
				return cmp.Compare(i, j)
			}
			return strings.Compare(x, y)
		})
	})
	for _, a := range all {
		d.set(root, a.path, a.value, origin{from: a.name})
	}
	for _, e := range environ {
		if variable, value, _ := strings.Cut(e, "="); value != "" {
			d.switchBackend(c, variable, value)
		}
	}
}

// ParseSwitch reads the value of an environment variable that switches something
// on or off.
func ParseSwitch(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true", "on", "yes":
		return true, nil
	case "0", "false", "off", "no":
		return false, nil
	}
	return false, fmt.Errorf("must be 1, true, on or yes, or else 0, false, off or no, but is %s", quote(value))
}

// switchVariables switch backends on and off, whatever the file says.
var switchVariables = map[string]string{"ENABLE_MLX": "mlx", "ENABLE_CUDA": "cuda", "ENABLE_ROCM": "rocm", "ENABLE_MPS": "mps"}

// switchBackend applies one of the switchVariables.
func (d *decoder) switchBackend(c *Config, variable, value string) {
	name, ok := switchVariables[variable]
	if !ok {
		return
	}
	on, err := ParseSwitch(value)
	if err != nil {
		d.problems.add(origin{from: variable}, "", "%v", err)
		return
	}
	backends := &c.Runtime.Backends
	i := slices.IndexFunc(*backends, func(b Backend) bool { return b.Name == name })
	if i < 0 {
		i = len(*backends)
		*backends = append(*backends, newElement[Backend]())
		(*backends)[i].Name = name
	}
	(*backends)[i].Enabled, (*backends)[i].switched = on, variable+"="+value
	d.origins[fmt.Sprintf("runtime.backends[%d].enabled", i)] = origin{from: variable}
}

func envNames() []string {
	var names []string
	for _, k := range Keys() {
		if !k.Section {
			names = append(names, k.Env)
		}
	}
	return names
}

// envPath finds the setting that a variable's name (without its prefix) means:
// SERVER_LISTEN is server.listen, MODELS_0_KV_TYPE is models[0].kv_type.
func envPath(t reflect.Type, rest string) ([]string, bool) {
	switch t.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			after, ok := strings.CutPrefix(rest, strings.ToUpper(f.key))
			if !ok || after != "" && after[0] != '_' {
				continue
			}
			// Another key may begin with this one: try on if the rest doesn't fit.
			if path, ok := envPath(f.typ, strings.TrimPrefix(after, "_")); ok {
				return append([]string{f.key}, path...), true
			}
		}
		return nil, false
	case reflect.Slice:
		if rest == "" {
			return nil, t.Elem().Kind() != reflect.Struct // a comma-separated list
		}
		index, after, _ := strings.Cut(rest, "_")
		if _, err := strconv.ParseUint(index, 10, 16); err != nil {
			return nil, false
		}
		path, ok := envPath(t.Elem(), after)
		return append([]string{index}, path...), ok
	}
	return nil, rest == ""
}

// setting applies a command-line flag's value.
func (d *decoder) setting(s Setting, root reflect.Value) {
	var path []string
	for part := range strings.SplitSeq(s.Key, ".") {
		name, index, isList := strings.Cut(part, "[")
		path = append(path, name)
		if isList {
			path = append(path, strings.TrimSuffix(index, "]"))
		}
	}
	d.set(root, path, s.Value, origin{from: s.From})
}

// set gives the setting at a path its value. The index "" of a list, or one that
// equals its length, appends.
func (d *decoder) set(root reflect.Value, path []string, value string, o origin) {
	key, err := setPath(root, field{}, path, "", value, func(key string) { d.origins[key] = o })
	if err != nil {
		d.problems.add(o, key, "%v", err)
	}
}

func setPath(v reflect.Value, f field, path []string, key, value string, note func(key string)) (string, error) {
	note(key)
	switch v.Kind() {
	case reflect.Struct:
		if len(path) == 0 {
			return key, errors.New("is a section: set a key in it")
		}
		sub, ok := find(fieldsOf(v.Type()), path[0])
		if !ok {
			return join(key, path[0]), errors.New("unknown key")
		}
		return setPath(v.Field(sub.index), sub, path[1:], join(key, sub.key), value, note)
	case reflect.Slice:
		if len(path) == 0 {
			return setList(v, f, key, value)
		}
		i := v.Len()
		if path[0] != "" {
			var err error
			if i, err = strconv.Atoi(path[0]); err != nil {
				return key, fmt.Errorf("%s is not an index", quote(path[0]))
			}
		}
		if i > v.Len() {
			return key, fmt.Errorf("there is no entry %d: the list has %d, and the next one to add is %d", i, v.Len(), v.Len())
		}
		if i == v.Len() {
			appendElement(v)
		}
		return setPath(v.Index(i), f, path[1:], fmt.Sprintf("%s[%d]", key, i), value, note)
	}
	if len(path) > 0 {
		return key, errors.New("has no keys of its own")
	}
	return key, f.setScalar(v, value)
}

// setList reads "a, b, c" into a list; an empty value empties it.
func setList(v reflect.Value, f field, key, value string) (string, error) {
	v.SetZero()
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e := appendElement(v)
		if e.Kind() == reflect.Struct {
			return key, errors.New("is a list of entries: set them one by one")
		}
		if err := f.setScalar(e, part); err != nil {
			return key, err
		}
	}
	return key, nil
}
