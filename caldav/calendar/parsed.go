package calendar

import (
	"container/list"
	"sync"
)

// Parsed keeps objects that have been parsed, by their text, so that whoever
// reads the same objects again and again, as free/busy questions do, parses them
// once. Nothing that is kept can be out of date: an object is a function of its
// text. The least used go first. The zero value is ready; it may be used
// concurrently.
type Parsed struct {
	mu     sync.Mutex
	kept   map[string]*list.Element // of *parsedText
	order  list.List
	octets int
}

type parsedText struct {
	text   string
	object *Object
}

const (
	parsedOctets = 10 << 20           // about what all takes
	parsedMost   = parsedOctets / 160 // and one; a larger one is parsed each time
)

// size is about what an entry takes: a parsed event is six to seven times as
// large as its text, which it holds, and the key is the text once more.
func (p *parsedText) size() int { return 512 + 8*len(p.text) }

// Parse is Parse for a text that was stored, which must always be used with the
// same limits. The object is shared: it must not be changed.
func (p *Parsed) Parse(text string, lim Limits) (*Object, error) {
	p.mu.Lock()
	if e := p.kept[text]; e != nil {
		p.order.MoveToFront(e)
		p.mu.Unlock()
		return e.Value.(*parsedText).object, nil
	}
	p.mu.Unlock()
	o, err := Parse([]byte(text), lim)
	if err != nil {
		return nil, err
	}
	n := &parsedText{text, o}
	if n.size() > parsedMost {
		return o, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept[text] != nil {
		return o, nil
	}
	for p.octets+n.size() > parsedOctets {
		old := p.order.Remove(p.order.Back()).(*parsedText)
		delete(p.kept, old.text)
		p.octets -= old.size()
	}
	if p.kept == nil {
		p.kept = map[string]*list.Element{}
	}
	p.kept[text] = p.order.PushFront(n)
	p.octets += n.size()
	return o, nil
}
