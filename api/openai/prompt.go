package openai

import "encoding/json"

// promptFields are the fields that say how a prompt is made and what is told of it.
var promptFields = []Field{
	{Name: "add_generation_prompt", Chat: true, Type: "boolean", Default: "true, or false with continue_final_message",
		Behaviour: "false: the prompt ends with the last message, without the beginning of an answer.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.chat.AddGenerationPrompt, err = decodeBool(path, raw)
			return err
		}},
	{Name: "continue_final_message", Chat: true, Type: "boolean", Default: "false",
		Behaviour: "The answer goes on with the text of the last message, which must be one of the assistant's, instead of being a message of its own. It holds only what is new.",
		decode: func(r *request, path string, raw json.RawMessage) (err *Error) {
			r.chat.ContinueFinal, err = decodeBool(path, raw)
			return err
		}},
}

// checkPrompt holds the rules that tie these fields to others.
func (r *request) checkPrompt() *Error {
	if !r.chat.ContinueFinal {
		return nil
	}
	if r.given["add_generation_prompt"] && r.chat.AddGenerationPrompt {
		return badRequest("continue_final_message", `"continue_final_message" and "add_generation_prompt" can't both be true: an answer either goes on with the last message or begins a new one`)
	}
	r.chat.AddGenerationPrompt = false
	last := r.chat.Messages[len(r.chat.Messages)-1]
	if last.Role != "assistant" || last.Content == nil || last.ToolCalls != nil {
		return badRequest("continue_final_message", `"continue_final_message" needs a last message of role "assistant" that has a text and no calls`)
	}
	return nil
}
