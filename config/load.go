package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile is the largest configuration file; a real one has a few kilobytes.
const maxFile = 1 << 20

// Setting is one value from outside the file, such as a command-line flag.
type Setting struct {
	Key   string // "server.listen"; "models[].source" appends to the list
	Value string
	From  string // how messages call it: "--listen"
}

// Sources are where a configuration comes from, in rising order of precedence.
type Sources struct {
	File  string   // path of a YAML file, "" for none
	Env   []string // as os.Environ gives it
	Flags []Setting
}

// Load reads the sources and checks the result. Its error is [Problems] when
// the content is wrong; then there is no Config. It also reads
// server.api_keys_file.
func Load(s Sources) (*Config, error) {
	var data []byte
	if s.File != "" {
		var err error
		if data, err = readLimited(s.File, maxFile); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	c, problems := parse(s, data)
	c.readKeys(&problems)
	if err := problems.sorted(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse is Load for a file's content that is already in memory. It opens no
// file: api_keys_file is not read.
func Parse(data []byte, s Sources) (*Config, error) {
	c, problems := parse(s, data)
	if err := problems.sorted(); err != nil {
		return nil, err
	}
	return c, nil
}

func parse(s Sources, data []byte) (*Config, Problems) {
	c := Default()
	d := &decoder{file: s.File, origins: c.origins}
	if len(data) > maxFile {
		d.problems.add(origin{file: s.File}, "", "is larger than 1 MiB")
		return c, d.problems
	}
	root := reflect.ValueOf(c).Elem()
	if n, err := document(data); err != nil {
		d.problems.add(syntaxOrigin(s.File, err), "", "%s", syntaxMessage(err))
		// The rest can't be judged, but what the environment says still can.
	} else if n != nil {
		d.section(n, root, "")
	}
	d.environment(s.Env, root, c)
	for _, f := range s.Flags {
		d.setting(f, root)
	}
	return c, d.problems.andUnrelated(c.validate())
}

// document parses the only document of a file; nil if the file is empty.
func document(data []byte) (*yaml.Node, error) {
	l, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var doc, second yaml.Node
	if err := l.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := l.Load(&second); err == nil {
		return nil, &yaml.LoadError{Mark: yaml.Mark{Line: second.Line, Column: second.Column}, Message: "a second document begins here; a configuration is one document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	n := &doc
	if n.Kind == yaml.DocumentNode {
		if len(n.Content) == 0 {
			return nil, nil
		}
		n = n.Content[0]
	}
	return n, nil
}

func syntaxOrigin(file string, err error) origin {
	var e *yaml.LoadError
	if errors.As(err, &e) && e.Mark.Line > 0 {
		return origin{file: file, line: e.Mark.Line, column: max(1, e.Mark.Column)}
	}
	return origin{file: file}
}

func syntaxMessage(err error) string {
	var e *yaml.LoadError
	if errors.As(err, &e) {
		return "not valid YAML: " + e.Message
	}
	return "not valid YAML: " + err.Error()
}

func readLimited(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %s", path, Size(most))
	}
	return data, nil
}

// readKeys reads api_keys_file.
func (c *Config) readKeys(problems *Problems) {
	path, o := c.Server.APIKeysFile, c.origins["server.api_keys_file"]
	if path == "" {
		return
	}
	data, err := readLimited(path, maxFile)
	if err != nil {
		problems.add(o, "server.api_keys_file", "%v", err)
		return
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !validKey(line) {
			problems.add(o, "server.api_keys_file", "%s line %d: "+badKey, path, i+1)
			continue
		}
		c.Server.fileKeys = append(c.Server.fileKeys, Secret(line))
	}
	if len(c.Server.fileKeys) == 0 {
		problems.add(o, "server.api_keys_file", "%s has no keys", path)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o044 != 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("%s can be read by every user of this machine: chmod 600 it", path))
	}
}
