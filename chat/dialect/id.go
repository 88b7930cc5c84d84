package dialect

import "crypto/rand"

// CallID is the id of a call as an API shows it: that of the model where templates
// want to see it again in the history, else a new one of the length that the
// family's templates ask for.
func (d *Dialect) CallID(e Event) string {
	switch d.ToolFormat() {
	case "kimi":
		if e.ID != "" {
			return e.ID
		}
	case "mistral":
		if len(e.ID) == 9 {
			return e.ID
		}
		return rand.Text()[:9]
	}
	return "call_" + rand.Text()[:24]
}
