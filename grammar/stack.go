package grammar

import "fmt"

// A frame is the state to go on in when a rule has ended, and what lies below.
// Frames don't change, so texts that branch share them.
type frame struct {
	ret   int32
	below *frame
}

// bottom is the stack of a walk that starts inside a rule, whose caller isn't known.
var bottom = &frame{ret: -1}

// An item is one way in which the text so far can be read.
type item struct {
	state int32
	stack *frame
}

// A reading is all the ways in which the text so far can be read.
type reading struct {
	items  []item // those that a byte can follow
	ends   bool   // the text may end here
	popped bool   // the rule that a walk started in may end here (see bottom)
}

// A closer computes what items lead to without a byte. It is reused to save memory.
type closer struct {
	p      *program
	seen   []item
	frames []*frame // made by this closure
	index  map[item]struct{}
	err    error
}

// linear is the number of items up to which a list is searched rather than a map.
const linear = 16

func (c *closer) reset() {
	c.seen = c.seen[:0]
	c.frames = c.frames[:0]
	c.index = nil
}

func (c *closer) visit(it item) {
	if c.index == nil {
		for _, s := range c.seen {
			if s == it {
				return
			}
		}
		if len(c.seen) >= linear {
			c.index = make(map[item]struct{}, 4*linear)
			for _, s := range c.seen {
				c.index[s] = struct{}{}
			}
		}
	}
	if c.index != nil {
		if _, ok := c.index[it]; ok {
			return
		}
		c.index[it] = struct{}{}
	}
	if len(c.seen) >= 4*maxItems {
		c.err = fmt.Errorf("%w: the grammar is too ambiguous: its text can be read in more than %d ways at once", ErrLimit, maxItems)
		return
	}
	c.seen = append(c.seen, it)
}

// push returns a frame, the same for the same arguments within one closure.
func (c *closer) push(ret int32, below *frame) *frame {
	for _, f := range c.frames {
		if f.ret == ret && f.below == below {
			return f
		}
	}
	f := &frame{ret, below}
	c.frames = append(c.frames, f)
	return f
}

// close appends to out.items what the items visited so far lead to, themselves
// included.
func (c *closer) close(out *reading) {
	for i := 0; i < len(c.seen); i++ {
		it := c.seen[i]
		s := &c.p.states[it.state]
		if s.accept {
			switch it.stack {
			case nil:
				out.ends = true
			case bottom:
				out.popped = true
			default:
				c.visit(item{it.stack.ret, it.stack.below})
			}
		}
		for _, k := range s.calls {
			if c.p.states[k.to].last {
				c.visit(item{k.rule, it.stack})
			} else {
				c.visit(item{k.rule, c.push(k.to, it.stack)})
			}
		}
		if len(s.edges) > 0 {
			out.items = append(out.items, it)
		}
	}
	if len(out.items) > maxItems && c.err == nil {
		c.err = fmt.Errorf("%w: the grammar is too ambiguous: its text can be read in more than %d ways at once", ErrLimit, maxItems)
	}
}

// step reads b after in, into out, whose items are overwritten.
func (c *closer) step(in []item, b byte, out *reading) {
	out.items, out.ends, out.popped = out.items[:0], false, false
	c.reset()
	for _, it := range in {
		if to := c.p.states[it.state].next(b); to >= 0 {
			c.visit(item{to, it.stack})
		}
	}
	if len(c.seen) > 0 {
		c.close(out)
	}
}
