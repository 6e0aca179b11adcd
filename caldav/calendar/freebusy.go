package calendar

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// BusyType is the kind of a period of a free/busy answer (RFC 5545 §3.2.9).
type BusyType uint8

// The FBTYPEs.
const (
	BusyTime        BusyType = iota // BUSY
	BusyTentative                   // BUSY-TENTATIVE
	BusyUnavailable                 // BUSY-UNAVAILABLE
	Free                            // FREE
)

var busyNames = [...]string{"BUSY", "BUSY-TENTATIVE", "BUSY-UNAVAILABLE", "FREE"}

// String is the FBTYPE.
func (t BusyType) String() string { return busyNames[t] }

// busyTypeOf reads an FBTYPE; unknown ones mean BUSY (RFC 5545 §3.2.9).
func busyTypeOf(s string) BusyType {
	for i, n := range busyNames {
		if strings.EqualFold(s, n) {
			return BusyType(i)
		}
	}
	return BusyTime
}

// strength orders the types where they overlap: who cannot come at all beats
// who is busy, that beats who may be.
var strength = [...]int{BusyTime: 2, BusyTentative: 1, BusyUnavailable: 3, Free: 0}

// Period is a span [Start, End) of a free/busy answer, in UTC.
type Period struct {
	Start, End time.Time
	Type       BusyType
}

// BusyOptions say whose time Busy is about.
type BusyOptions struct {
	// Self are the owner's addresses. Where one is an attendee, the PARTSTAT
	// decides: DECLINED and DELEGATED leave the time free, TENTATIVE makes it
	// BUSY-TENTATIVE.
	Self AddressSet

	// PendingTentative makes instances the owner has not answered
	// BUSY-TENTATIVE. Without it TRANSP decides about them alone.
	PendingTentative bool

	// ServerTransp says that a TRANSP:TRANSPARENT on unanswered instances is
	// the server's doing: then OrganizerTransp, the organizer's TRANSP, counts
	// in its place, or what Overridden says of a component. "" is OPAQUE.
	ServerTransp    bool
	OrganizerTransp string
	Overridden      map[*Component]string
}

// Busy gives the periods of [from, to) that o takes of its owner's time (RFC
// 4791 §7.10), cut to the range, in no particular order: opaque events that
// are not cancelled, and what VFREEBUSY components state. Both ends are
// needed. Errors are those of Instances.
func Busy(o *Object, z *Zones, from, to time.Time, opt BusyOptions, b *Budget) ([]Period, error) {
	if z == nil {
		z = NewZones(o, nil)
	}
	f, t := unixRange(from, to)
	var out []Period
	add := func(s, e int64, typ BusyType) {
		if s, e = max(s, f), min(e, t); s < e && typ != Free {
			out = append(out, Period{Start: wallTime(s), End: wallTime(e), Type: typ})
		}
	}
	if o.Kind() == "VEVENT" {
		types := make(map[*Component]BusyType, 1)
		idle := true
		for _, c := range o.Children {
			if c.Name == "VEVENT" {
				types[c] = opt.typeOf(c)
				idle = idle && types[c] == Free
			}
		}
		if idle {
			return nil, nil // nothing here takes time
		}
		for i, err := range o.Instances(z, from, to, b) {
			if err != nil {
				return nil, err
			}
			add(i.Start.Unix(), i.End.Unix(), types[i.Component])
		}
	}
	for _, c := range o.Children {
		if c.Name != "VFREEBUSY" {
			continue
		}
		for _, p := range c.Props {
			if p.name != "FREEBUSY" {
				continue
			}
			values, err := ParsePeriods(p)
			if err != nil {
				return nil, err
			}
			for i := range values {
				s, e, err := z.period(&values[i])
				if err != nil {
					return nil, err
				}
				add(s, e, busyTypeOf(p.Param("FBTYPE")))
			}
		}
	}
	return out, nil
}

// typeOf is the type of the instances that c describes: the table of RFC 4791
// §7.10, and the owner's own answer.
func (opt *BusyOptions) typeOf(c *Component) BusyType {
	typ := BusyTime
	transparent := false
	var answer *Property
	for _, p := range c.Props {
		switch p.name {
		case "STATUS":
			switch strings.ToUpper(strings.TrimSpace(p.value)) {
			case "CANCELLED":
				return Free
			case "TENTATIVE":
				typ = BusyTentative
			}
		case "TRANSP":
			transparent = strings.EqualFold(strings.TrimSpace(p.value), "TRANSPARENT")
		case "ATTENDEE":
			if answer == nil && len(opt.Self) > 0 && opt.Self.Has(Address(p.value)) {
				answer = p
			}
		}
	}
	if answer != nil {
		switch strings.ToUpper(cmp.Or(answer.Param("PARTSTAT"), "NEEDS-ACTION")) {
		case "DECLINED", "DELEGATED":
			return Free
		case "TENTATIVE":
			typ = BusyTentative
		case "NEEDS-ACTION":
			if !opt.PendingTentative {
				break
			}
			typ = BusyTentative
			if transparent && opt.ServerTransp {
				organizers := opt.OrganizerTransp
				if v, ok := opt.Overridden[c]; ok {
					organizers = v
				}
				transparent = strings.EqualFold(strings.TrimSpace(organizers), "TRANSPARENT")
			}
		}
	}
	if transparent {
		return Free
	}
	return typ
}

// MergePeriods orders periods and joins those of one type that touch; where
// types overlap the stronger wins (BUSY-UNAVAILABLE, BUSY, BUSY-TENTATIVE,
// FREE). The result covers the same time, without overlaps, by start.
func MergePeriods(ps []Period) []Period {
	type edge struct {
		at    time.Time
		typ   BusyType
		delta int
	}
	edges := make([]edge, 0, 2*len(ps))
	for _, p := range ps {
		if p.Start.Before(p.End) {
			edges = append(edges, edge{p.Start, p.Type, 1}, edge{p.End, p.Type, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
	var open [len(busyNames)]int
	var out []Period
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && edges[i].at.Equal(at); i++ {
			open[edges[i].typ] += edges[i].delta
		}
		if i == len(edges) {
			break
		}
		best, found := Free, false
		for t, n := range open {
			if n > 0 && (!found || strength[t] > strength[best]) {
				best, found = BusyType(t), true
			}
		}
		if !found {
			continue
		}
		next := edges[i].at
		if n := len(out); n > 0 && out[n-1].Type == best && out[n-1].End.Equal(at) {
			out[n-1].End = next
		} else {
			out = append(out, Period{Start: at, End: next, Type: best})
		}
	}
	return out
}

// FreeBusyComponent is the VFREEBUSY that answers for [start, end) (RFC 4791
// §7.10, RFC 5546 §3.3): one FREEBUSY property for each type, periods in order.
// UID, ORGANIZER and ATTENDEE are the caller's.
func FreeBusyComponent(ps []Period, start, end, stamp time.Time) *Component {
	c := NewComponent("VFREEBUSY")
	c.Add(UTCDateTime(stamp).Property("DTSTAMP"))
	c.Add(UTCDateTime(start).Property("DTSTART"))
	c.Add(UTCDateTime(end).Property("DTEND"))
	merged := MergePeriods(ps)
	for t, name := range busyNames {
		var b strings.Builder
		for _, p := range merged {
			if p.Type != BusyType(t) {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(UTCDateTime(p.Start).Value() + "/" + UTCDateTime(p.End).Value())
		}
		if b.Len() > 0 {
			c.Add(NewProperty("FREEBUSY", b.String(), NewParam("FBTYPE", name)))
		}
	}
	return c
}
