package calendar

import (
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// Budget limits the work that recurrence rules may cause. One Budget may serve
// many objects of a request: what one uses up the next cannot. A Budget is
// used by one goroutine at a time; a nil *Budget means NewBudget().
type Budget struct {
	Steps     int // periods and dates still allowed to be looked at
	Instances int // instances still allowed to be produced
	Bytes     int // octets of expanded data still allowed; 0 means DefaultBytes
}

// The defaults of NewBudget: steps cost 10 to 100 ns each.
const (
	DefaultSteps     = 1_000_000
	DefaultInstances = 100_000
	DefaultBytes     = 64 << 20
)

// NewBudget returns a Budget with the default limits.
func NewBudget() *Budget {
	return &Budget{Steps: DefaultSteps, Instances: DefaultInstances, Bytes: DefaultBytes}
}

// Instance is one member of a recurrence set, or the only instance of a
// component that does not recur.
type Instance struct {
	ID         DateTime   // recurrence id in the master's form (in a gap, the time it is read as)
	Start, End time.Time  // instants; End is Start where the component has no length
	StartValue DateTime   // the start in the form of the component that describes it
	Component  *Component // describes the instance: the master or an override
	Override   bool       // Component is an override (also one with RANGE=THISANDFUTURE)
	AllDay     bool       // the start is a DATE
}

// Instances yields the instances of o that overlap [from, to) by RFC 4791
// §9.9, in the order of their recurrence ids; zero times leave a side open. It
// starts near the window by arithmetic and goes on lazily, so breaking off is
// cheap and a set without end may be asked about. An error ends it: unknown
// TZID, broken value, or b used up (CodeBudget, CodeMaxInstances).
func (o *Object) Instances(z *Zones, from, to time.Time, b *Budget) iter.Seq2[Instance, error] {
	return func(yield func(Instance, error) bool) {
		f, t := unixRange(from, to)
		s, err := newSet(o, z, b)
		if err == nil {
			err = s.walk(f, t, false, func(i *Instance) bool { return yield(*i, nil) })
		}
		if err != nil && err != errStopped {
			yield(Instance{}, err)
		}
	}
}

// errStopped says that the receiver wants no more.
var errStopped = fail("", 0, "stopped")

// HasInstance reports whether id names an instance of o: a member of the
// master's recurrence set that no EXDATE takes out, or an override.
func (o *Object) HasInstance(z *Zones, id DateTime, b *Budget) (bool, error) {
	s, err := newSet(o, z, b)
	if err != nil {
		return false, err
	}
	key, err := s.keyOf(id)
	if err != nil {
		return false, err
	}
	if _, ok := s.overridden[key]; ok {
		return true, nil
	}
	if s.master == nil || !s.timing.hasStart {
		return false, nil
	}
	low, high := key, key
	if s.timing.start.Kind != Date {
		low, high = s.zone.walls(key, key)
	}
	st := s.stream(high)
	st.seek(low)
	for {
		c, ok := st.next()
		switch {
		case !ok || c.key > key:
			return false, st.err
		case c.key == key:
			return !s.excluded(c), nil
		}
	}
}

// set is the recurrence set of one object, prepared for walking.
type set struct {
	z      *Zones
	b      *Budget
	kind   string
	master *Component
	timing timing
	length length
	zone   *zone // of the master's DTSTART

	rules      []*Rule
	rdates     []candidate // sorted by key
	longest    int64       // of the periods in rdates
	exKeys     map[int64]struct{}
	exDays     map[int64]struct{} // EXDATEs that are dates while DTSTART is a time
	overrides  []override         // sorted by key
	overridden map[int64]struct{}
	segments   []segment // the master's and those of THISANDFUTURE overrides, sorted by key
}

// candidate is a recurrence id: key identifies it (the instant, for dates the
// wall clock time), wall is it in the master's zone.
type candidate struct {
	wall, key int64
	period    *PeriodValue
	second    bool // the later of two instants that show wall; only an RDATE can say so
}

// override is a component with RECURRENCE-ID.
type override struct {
	key    int64
	id     DateTime
	comp   *Component
	timing timing
	length length
	zone   *zone
	start  int64
	end    int64
	hidden bool // RANGE=THISANDFUTURE, and its own instance is excluded or has an override of its own
}

// segment says how the instances from key on look, until the next segment.
type segment struct {
	key    int64
	wall   int64
	comp   *Component
	timing *timing
	length *length
	zone   *zone // of comp's DTSTART
	delta  int64 // from the id, as wall time in zone, to the start
	other  bool  // zone is not the master's: ids are converted
}

// maxRules is how many RRULEs of a component count; RFC 5545 §3.8.5.3 wants
// one.
const maxRules = 16

func newSet(o *Object, z *Zones, b *Budget) (*set, error) {
	if b == nil {
		b = NewBudget()
	}
	if z == nil {
		z = NewZones(o, nil)
	}
	s := &set{z: z, b: b}
	var over []*Component
	for _, c := range o.Children {
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL":
			if s.kind == "" {
				s.kind = c.Name
			}
			if c.Name != s.kind {
				continue
			}
			if c.Prop("RECURRENCE-ID") != nil {
				over = append(over, c)
			} else if s.master == nil {
				s.master = c
			}
		}
	}
	if s.master != nil {
		if err := s.readMaster(); err != nil {
			return nil, err
		}
	}
	for _, c := range over {
		if err := s.readOverride(c); err != nil {
			return nil, err
		}
	}
	s.sortOverrides()
	return s, nil
}

func (s *set) readMaster() (err error) {
	if s.timing, err = timingOf(s.master); err != nil {
		return err
	}
	if s.timing.recurByDue(s.master); !s.timing.hasStart {
		return nil
	}
	if s.length, err = lengthOf(s.z, s.kind, &s.timing); err != nil {
		return err
	}
	if s.zone, err = s.z.zoneOf(s.timing.start); err != nil {
		return err
	}
	s.segments = []segment{{key: math.MinInt64, wall: math.MinInt64, comp: s.master, timing: &s.timing, length: &s.length, zone: s.zone}}
	for _, p := range s.master.Props {
		switch p.name {
		case "RRULE":
			r, err := ParseRule(p.value)
			if err != nil {
				return err
			}
			if len(s.rules) < maxRules {
				s.rules = append(s.rules, r)
			}
		case "RDATE":
			err = s.readRDate(p)
		case "EXDATE":
			err = s.readExDate(p)
		}
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(s.rdates, func(a, b candidate) int {
		if a.key != b.key {
			return order(a.key, b.key)
		}
		return order(boolInt(b.period != nil), boolInt(a.period != nil))
	})
	return nil
}

func order(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s *set) readRDate(p *Property) error {
	values, err := ParsePeriods(p)
	if err != nil {
		return err
	}
	if err := s.b.spend(len(values)); err != nil {
		return err
	}
	start := s.timing.start
	for i := range values {
		v := &values[i]
		if start.Kind != Date {
			if v.Start = v.Start.InForm(start); v.Period && v.End.Kind == Floating {
				v.End = v.End.InForm(start)
			}
		}
		c := candidate{}
		if start.Kind == Date {
			c.key = floorDiv64(v.Start.Wall.Unix(), daySeconds) * daySeconds
		} else if c.key, err = s.keyOf(v.Start); err != nil {
			return err
		}
		if c.wall = c.key; start.Kind != Date {
			c.wall += s.zone.offset(c.key)
			at, _ := s.zone.instant(c.wall)
			c.second = at != c.key
		}
		if v.Period {
			c.period = v
			s.longest = max(s.longest, s.periodLength(v))
		}
		s.rdates = append(s.rdates, c)
	}
	return nil
}

func (s *set) readExDate(p *Property) error {
	values, err := ParseDateTimes(p)
	if err != nil {
		return err
	}
	if err := s.b.spend(len(values)); err != nil {
		return err
	}
	for _, v := range values {
		if v.Kind == Date && s.timing.start.Kind != Date { // tolerated: all of that day
			if s.exDays == nil {
				s.exDays = make(map[int64]struct{})
			}
			s.exDays[v.Wall.Unix()] = struct{}{}
			continue
		}
		key, err := s.keyOf(v)
		if err != nil {
			return err
		}
		if s.exKeys == nil {
			s.exKeys = make(map[int64]struct{}, len(values))
		}
		s.exKeys[key] = struct{}{}
	}
	return nil
}

// named is what names an instance, in the form of DTSTART.
func (s *set) named(d DateTime) DateTime {
	if s.master != nil && s.timing.hasStart {
		return d.InForm(s.timing.start)
	}
	return d
}

// keyOf is the key of a recurrence id, in whatever form.
func (s *set) keyOf(d DateTime) (int64, error) {
	if d = s.named(d); d.Kind == Date {
		return floorDiv64(d.Wall.Unix(), daySeconds) * daySeconds, nil
	}
	return s.z.unix(d)
}

func (s *set) excluded(c candidate) bool {
	if _, ok := s.exKeys[c.key]; ok {
		return true
	}
	if s.exDays != nil {
		_, ok := s.exDays[floorDiv64(c.wall, daySeconds)*daySeconds]
		return ok
	}
	return false
}

func (s *set) readOverride(c *Component) error {
	if err := s.b.spend(1); err != nil {
		return err
	}
	p := c.Prop("RECURRENCE-ID")
	id, err := ParseDateTime(p)
	if err != nil {
		return err
	}
	id = s.named(id)
	o := override{id: id, comp: c}
	if o.key, err = s.keyOf(id); err != nil {
		return err
	}
	if o.timing, err = timingOf(c); err != nil {
		return err
	}
	if !o.timing.hasStart {
		if s.kind == "VTODO" && o.timing.hasEnd {
			o.timing.start = o.timing.end
		} else {
			o.timing.start = id
		}
	}
	if o.length, err = lengthOf(s.z, s.kind, &o.timing); err != nil {
		return err
	}
	if o.zone, err = s.z.zoneOf(o.timing.start); err != nil {
		return err
	}
	w := o.timing.start.Wall.Unix()
	o.start, _ = o.zone.instant(w)
	o.end = o.length.end(o.zone, w, o.start)
	if s.master != nil && s.timing.hasStart {
		start := s.timing.start
		if o.id.Kind != start.Kind || o.id.TZID != start.TZID {
			if start.Kind == Date {
				o.id = DateTime{Wall: wallTime(o.key), Kind: Date}
			} else {
				o.id = DateTime{Wall: wallTime(o.key + s.zone.offset(o.key)), Kind: start.Kind, TZID: start.TZID}
			}
		}
	}
	s.overrides = append(s.overrides, o)
	return nil
}

// sortOverrides also makes the segments of RANGE=THISANDFUTURE (RFC 5545
// §3.8.4.4): such an override moves and resizes all later instances.
func (s *set) sortOverrides() {
	if len(s.overrides) == 0 {
		return
	}
	slices.SortStableFunc(s.overrides, func(a, b override) int { return order(a.key, b.key) })
	s.overridden = make(map[int64]struct{}, len(s.overrides))
	for i := range s.overrides {
		o := &s.overrides[i]
		o.hidden = thisAndFuture(o.comp) && (s.excluded(candidate{key: o.key, wall: o.id.Wall.Unix()}) || s.alone(i-1, o.key) || s.alone(i+1, o.key))
		if !o.hidden {
			s.overridden[o.key] = struct{}{}
		}
		if s.segments == nil || !o.timing.hasStart || !thisAndFuture(o.comp) {
			continue
		}
		start := s.timing.start
		g := segment{key: o.key, wall: o.id.Wall.Unix(), comp: o.comp, timing: &o.timing, length: &o.length, zone: o.zone}
		g.other = o.timing.start.Kind != start.Kind || o.timing.start.TZID != start.TZID
		g.delta = o.timing.start.Wall.Unix() - g.idWall(candidate{wall: g.wall, key: g.key}, start.Kind)
		s.segments = append(s.segments, g)
	}
}

// alone tells whether override i is of the instance key alone.
func (s *set) alone(i int, key int64) bool {
	return i >= 0 && i < len(s.overrides) && s.overrides[i].key == key && !thisAndFuture(s.overrides[i].comp)
}

func thisAndFuture(c *Component) bool {
	return strings.EqualFold(c.Prop("RECURRENCE-ID").Param("RANGE"), "THISANDFUTURE")
}

// idWall is a recurrence id as wall clock time of the segment's zone.
func (g *segment) idWall(c candidate, master Kind) int64 {
	if !g.other {
		return c.wall
	}
	at := c.key
	if master == Date { // a date that becomes a time: midnight in the zone of the time
		return c.wall
	}
	w := at + g.zone.offset(at)
	if g.timing.start.Kind == Date {
		w = floorDiv64(c.wall, daySeconds) * daySeconds
	}
	return w
}

// walk gives the instances whose time overlaps [from, to) to yield, in the
// order of their recurrence ids. loose: everything that touches the closed
// range is given, whatever RFC 4791 §9.9 says.
func (s *set) walk(from, to int64, loose bool, yield func(*Instance) bool) error {
	fits := func(t *timing, l *length, start, end int64) bool {
		if loose {
			return start <= to && end >= from
		}
		return overlaps(s.kind, t, l, start, end, from, to)
	}
	give := func(i *Instance) error {
		if err := s.b.produce(); err != nil {
			return err
		}
		if !yield(i) {
			return errStopped
		}
		return nil
	}
	// Overrides stand beside the set and are merged in.
	next := 0
	overridesBefore := func(key int64) error {
		for ; next < len(s.overrides) && s.overrides[next].key < key; next++ {
			o := &s.overrides[next]
			if o.hidden {
				continue
			}
			if !o.timing.hasStart && !loose && s.kind == "VTODO" {
				if ok, err := todoOverlaps(o.comp, s.z, &o.timing, from, to); err != nil || !ok {
					if err != nil {
						return err
					}
					continue
				}
			} else if !fits(&o.timing, &o.length, o.start, o.end) {
				continue
			}
			if err := give(&Instance{ID: o.id, Start: wallTime(o.start), End: wallTime(o.end), StartValue: o.timing.start,
				Component: o.comp, Override: true, AllDay: o.timing.start.Kind == Date}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(s.segments) > 0 {
		if err := s.walkSegments(from, to, fits, overridesBefore, give); err != nil {
			return err
		}
	}
	return overridesBefore(math.MaxInt64)
}

func (s *set) walkSegments(from, to int64, fits func(*timing, *length, int64, int64) bool, overridesBefore func(int64) error, give func(*Instance) error) error {
	type bounds struct{ low, high int64 }
	windows := make([]bounds, len(s.segments))
	last := int64(math.MinInt64)
	for i := range s.segments {
		g := &s.segments[i]
		longest := max(g.length.longest(), s.longest)
		w := &windows[i]
		w.low, w.high = g.zone.walls(max(openStart, from-longest), to)
		slack := int64(0)
		if g.other {
			slack = maxOffset + daySeconds
		}
		if w.low > openStart {
			w.low -= g.delta + slack
		}
		if w.high < openEnd {
			w.high += slack - g.delta
		}
		last = max(last, w.high)
	}
	start := s.timing.start
	st := s.stream(last)
	for i := range s.segments {
		g := &s.segments[i]
		limit := int64(math.MaxInt64)
		if i+1 < len(s.segments) {
			limit = s.segments[i+1].key
		}
		low := windows[i].low
		if limit < math.MaxInt64 { // the next segment may look further back
			low = min(low, s.segments[i+1].wall-maxOffset)
		}
		if g.wall > math.MinInt64 {
			low = max(low, g.wall-maxOffset)
		}
		st.seek(low)
		for {
			c, ok := st.peek()
			if !ok || c.key >= limit || c.wall > windows[i].high {
				break
			}
			st.next()
			if c.key < g.key || s.excluded(c) {
				continue
			}
			if _, ok := s.overridden[c.key]; ok {
				continue
			}
			w := g.idWall(c, start.Kind) + g.delta
			at := c.key
			if i > 0 || start.Kind == Date {
				at, _ = g.zone.instant(w)
			}
			end, t, l := int64(0), g.timing, g.length
			if c.period != nil && i == 0 {
				var err error
				if end, err = s.periodEnd(c.period, at); err != nil {
					return err
				}
				t, l = &periodTiming, &length{form: lengthExact, exact: end - at}
			} else {
				end = g.length.end(g.zone, w, at)
			}
			if !fits(t, l, at, end) {
				continue
			}
			if err := overridesBefore(c.key); err != nil {
				return err
			}
			id := DateTime{Wall: wallTime(c.wall), Kind: start.Kind, TZID: start.TZID}
			if c.second {
				id = UTCDateTime(wallTime(c.key))
			}
			if err := give(&Instance{
				ID:         id,
				Start:      wallTime(at),
				End:        wallTime(end),
				StartValue: DateTime{Wall: wallTime(w), Kind: g.timing.start.Kind, TZID: g.timing.start.TZID},
				Component:  g.comp, Override: i > 0, AllDay: g.timing.start.Kind == Date,
			}); err != nil {
				return err
			}
		}
		if st.err != nil {
			return st.err
		}
	}
	return nil
}

// periodTiming stands for an RDATE with a period: it has an end.
var periodTiming = timing{hasStart: true, hasEnd: true, start: DateTime{Kind: UTC}}

func (s *set) periodEnd(p *PeriodValue, start int64) (int64, error) {
	if p.End.IsZero() {
		t, err := s.z.Add(p.Start, p.Duration)
		return max(start, t.Unix()), err
	}
	t, err := s.z.unix(p.End)
	return max(start, t), err
}

func (s *set) periodLength(p *PeriodValue) int64 {
	if p.End.IsZero() {
		return max(0, p.Duration.seconds()) + maxOffset
	}
	return max(0, p.End.Wall.Unix()-p.Start.Wall.Unix()) + 2*maxOffset
}

// stream merges the rules, the RDATEs and DTSTART into one sequence of
// recurrence ids, each once, in order.
type stream struct {
	s       *set
	heads   []head
	rdate   int
	pending []candidate // out of gaps: they come later than their rule says
	err     error
}

type head struct {
	it    *ruleIter
	c     candidate
	full  bool
	until int64 // instant, for rules whose UNTIL is one
}

// stream prepares the merging; last is the latest wall clock time wanted.
func (s *set) stream(last int64) *stream {
	st := &stream{s: s}
	start := s.timing.start.Wall.Unix()
	date := s.timing.start.Kind == Date
	for _, r := range s.rules {
		stop, until := s.untilOf(r)
		st.heads = append(st.heads, head{it: newRuleIter(r, start, date, min(last, stop), s.b), until: until})
	}
	if len(s.rules) == 0 {
		once := &ruleIter{r: onceRule, b: s.b, start: start, stop: last, left: 1, last: start - 1}
		st.heads = append(st.heads, head{it: once, until: math.MaxInt64})
	}
	return st
}

// onceRule gives DTSTART alone.
var onceRule = &Rule{Freq: Yearly, Interval: 1, Count: 1}

// untilOf gives UNTIL as a limit on wall clock times and, where UNTIL is an
// instant while DTSTART is not, as the exact limit on instants. An UNTIL of
// another kind than RFC 5545 §3.3.10 wants is read for what it surely means: a
// date includes that whole day.
func (s *set) untilOf(r *Rule) (wall, instant int64) {
	if r.Until.IsZero() {
		return math.MaxInt64, math.MaxInt64
	}
	u := r.Until.Wall.Unix()
	switch {
	case r.Until.Kind == Date:
		return u + daySeconds - 1, math.MaxInt64
	case s.timing.start.Kind == Date, r.Until.Kind == Floating, s.timing.start.Kind == UTC:
		return u, math.MaxInt64
	}
	_, high := s.zone.walls(u, u)
	return high, u
}

// seek passes over the ids whose wall clock time is surely before low.
func (st *stream) seek(low int64) {
	for i := range st.heads {
		h := &st.heads[i]
		if h.full && h.c.wall >= low {
			continue
		}
		h.it.seek(low)
		st.advance(h)
	}
	for st.rdate < len(st.s.rdates) && st.s.rdates[st.rdate].wall < low {
		st.rdate++
	}
}

// advance fetches the next id of a rule. Times in a gap are put aside, for
// they come later than others that follow them (RFC 5545 §3.3.5).
func (st *stream) advance(h *head) {
	for h.full = false; !h.full; {
		w, ok := h.it.next()
		if !ok {
			if h.it.err != nil {
				st.err = h.it.err
			}
			return
		}
		c := candidate{wall: w, key: w}
		gap := int64(0)
		if st.s.timing.start.Kind != Date {
			c.key, gap = st.s.zone.instant(w)
		}
		if c.key > h.until {
			continue
		}
		if gap > 0 {
			c.wall += gap
			at, found := slices.BinarySearchFunc(st.pending, c, func(a, b candidate) int { return order(a.key, b.key) })
			if !found {
				st.pending = slices.Insert(st.pending, at, c)
			}
			continue
		}
		h.c, h.full = c, true
	}
}

// peek is the next id.
func (st *stream) peek() (c candidate, ok bool) {
	if st.err != nil {
		return c, false
	}
	if st.rdate < len(st.s.rdates) {
		c, ok = st.s.rdates[st.rdate], true
	}
	if len(st.pending) > 0 && (!ok || st.pending[0].key < c.key) {
		c, ok = st.pending[0], true
	}
	for i := range st.heads {
		if h := &st.heads[i]; h.full && (!ok || h.c.key < c.key) {
			c, ok = h.c, true
		}
	}
	return c, ok
}

// next takes the next id and all its repetitions.
func (st *stream) next() (candidate, bool) {
	c, ok := st.peek()
	if !ok {
		return c, false
	}
	for st.rdate < len(st.s.rdates) && st.s.rdates[st.rdate].key == c.key {
		st.rdate++
	}
	for len(st.pending) > 0 && st.pending[0].key == c.key {
		st.pending = st.pending[1:]
	}
	for i := range st.heads {
		if h := &st.heads[i]; h.full && h.c.key == c.key {
			st.advance(h)
		}
	}
	return c, true
}
