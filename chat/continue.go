package chat

import "strings"

// cutAfterFinal ends a rendered conversation right after the text of its last message,
// so that an answer goes on with that message: what the template puts after it (the end
// of a turn, say) is left out. As in transformers, space at the message's end is kept if
// the template keeps it.
func cutAfterFinal(rendered string, messages []Message) (string, error) {
	final := ""
	if n := len(messages); n > 0 && messages[n-1].Content != nil {
		final = *messages[n-1].Content
	}
	trimmed := strings.TrimSpace(final)
	if trimmed == "" {
		return "", &TemplateError{Message: "the final message has no text that could be continued"}
	}
	at := strings.LastIndex(rendered, trimmed)
	if at < 0 {
		return "", &TemplateError{Message: "the final message can't be continued, since the template changes its text"}
	}
	if whole := strings.TrimLeft(final, " \t\r\n"); strings.HasPrefix(rendered[at:], whole) {
		return rendered[:at+len(whole)], nil
	}
	return rendered[:at+len(trimmed)], nil
}
