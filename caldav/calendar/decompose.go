package calendar

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// decomposed is decompositions by character.
var decomposed = sync.OnceValue(func() map[rune]string {
	m := make(map[rune]string, 4096)
	for line := range strings.SplitSeq(strings.TrimSuffix(decompositions, "\n"), "\n") {
		r, n := utf8.DecodeRuneInString(line)
		m[r] = line[n:]
	}
	return m
})

// decompose is the compatibility decomposition of r as far as searching needs
// it: the table, and the arithmetic for Hangul syllables (Unicode §3.12).
func decompose(r rune) string {
	if r >= 0xac00 && r < 0xac00+11172 {
		i := r - 0xac00
		s := []rune{0x1100 + i/588, 0x1161 + i%588/28, 0x11a7 + i%28}
		if i%28 == 0 {
			s = s[:2]
		}
		return string(s)
	}
	if s, ok := decomposed()[r]; ok {
		return s
	}
	return string(r)
}
