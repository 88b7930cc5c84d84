package openai

import (
	"encoding/json"
	"strconv"

	"github.com/inferflux/inferflux/chat/dialect"
)

// The choices of streamed chunks, as JSON appended to dst.

func appendChatRole(dst []byte, index int) []byte {
	dst = append(dst, '{')
	dst = appendIndex(dst, index)
	return append(dst, `,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`...)
}

func appendChatDelta(dst []byte, index int, r *reply, e dialect.Event, logprobs *chatLogprobs) []byte {
	dst = append(dst, '{')
	dst = appendIndex(dst, index)
	dst = append(dst, `,"delta":`...)
	dst = r.appendDelta(dst, e)
	dst = append(dst, `,"logprobs":`...)
	if logprobs == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendJSON(dst, logprobs)
	}
	return append(dst, `,"finish_reason":null}`...)
}

func appendChatFinish(dst []byte, index int, finish string) []byte {
	dst = append(dst, '{')
	dst = appendIndex(dst, index)
	dst = append(dst, `,"delta":{},"logprobs":null,"finish_reason":`...)
	return append(appendString(dst, finish), '}')
}

func appendText(dst []byte, index int, text string, logprobs *textLogprobs, finish string) []byte {
	dst = append(dst, '{')
	dst = appendIndex(dst, index)
	dst = append(dst, `,"text":`...)
	dst = appendString(dst, text)
	dst = append(dst, `,"logprobs":`...)
	if logprobs == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendJSON(dst, logprobs)
	}
	dst = append(dst, `,"finish_reason":`...)
	if finish == "" {
		return append(dst, "null}"...)
	}
	return append(appendString(dst, finish), '}')
}

func appendIndex(dst []byte, index int) []byte {
	dst = append(dst, `"index":`...)
	return strconv.AppendInt(dst, int64(index), 10)
}

// appendJSON appends one of the wire types, which always encode.
func appendJSON(dst []byte, v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, encoded...)
}
