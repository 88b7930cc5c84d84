// Package host tells what the machine is that the program runs on: its memory and
// its processor, within the limits that were set for the process.
package host
