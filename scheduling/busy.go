package scheduling

import (
	"encoding/xml"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// The dead property that a calendar-availability is stored as, in XML (RFC 7953
// §7.2.4). It belongs to the collection, not to whoever set it.
const (
	AvailabilitySpace = "urn:ietf:params:xml:ns:caldav"
	AvailabilityLocal = "calendar-availability"
)

// Busy collects what makes one account busy in a span of time: events and stored
// free/busy, and around them what VAVAILABILITY components say (RFC 4791 §7.10,
// RFC 7953 §4). It is used by one goroutine.
type Busy struct {
	s        *Service
	from, to time.Time
	budget   *calendar.Budget
	self     calendar.AddressSet
	periods  []calendar.Period
	open     []calendar.Availability
}

// NewBusy begins to collect; budget is shared with whatever else the request does.
func (s *Service) NewBusy(owner storage.Account, from, to time.Time, budget *calendar.Budget) *Busy {
	return &Busy{s: s, self: calendar.NewAddressSet(addressesOf(owner)...), from: from, to: to, budget: budget}
}

// Add counts a stored object; floating is the zone of its calendar.
func (b *Busy) Add(o storage.Object, floating *time.Location) error {
	if indexSaysBusy(&o) {
		b.periods = append(b.periods, calendar.Period{Start: later(b.from, time.UnixMicro(o.Start).UTC()), End: earlier(b.to, time.UnixMicro(o.End).UTC())})
		return nil
	}
	obj, err := b.s.parsed.Parse(o.Data, b.s.cfg.Limits)
	if err != nil {
		return nil // an unreadable object makes nobody busy
	}
	zones := calendar.NewZones(obj, floating)
	if o.Component == "VAVAILABILITY" {
		b.open = append(b.open, calendar.Availability{Object: obj, Zones: zones})
		return nil
	}
	organizers := readExtra(o.Extra).OrganizerTransp
	series, _, _ := strings.Cut(organizers, ";")
	ps, err := calendar.Busy(obj, zones, b.from, b.to, calendar.BusyOptions{Self: b.self, PendingTentative: true, ServerTransp: o.Flags&storage.FlagServerTransp != 0,
		OrganizerTransp: series, Overridden: itip.OverriddenTransp(obj, organizers)}, b.budget)
	b.periods = append(b.periods, ps...)
	return err
}

// indexSaysBusy tells that an object takes its one span of time whatever else is
// in it, so that nobody has to parse it: an opaque event that concerns only its
// owner and has no STATUS.
func indexSaysBusy(o *storage.Object) bool {
	if o.Flags&storage.FlagBusy != 0 {
		return true
	}
	const decides = storage.FlagExact | storage.FlagRecurring | storage.FlagFloating | storage.FlagScheduling | storage.FlagTransparent | storage.FlagServerTransp
	if o.Component != "VEVENT" || o.Flags&decides != storage.FlagExact || o.End-o.Start <= time.Second.Microseconds() { // an instant is indexed as one second
		return false
	}
	for line := range strings.Lines(o.Data) {
		// A name that is folded (RFC 5545 §3.1) is not looked into.
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		switch line[0] | 0x20 {
		case 's':
			if startsWithName(line, "STATUS") {
				return false
			}
		case 'a':
			if startsWithName(line, "ATTENDEE") {
				return false
			}
		}
	}
	return true
}

// startsWithName tells whether a content line may have a name: it does, or it
// is too short to say.
func startsWithName(line, name string) bool {
	line = strings.TrimRight(line, "\r\n")
	return len(line) < len(name) || strings.EqualFold(line[:len(name)], name)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// AddAvailability counts a calendar-availability property as it is stored.
func (b *Busy) AddAvailability(property string, floating *time.Location) {
	o, err := calendar.Parse([]byte(AvailabilityText(property)), b.s.cfg.Limits)
	if err != nil {
		return // was checked when it was set; says nothing now
	}
	b.open = append(b.open, calendar.Availability{Object: o, Zones: calendar.NewZones(o, floating)})
}

// Periods is what was collected, in no particular order.
func (b *Busy) Periods() ([]calendar.Period, error) {
	if len(b.open) == 0 {
		return b.periods, nil
	}
	ps, err := calendar.Unavailable(b.open, b.from, b.to, b.budget)
	return append(b.periods, ps...), err
}

// AvailabilityText is the iCalendar text in a stored calendar-availability.
func AvailabilityText(property string) string {
	var v struct {
		Text string `xml:",chardata"`
	}
	if xml.Unmarshal([]byte(property), &v) != nil {
		return ""
	}
	return v.Text
}

// AvailabilityProperty is the stored form of a calendar-availability.
func AvailabilityProperty(text string) string {
	var b strings.Builder
	b.WriteString(`<` + AvailabilityLocal + ` xmlns="` + AvailabilitySpace + `">`)
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		return "" // a Builder never fails
	}
	b.WriteString(`</` + AvailabilityLocal + `>`)
	return b.String()
}
