package caldav

import "net/http"

// KeepNothing makes a handler write every answer anew.
func KeepNothing(h http.Handler) { h.(*Handler).kept = nil }

// MarkKept puts a mark at the end of every answer that a handler keeps; undo
// takes it off again.
func MarkKept(h http.Handler, mark string) (undo func()) {
	k := h.(*Handler).kept
	change := func(f func([]byte) []byte) {
		k.mu.Lock()
		defer k.mu.Unlock()
		for q, a := range k.kept {
			a.text = f(a.text)
			k.kept[q] = a
		}
	}
	change(func(b []byte) []byte { return append(b[:len(b):len(b)], mark...) })
	return func() { change(func(b []byte) []byte { return b[:len(b)-len(mark)] }) }
}

// Properties names all live properties.
func Properties() (names [][2]string) {
	for n := range properties {
		names = append(names, [2]string{n.Space, n.Local})
	}
	return names
}
