package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// An attendee's copy is TRANSPARENT as long as its owner has not answered;
// when he accepts, the organizer's TRANSP comes back unless he chose his own.
// The organizer's values are kept beside the copy as text: that of the master,
// then ";key=value" for each override that differs.

// organizerTransp writes the state for a message or copy of the organizer.
func organizerTransp(s *series) string {
	base := transpOf(s.master)
	var parts []string
	for _, k := range s.order {
		if v := transpOf(s.over[k]); v != base {
			parts = append(parts, k+"="+v)
		}
	}
	slices.Sort(parts)
	return strings.Join(append([]string{base}, parts...), ";")
}

// transpFor reads the state for one component.
func transpFor(state, key string) string {
	base, rest, _ := strings.Cut(state, ";")
	for part := range strings.SplitSeq(rest, ";") {
		if k, v, ok := strings.Cut(part, "="); ok && k == key && key != "" {
			base = v
		}
	}
	if base == "TRANSPARENT" {
		return base
	}
	return "OPAQUE"
}

// OverriddenTransp is the organizer's TRANSP of the overrides in which it is not
// that of the series, by what an Outcome or Plan gave as OrganizerTransp.
func OverriddenTransp(o *calendar.Object, state string) map[*calendar.Component]string {
	if !strings.Contains(state, ";") {
		return nil
	}
	s := read(o)
	out := map[*calendar.Component]string{}
	for _, k := range s.order {
		if v := transpFor(state, k); v != transpFor(state, "") {
			out[s.over[k]] = v
		}
	}
	return out
}

// mergeTransp lays the state of a message with single instances over the one
// of the series.
func mergeTransp(state string, m *series) string {
	if m.master != nil || state == "" {
		return organizerTransp(m)
	}
	base, rest, _ := strings.Cut(state, ";")
	var parts []string
	for part := range strings.SplitSeq(rest, ";") {
		if k, _, ok := strings.Cut(part, "="); ok && m.over[k] == nil {
			parts = append(parts, part)
		}
	}
	for _, k := range m.order {
		if v := transpOf(m.over[k]); v != transpFor(base, "") {
			parts = append(parts, k+"="+v)
		}
	}
	slices.Sort(parts)
	return strings.Join(append([]string{base}, parts...), ";")
}

// transpOf is TRANSP with its default (RFC 5545 §3.8.2.7).
func transpOf(c *calendar.Component) string {
	if c != nil && strings.EqualFold(strings.TrimSpace(c.Value("TRANSP")), "TRANSPARENT") {
		return "TRANSPARENT"
	}
	return "OPAQUE"
}

// setTransp writes TRANSP; the default needs no property.
func setTransp(c *calendar.Component, v string) {
	switch {
	case c.Name != "VEVENT":
	case v == "TRANSPARENT":
		if transpOf(c) != v {
			c.Set(calendar.NewProperty("TRANSP", v))
		}
	default:
		c.Remove("TRANSP")
	}
}

// attends tells whether a PARTSTAT takes the time of its owner.
func attends(partstat string) bool { return partstat == "ACCEPTED" || partstat == "TENTATIVE" }

// openTransp tells whether a component still carries the server's TRANSPARENT.
func openTransp(s *series, by calendar.AddressSet) bool {
	for _, c := range s.components() {
		if p := ownLine(c, by); p != nil && c.Name == "VEVENT" && !attends(partstat(p)) && transpOf(c) == "TRANSPARENT" {
			return true
		}
	}
	return false
}
