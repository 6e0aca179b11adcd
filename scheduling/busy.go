package scheduling

import (
	"encoding/xml"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
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
	owner    storage.Account
	from, to time.Time
	budget   *calendar.Budget
	periods  []calendar.Period
	open     []calendar.Availability
}

// NewBusy begins to collect; budget is shared with whatever else the request does.
func (s *Service) NewBusy(owner storage.Account, from, to time.Time, budget *calendar.Budget) *Busy {
	return &Busy{s: s, owner: owner, from: from, to: to, budget: budget}
}

// Add counts a stored object; floating is the zone of its calendar.
func (b *Busy) Add(o storage.Object, floating *time.Location) error {
	obj, err := calendar.Parse([]byte(o.Data), b.s.cfg.Limits)
	if err != nil {
		return nil // an unreadable object makes nobody busy
	}
	zones := calendar.NewZones(obj, floating)
	if o.Component == "VAVAILABILITY" {
		b.open = append(b.open, calendar.Availability{Object: obj, Zones: zones})
		return nil
	}
	organizers, _, _ := strings.Cut(readExtra(o.Extra).OrganizerTransp, ";") // of the series
	ps, err := calendar.Busy(obj, zones, b.from, b.to, calendar.BusyOptions{Self: calendar.NewAddressSet(addressesOf(b.owner)...), PendingTentative: true, ServerTransp: o.Flags&storage.FlagServerTransp != 0, OrganizerTransp: organizers}, b.budget)
	b.periods = append(b.periods, ps...)
	return err
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
