package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Write prints the effective configuration as YAML that [Load] reads back,
// with a note behind each value that doesn't come from the file or the
// defaults. Secrets are replaced by [redacted].
func (c *Config) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	c.writeSection(out, reflect.ValueOf(c).Elem(), "", "")
	return out.Flush()
}

func (c *Config) writeSection(w *bufio.Writer, v reflect.Value, path, indent string) {
	for i, f := range fieldsOf(v.Type()) {
		if !f.isFor(v) {
			continue
		}
		if i > 0 && strings.HasSuffix(indent, "- ") {
			indent = indent[:len(indent)-2] + "  " // only an entry's first line has its dash
		}
		fv, key := v.Field(f.index), join(path, f.key)
		fmt.Fprintf(w, "%s%s:", indent, f.key)
		switch {
		case fv.Kind() == reflect.Struct:
			fmt.Fprint(w, "\n")
			c.writeSection(w, fv, key, strings.ReplaceAll(indent, "-", " ")+"  ")
		case fv.Kind() == reflect.Slice && fv.Type().Elem().Kind() == reflect.Struct && fv.Len() > 0:
			fmt.Fprint(w, "\n")
			for j := range fv.Len() {
				c.writeSection(w, fv.Index(j), fmt.Sprintf("%s[%d]", key, j), strings.ReplaceAll(indent, "-", " ")+"  - ")
			}
		default:
			fmt.Fprint(w, " "+FormatYAML(fv.Interface()))
			if o := c.origins[key]; o.from != "" {
				fmt.Fprint(w, "  # from "+o.from)
			}
			fmt.Fprint(w, "\n")
		}
	}
}

// plain matches strings that YAML reads as strings without quotes.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./:+@-]*$`)

// FormatYAML writes a setting's value in YAML's flow style.
func FormatYAML(value any) string {
	switch x := value.(type) {
	case time.Duration:
		return formatDuration(x)
	case Size:
		return x.String()
	case Secret:
		return strconv.Quote(x.String())
	case string:
		switch strings.ToLower(x) {
		case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ".inf", ".nan":
			return strconv.Quote(x)
		}
		if plain.MatchString(x) && !strings.HasSuffix(x, ":") {
			return x
		}
		return strconv.Quote(x)
	}
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(value)
	}
	var items []string
	for i := range v.Len() {
		items = append(items, FormatYAML(v.Index(i).Interface()))
	}
	return "[" + strings.Join(items, ", ") + "]"
}
