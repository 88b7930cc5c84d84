package openai

import "testing"

// FuzzDecodeFields: whatever is sent to the endpoints that don't generate, it is decoded or
// refused with a 400 that says why.
func FuzzDecodeFields(f *testing.F) {
	for _, body := range []string{
		`{"input":["a","b"],"dimensions":3,"encoding_format":"base64","truncate_prompt_tokens":-1}`, `{"input":[[1,2],[3]],"pooling":"mean"}`,
		`{"query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":false}`, `{"text_1":"a","text_2":["b","c"]}`,
		`{"content":"a","with_pieces":true,"add_special":false}`, `{"tokens":[1,2]}`, `{"documents":[{"text":null}]}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		decodes(t, body, embedFields)
		decodes(t, body, rerankFields)
		decodes(t, body, scoreFields)
		decodes(t, body, tokenizeFields)
		decodes(t, body, detokenizeFields)
	})
}

func decodes[T any](t *testing.T, body string, table []fieldOf[T]) {
	t.Helper()
	var r T
	_, others, err := decodeFields([]byte(body), table, &r)
	if err == nil {
		err = noOthers(others)
	}
	if err != nil && (err.Status != 400 || err.Message == "") {
		t.Fatalf("refused with status %d, message %q", err.Status, err.Message)
	}
}

// TestFieldTables: the reference page has no gaps.
func TestFieldTables(t *testing.T) {
	for _, e := range Endpoints() {
		for _, f := range e.Fields {
			if f.Name == "" || f.Type == "" || f.Behaviour == "" {
				t.Errorf("%s: %+v is incomplete", e.Path, f)
			}
		}
	}
}
