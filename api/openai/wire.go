package openai

// usage counts tokens of the model's own vocabulary. A prompt counts once
// however many answers it gets.
type usage struct {
	PromptTokens     int           `json:"prompt_tokens"`
	CompletionTokens int           `json:"completion_tokens"`
	TotalTokens      int           `json:"total_tokens"`
	PromptDetails    promptDetails `json:"prompt_tokens_details"`
	// CompletionDetails are nil for a text completion.
	CompletionDetails *completionDetails `json:"completion_tokens_details,omitempty"`
}

type completionDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
	// Tokens that were guessed, and were right or wrong.
	AcceptedPredictionTokens int `json:"accepted_prediction_tokens"`
	RejectedPredictionTokens int `json:"rejected_prediction_tokens"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

// head is what every answer and every chunk begins with.
type head struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

// response is an unstreamed answer of either endpoint.
type response struct {
	head
	Choices []any    `json:"choices"`
	Usage   usage    `json:"usage"`
	Timings *timings `json:"timings,omitempty"`
	// Of a conversation; a completion's choices have theirs.
	PromptLogprobs promptScores `json:"prompt_logprobs,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatMessage   `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`
}

type chatMessage struct {
	Role    string  `json:"role"`
	Content *string `json:"content"` // null if there are calls and no words
	Refusal *string `json:"refusal"` // always null: no model is asked to refuse
	// The reasoning, under the two names that clients know.
	ReasoningContent string        `json:"reasoning_content,omitempty"`
	Reasoning        string        `json:"reasoning,omitempty"`
	ToolCalls        []toolCall    `json:"tool_calls,omitempty"`
	FunctionCall     *functionCall `json:"function_call,omitempty"`
}

type textChoice struct {
	Index        int           `json:"index"`
	Text         string        `json:"text"`
	Logprobs     *textLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`

	PromptLogprobs promptScores `json:"prompt_logprobs,omitempty"`
}
