package dialect_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/chat/dialect"
)

// recording is an element of testdata/answers.json: an answer as a model of the
// family writes it, and what it says.
type recording struct {
	Name, Tools, Reasoning, Prompt, Text string
	NoTools                              bool `json:"no_tools"`
	Want                                 said
}

// said is an answer's events put together.
type said struct {
	Content, Reasoning string
	Calls              []call
}

type call struct{ ID, Name, Arguments string }

var tools = []dialect.Tool{
	{Name: "get_weather", Parameters: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"},"days":{"type":["integer","null"]}}}`)},
	{Name: "get_time"},
}

func recordings(t testing.TB) []recording {
	t.Helper()
	data, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recording
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func (r recording) parser(t testing.TB) *dialect.Parser {
	t.Helper()
	d, ok := dialect.Named(r.Tools, r.Reasoning)
	if !ok {
		t.Fatalf("no formats %q, %q", r.Tools, r.Reasoning)
	}
	o := dialect.Options{Prompt: r.Prompt}
	if !r.NoTools {
		o.Tools = tools
	}
	return d.NewParser(o)
}

// parse pushes the pieces, and joins what comes of neighbouring events.
func parse(t testing.TB, p *dialect.Parser, pieces ...string) []dialect.Event {
	t.Helper()
	var joined []dialect.Event
	add := func(events []dialect.Event) {
		for _, e := range events {
			if e.Text == "" && e.Kind <= dialect.Reasoning || e.Kind == dialect.ToolArguments && e.Text == "" {
				t.Errorf("an event without a text: %+v", e)
			}
			if n := len(joined) - 1; n >= 0 && e.Text != "" && joined[n].Kind == e.Kind {
				joined[n].Text += e.Text
				continue
			}
			joined = append(joined, e)
		}
	}
	for _, piece := range pieces {
		add(p.Push(piece))
	}
	add(p.End())
	return joined
}

// summarize puts events together, and checks their order.
func summarize(t testing.TB, events []dialect.Event) said {
	t.Helper()
	s := said{Calls: []call{}}
	open := false
	for _, e := range events {
		switch e.Kind {
		case dialect.Content:
			s.Content += e.Text
		case dialect.Reasoning:
			s.Reasoning += e.Text
		case dialect.ToolStart:
			if open || e.Index != len(s.Calls) {
				t.Errorf("call %d begins after %d others, one open: %v", e.Index, len(s.Calls), open)
			}
			open = true
			s.Calls = append(s.Calls, call{ID: e.ID, Name: e.Name})
		case dialect.ToolArguments:
			if !open || e.Index != len(s.Calls)-1 {
				t.Fatalf("arguments %q of call %d outside of it", e.Text, e.Index)
			}
			s.Calls[e.Index].Arguments += e.Text
		case dialect.ToolEnd:
			if !open || e.Index != len(s.Calls)-1 {
				t.Errorf("call %d ends outside of it", e.Index)
			}
			open = false
		}
		if open && e.Kind <= dialect.Reasoning {
			t.Errorf("text %q within a call", e.Text)
		}
	}
	if open {
		t.Error("a call is left open")
	}
	return s
}

func TestAnswers(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Tools+"/"+r.Name, func(t *testing.T) {
			got := summarize(t, parse(t, r.parser(t), r.Text))
			if diff := cmp.Diff(r.Want, got); diff != "" {
				t.Errorf("%q says (-want +got):\n%s", r.Text, diff)
			}
		})
	}
}

// TestEveryCut holds the events of an answer that comes in two pieces, cut
// anywhere, in bytes, and in pieces of three bytes, to those of the whole.
func TestEveryCut(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Tools+"/"+r.Name, func(t *testing.T) {
			whole := parse(t, r.parser(t), r.Text)
			for cut := range len(r.Text) {
				got := parse(t, r.parser(t), r.Text[:cut], r.Text[cut:])
				if diff := cmp.Diff(whole, got); diff != "" {
					t.Fatalf("cut in %q and %q (-whole +cut):\n%s", r.Text[:cut], r.Text[cut:], diff)
				}
			}
			for _, n := range []int{1, 3} {
				var pieces []string
				for rest := r.Text; rest != ""; {
					piece := rest[:min(n, len(rest))]
					pieces = append(pieces, piece)
					rest = rest[len(piece):]
				}
				if diff := cmp.Diff(whole, parse(t, r.parser(t), pieces...)); diff != "" {
					t.Fatalf("%d bytes at a time (-whole +pieces):\n%s", n, diff)
				}
			}
		})
	}
}

// TestHeldBack says how soon text comes out.
func TestHeldBack(t *testing.T) {
	d, _ := dialect.Named("hermes", "think")
	p := d.NewParser(dialect.Options{Tools: tools})
	for _, step := range []struct{ push, want string }{
		{"Hello", "Hello"},
		{" wor", " wor"},
		{"ld <tool", "ld"},
		{"s>", " <tools>"},
		{" <tool_call>{\"name\": \"get_weather\", \"arguments\": {", "call get_weather{"},
		{"\"city\": \"R", "\"city\": \"R"},
		{"ome\"}", "ome\"}"},
		{"}</tool_call>", "end"},
	} {
		var got strings.Builder
		for _, e := range p.Push(step.push) {
			switch e.Kind {
			case dialect.ToolStart:
				got.WriteString("call " + e.Name)
			case dialect.ToolEnd:
				got.WriteString("end")
			default:
				got.WriteString(e.Text)
			}
		}
		if got.String() != step.want {
			t.Errorf("after %q: %q, want %q", step.push, got.String(), step.want)
		}
	}
}

// FuzzParser pushes any text cut anywhere: the events are those of the whole.
func FuzzParser(f *testing.F) {
	formats, reasonings := dialect.ToolFormats(), dialect.ReasoningFormats()
	for i, r := range recordings(f) {
		which := slices.Index(formats, r.Tools) + len(formats)*slices.Index(reasonings, r.Reasoning)
		f.Add(r.Text, uint16(which), uint16(i*7))
	}
	f.Fuzz(func(t *testing.T, text string, which, cut uint16) {
		d, _ := dialect.Named(formats[int(which)%len(formats)], reasonings[int(which)/len(formats)%len(reasonings)])
		o := dialect.Options{Tools: tools}
		at := int(cut) % (len(text) + 1)
		whole := parse(t, d.NewParser(o), text)
		summarize(t, whole)
		if diff := cmp.Diff(whole, parse(t, d.NewParser(o), text[:at], text[at:])); diff != "" {
			t.Fatalf("%s, %s: cut in %q and %q (-whole +cut):\n%s", d.ToolFormat(), d.ReasoningFormat(), text[:at], text[at:], diff)
		}
	})
}

func BenchmarkContent(b *testing.B) {
	d, _ := dialect.Named("hermes", "think")
	p := d.NewParser(dialect.Options{Tools: tools})
	b.SetBytes(5)
	for b.Loop() {
		p.Push(" word")
	}
}
