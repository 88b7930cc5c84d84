package paging

import (
	"fmt"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model"
)

// Memory is what a device has, in bytes; zero when that can't be told.
type Memory struct {
	Total     int
	Available int    // less what the weights take
	Device    string // "the machine", for messages
}

// Size chooses how many pages an engine keeps and how long a sequence may be.
// Unless told otherwise, the cache may grow to half of the available memory, but
// to no more than 16 full contexts. A context that wasn't asked for shrinks to
// what fits.
func Size(cfg model.Config, bytesPerToken int, m Memory, o backend.LoadOptions) (pages, context int, err error) {
	const defaultContexts, most = 16, 1 << 30
	pageBytes := PageTokens * bytesPerToken
	if pageBytes > most {
		return 0, 0, fmt.Errorf("%d positions of kv take %d MiB, more than %d", PageTokens, pageBytes>>20, most>>20)
	}
	if o.Context < 0 || o.Context > cfg.Context {
		return 0, 0, fmt.Errorf("a context of %d positions: this model was trained for %d", o.Context, cfg.Context)
	}
	if o.KVTokens < 0 {
		return 0, 0, fmt.Errorf("a kv cache of %d positions", o.KVTokens)
	}
	context = cfg.Context
	if o.Context > 0 {
		context = o.Context
	}
	switch {
	case o.KVTokens > 0:
		pages = Pages(o.KVTokens)
	case m.Total > 0:
		pages = min(max(m.Available, 0)/2/pageBytes, defaultContexts*Pages(context))
	default:
		pages = Pages(context)
	}
	if pages < Pages(context) {
		if o.Context > 0 && o.KVTokens > 0 {
			return 0, 0, fmt.Errorf("a kv cache of %d positions can't hold a context of %d", o.KVTokens, context)
		}
		if o.Context > 0 {
			pages = Pages(context)
		} else {
			pages = max(pages, Pages(min(context, 2048)))
			context = min(context, pages*PageTokens)
		}
	}
	if size := pages * pageBytes; m.Total > 0 && size > m.Total {
		return 0, 0, fmt.Errorf("a kv cache of %d positions takes %d MiB, %s has %d: ask for a smaller context or kv_tokens", pages*PageTokens, size>>20, m.Device, m.Total>>20)
	}
	return pages, context, nil
}

// SizeStates chooses how many states of so many bytes an engine keeps for its sequences, each of
// which needs 2 and those that it must be able to go back to, and takes what they take
// off the available memory: a quarter of it at most, if that is enough for two
// sequences. States to go back to lie so far apart that they take no more than the keys and
// values between them, but no more than 16 pages.
func SizeStates(stateBytes, bytesPerToken, back int, m *Memory) (StateOptions, error) {
	const most, widest = 1024, 16
	if stateBytes == 0 {
		return StateOptions{}, nil
	}
	o := StateOptions{Slots: most, Back: back}
	if m.Total > 0 {
		least := 2 * (2 + back)
		o.Slots = min(max(max(m.Available, 0)/4/stateBytes, least), most)
		if need := least * stateBytes; need > m.Total {
			return o, fmt.Errorf("the layers' states of two sequences take %d MiB, %s has %d", need>>20, m.Device, m.Total>>20)
		}
		m.Available -= o.Slots * stateBytes
	}
	pages := stateBytes / max(PageTokens*bytesPerToken, 1)
	o.Every = min(max(pages, 1), widest) * PageTokens
	return o, nil
}
