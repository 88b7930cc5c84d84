package dialect_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/chat/dialect"
)

// TestFrame reads calls that are made of frames, in every format.
func TestFrame(t *testing.T) {
	for _, format := range dialect.ToolFormats() {
		d, _ := dialect.Named(format, "none")
		weather, clock := d.Frame("get_weather"), d.Frame("get_time")
		const arguments = `{"city": "a}]\"</tool_call>", "days": [1, {}]}`
		text := weather.Begin + arguments + weather.End
		want := []call{{Name: "get_weather", Arguments: arguments}}
		if !weather.Single {
			text += clock.Begin + "{}" + clock.End
			want = append(want, call{Name: "get_time", Arguments: "{}"})
		}
		got := summarize(t, parse(t, d.NewParser(dialect.Options{Tools: tools}), text))
		for i := range got.Calls {
			got.Calls[i].ID = "" // Kimi's are in the frame
		}
		if diff := cmp.Diff(said{Calls: want}, got); diff != "" {
			t.Errorf("%s: %q says (-want +got):\n%s", format, text, diff)
		}
	}
}
