// Package generate is text in, text out: one loaded model with its tokenizer,
// chat template, engine and scheduler, and answers as streams of text with
// stop strings applied. Every API dialect is written on top of it, so that a
// rule such as "a stop string never leaks" holds in all of them.
//
//	m, err := models.Get("")                     // the default model, once it is loaded
//	ids, err := m.ChatPrompt(chat.Input{…})      // or m.RawPrompt(text)
//	s, err := m.Generate(ctx, generate.Request{Prompt: ids, Sampling: sample.Defaults()})
//	defer s.Close()
//	for {
//		d, err := s.Next() // io.EOF after the delta with d.Finish
//		…
//	}
//
// The deltas of a stream put together are the answer, whether it is sent in
// pieces or at once. A delta never ends within a character, and text that may be
// the beginning of a stop string is held back until it is clear that it isn't.
// What is found doesn't depend on how tokens cut the text: the stop string that
// is complete first ends the answer, and the longest of those complete at the
// same byte. The sequence is then stopped in the scheduler.
package generate
