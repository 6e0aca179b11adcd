package calendar

import (
	"math"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the server brings its own zone data
)

// Zones resolves the TZIDs of one object and turns its values into instants.
// What it looked up it remembers. It is used by one goroutine at a time.
//
// A TZID that is an IANA name means our own data, whatever VTIMEZONE came
// along; else a Windows name means the IANA zone it stands for; else the
// object's VTIMEZONE counts; else there is an error.
type Zones struct {
	obj      *Object
	floating *zone
	known    []namedZone
}

type namedZone struct {
	tzid string
	zone *zone
	err  error
}

// NewZones returns the zones of o, which may be nil. Floating times and dates
// are read in the zone floating; nil means UTC.
func NewZones(o *Object, floating *time.Location) *Zones {
	return &Zones{obj: o, floating: newZone(floating)}
}

// Instant is the instant d stands for. A local time that a zone leaves out
// takes the offset from before the gap; one that comes twice means the first
// (RFC 5545 §3.3.5). A DATE means the start of the day. Errors are of code
// CodeInvalidData: the TZID is unknown.
func (z *Zones) Instant(d DateTime) (time.Time, error) {
	t, err := z.unix(d)
	return time.Unix(t, 0).UTC(), err
}

func (z *Zones) unix(d DateTime) (int64, error) {
	w := d.Wall.Unix()
	if d.Kind == UTC {
		return w, nil
	}
	zn, err := z.zoneOf(d)
	if err != nil {
		return 0, err
	}
	t, _ := zn.instant(w)
	return t, nil
}

// Local is the instant t in the form (kind and zone) of like.
func (z *Zones) Local(t time.Time, like DateTime) (DateTime, error) {
	return z.local(t.Unix(), like)
}

func (z *Zones) local(t int64, like DateTime) (DateTime, error) {
	zn, err := z.zoneOf(like)
	if err != nil {
		return DateTime{}, err
	}
	w := t + zn.offset(t)
	if like.Kind == Date {
		w = floorDiv64(w, daySeconds) * daySeconds
	}
	return DateTime{Wall: wallTime(w), Kind: like.Kind, TZID: like.TZID}, nil
}

// Add is the instant d later than start by a duration: its days by the
// calendar of start's zone, its clock exactly (RFC 5545 §3.3.6, §3.8.5.3).
func (z *Zones) Add(start DateTime, d Duration) (time.Time, error) {
	zn, err := z.zoneOf(start)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(zn.add(start.Wall.Unix(), d), 0).UTC(), nil
}

// Location is the zone a TZID of the object means.
func (z *Zones) Location(tzid string) (*time.Location, error) {
	zn, err := z.byID(tzid)
	if err != nil {
		return nil, err
	}
	return zn.loc, nil
}

var utcZone = newZone(nil)

// zoneOf is the zone that values like d are read in.
func (z *Zones) zoneOf(d DateTime) (*zone, error) {
	switch d.Kind {
	case UTC:
		return utcZone, nil
	case Zoned:
		return z.byID(d.TZID)
	}
	return z.floating, nil
}

func (z *Zones) byID(tzid string) (*zone, error) {
	for i := range z.known {
		if z.known[i].tzid == tzid {
			return z.known[i].zone, z.known[i].err
		}
	}
	n := namedZone{tzid: tzid}
	if loc, err := z.find(tzid); err != nil {
		n.err = err
	} else {
		n.zone = newZone(loc)
	}
	if len(z.known) < 64 {
		z.known = append(z.known, n)
	}
	return n.zone, n.err
}

func (z *Zones) find(tzid string) (*time.Location, error) {
	if loc := knownLocation(tzid, false); loc != nil {
		return loc, nil
	}
	if z.obj != nil {
		for _, c := range z.obj.Children {
			if c.Name == "VTIMEZONE" && strings.Trim(c.Text("TZID"), "\" \t") == tzid {
				return timezoneLocation(c)
			}
		}
	}
	if loc := knownLocation(tzid, true); loc != nil {
		return loc, nil
	}
	return nil, fail(CodeInvalidData, 0, "the time zone %q is unknown and comes without a VTIMEZONE", clip(tzid))
}

// KnownZone reports whether tzid needs no VTIMEZONE: it is an IANA name
// (letters of any case), a Windows name, or a path such as
// /example.org/20200101/Europe/Berlin that ends in an IANA name.
func KnownZone(tzid string) bool { return knownName(tzid, true) != "" }

// LoadZone is the zone of an IANA or Windows name.
func LoadZone(tzid string) (*time.Location, error) {
	if loc := knownLocation(tzid, true); loc != nil {
		return loc, nil
	}
	return nil, fail(CodeInvalidData, 0, "the time zone %q is unknown", clip(tzid))
}

// ZoneName is the IANA name that tzid means, "" when none.
func ZoneName(tzid string) string { return knownName(tzid, true) }

// ParseTimezone reads the value of a calendar's time zone: an IANA or Windows
// name (RFC 7809 §5.2) or an iCalendar object with one VTIMEZONE (RFC 4791
// §5.2.2). Errors are of code CodeInvalidData.
func ParseTimezone(text string) (*time.Location, error) {
	if s := strings.TrimSpace(text); len(s) < 256 && !strings.ContainsAny(s, "\r\n") {
		return LoadZone(s)
	}
	o, err := Parse([]byte(text), Limits{})
	if err != nil {
		return nil, err
	}
	zones := o.ChildrenNamed("VTIMEZONE")
	if len(zones) != 1 || len(o.Children) != 1 {
		return nil, fail(CodeInvalidData, 0, "a calendar's time zone is an iCalendar object with one VTIMEZONE and nothing else")
	}
	tzid := strings.Trim(zones[0].Text("TZID"), "\" \t")
	if tzid == "" {
		return nil, fail(CodeInvalidData, int(zones[0].line), "VTIMEZONE: TZID is missing")
	}
	return NewZones(o, nil).find(tzid)
}

// knownNames has every IANA and Windows name, also in lower case.
var knownNames = sync.OnceValue(func() map[string]string {
	m := make(map[string]string, 2048)
	for win, iana := range windowsZones {
		m[win], m[strings.ToLower(win)] = iana, iana
	}
	for _, a := range zoneNames {
		for n := range strings.FieldsSeq(a.names) {
			if a.area != "" {
				n = a.area + "/" + n
			}
			m[n], m[strings.ToLower(n)] = n, n
		}
	}
	return m
})

// knownName is the IANA name tzid means, "" when none. loose also accepts a
// path whose last part alone is a name.
func knownName(tzid string, loose bool) string {
	names := knownNames()
	if n, ok := names[tzid]; ok {
		return n
	}
	if len(tzid) > 255 {
		return ""
	}
	lower := strings.ToLower(strings.TrimSpace(tzid))
	if n, ok := names[lower]; ok {
		return n
	}
	if !strings.HasPrefix(lower, "/") {
		return ""
	}
	parts := strings.Split(lower, "/")
	least := 2
	if loose {
		least = 1
	}
	for n := 3; n >= least; n-- {
		if len(parts) > n {
			if name, ok := names[strings.Join(parts[len(parts)-n:], "/")]; ok {
				return name
			}
		}
	}
	return ""
}

var locations sync.Map // IANA name -> *time.Location

func knownLocation(tzid string, loose bool) *time.Location {
	name := knownName(tzid, loose)
	if name == "" {
		return nil
	}
	if l, ok := locations.Load(name); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	locations.Store(name, l)
	return l
}

// zone reads a time.Location and remembers the span of time it read last,
// since the values of one object mostly lie close together.
type zone struct {
	loc    *time.Location
	lo, hi int64 // off is valid for instants in [lo, hi)
	off    int64
}

func newZone(loc *time.Location) *zone {
	if loc == nil || loc == time.UTC {
		return &zone{loc: time.UTC, lo: math.MinInt64, hi: math.MaxInt64}
	}
	return &zone{loc: loc, lo: 1, hi: 0}
}

// offset is the zone's distance from UTC at the instant t, in seconds.
func (z *zone) offset(t int64) int64 {
	if t >= z.lo && t < z.hi {
		return z.off
	}
	at := time.Unix(t, 0).In(z.loc)
	_, off := at.Zone()
	start, end := at.ZoneBounds()
	z.lo, z.hi, z.off = math.MinInt64, math.MaxInt64, int64(off)
	if !start.IsZero() {
		z.lo = start.Unix()
	}
	if !end.IsZero() {
		z.hi = end.Unix()
	}
	return z.off
}

const maxOffset = 26 * 3600 // no two offsets of a zone are further apart

// instant is the instant of a wall clock time, and by how much the clock time
// lies in a gap: it is then read as that much later.
func (z *zone) instant(w int64) (t, gap int64) {
	if z.lo == math.MinInt64 && z.hi == math.MaxInt64 {
		return w - z.off, 0
	}
	if t = w - z.off; z.lo <= z.hi && (z.lo == math.MinInt64 || t-z.lo >= maxOffset) && t < z.hi {
		return t, 0 // no earlier span of the zone can also show w
	}
	// Two guesses with the offsets around; one of them shows w, unless w
	// lies in a gap.
	a := z.offset(w)
	t1 := w - a
	var b int64
	if z.offset(t1) == a {
		b = z.offset(t1 - daySeconds) // w may have come once before
		if b == a {
			return t1, 0
		}
	} else {
		b = z.offset(t1)
	}
	t2 := w - b
	ok1, ok2 := z.offset(t1) == a, z.offset(t2) == b
	switch {
	case ok1 && ok2:
		return min(t1, t2), 0
	case ok2:
		return t2, 0
	case ok1:
		return t1, 0
	}
	// A gap: the offset before it is the smaller one, so its instant is later.
	t = max(t1, t2)
	return t, t + z.offset(t) - w
}

// add is the instant d after the wall clock time w.
func (z *zone) add(w int64, d Duration) int64 {
	days, exact := int64(d.Days)*daySeconds, int64(d.Clock/time.Second)
	if d.Neg {
		days, exact = -days, -exact
	}
	t, _ := z.instant(w + days)
	return t + exact
}

// walls gives the wall clock times between which all values lie whose
// instants are in [from, to]; gaps and folds near the ends are allowed for.
func (z *zone) walls(from, to int64) (low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	if from > math.MinInt64/2 {
		low = from + min(z.offset(from), z.offset(from-daySeconds), z.offset(from+daySeconds))
	}
	if to < math.MaxInt64/2 {
		high = to + max(z.offset(to), z.offset(to-daySeconds), z.offset(to+daySeconds))
	}
	return low, high
}
