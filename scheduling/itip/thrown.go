package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// What an attendee takes out of his copy by an EXDATE he declines, and it stays away
// as long as it takes place at the same time. What is remembered of it is its key
// and, when it had a time of its own, a space and that time. What had been cancelled
// is not declined: it stays away until it takes place again.

// thrownCancelled stands in the place of the time.
const thrownCancelled = "-"

// thrown are the instances that the attendee took out of the copy a, which is s now;
// before is what was remembered of a.
func (s *series) thrown(a *series, before []string) (out []string) {
	for _, k := range sortedKeys(s.ex) {
		at := ""
		if _, was := a.ex[k]; was {
			var ok bool
			if at, ok = thrownOut(before, k); !ok {
				continue
			}
		} else if c := a.over[k]; isCancelled(c) {
			at = thrownCancelled
		} else if c != nil {
			at = a.timing(c)
		}
		if at != "" {
			k += " " + at
		}
		out = append(out, k)
	}
	return out
}

// thrownOut looks for an instance in what is remembered.
func thrownOut(thrown []string, key string) (at string, ok bool) {
	for _, x := range thrown {
		k, at, _ := strings.Cut(x, " ")
		if k == key {
			return at, true
		}
	}
	return "", false
}

// declined are the answers to what the attendee took out of his copy s, now b; an
// answer to the series is none to that. Those in gone are among them.
func (s *series) declined(thrown []string, gone []answer, b *series, by calendar.AddressSet) []answer {
	for _, x := range thrown {
		k, at, _ := strings.Cut(x, " ")
		if at == thrownCancelled || s.master == nil || slices.ContainsFunc(gone, func(g answer) bool { return s.keyAt(g.c) == k }) {
			continue
		}
		c := s.over[k]
		if c == nil {
			c = s.derive(b.ex[k])
		}
		if own := ownLine(c, by); own != nil && !isCancelled(c) {
			gone = append(gone, answer{c, own, "DECLINED"})
		}
	}
	return gone
}
