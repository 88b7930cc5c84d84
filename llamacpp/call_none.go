//go:build !((linux || darwin) && (amd64 || arm64))

package llamacpp

import (
	"errors"
	"runtime"
)

type library struct {
	modelDefaults, contextDefaults, loadModel, newContext, getVocab, vocabSize, decode, synchronize uintptr
	getMemory, removeFrom, systemInfo, freeContext, freeModel                                       uintptr
}

type argument struct{}

func word(uintptr) argument { return argument{} }
func value([]byte) argument { return argument{} }

func openLibrary(string, sharedLibraries) (*library, error) {
	return nil, errors.New("native libraries can't be loaded on " + runtime.GOOS + "/" + runtime.GOARCH)
}

func (l *library) call(uintptr, []byte, ...argument) uintptr { return 0 }
func (l *library) structure(uintptr) []byte                  { return nil }
func (l *library) string(uintptr) string                     { return "" }
