// Package chat renders a conversation into the prompt text a model was trained
// on, with the model's own Jinja template, exactly as transformers'
// apply_chat_template does. Later it also holds the way back: splitting an
// answer into content, reasoning and tool calls while it streams.
package chat

import (
	"encoding/json"
	"time"
)

// Message is one turn, in the order and with the fields that templates see.
type Message struct {
	Role string `json:"role"`
	// Content is the text, or nil for JSON null. Lists of text parts are joined
	// before they come here.
	Content          *string         `json:"content"`
	Name             string          `json:"name,omitempty"`
	ReasoningContent string          `json:"reasoning_content,omitempty"`
	ToolCalls        json.RawMessage `json:"tool_calls,omitempty"` // a JSON array
	ToolCallID       string          `json:"tool_call_id,omitempty"`
}

// Input is what a template is rendered with.
type Input struct {
	Messages            []Message
	Tools               json.RawMessage // a JSON array, or nil
	Documents           json.RawMessage // a JSON array, or nil
	AddGenerationPrompt bool
	// Kwargs are extra variables (chat_template_kwargs), a JSON object or nil.
	Kwargs json.RawMessage
	// Now is what strftime_now formats; the zero time means the present.
	Now time.Time
}
