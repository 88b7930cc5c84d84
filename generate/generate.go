// Package generate is text in, text out: one loaded model with its tokenizer,
// chat template, engine and scheduler, and answers as streams of text with
// stop strings applied. Every API dialect is written on top of it, so that a
// rule such as "a stop string never leaks" holds in all of them.
package generate
