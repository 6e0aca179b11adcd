package web

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// shelf is what the signed-in person owns: the calendars, and the time zone in
// which everything is shown.
type shelf struct {
	calendars []storage.Collection // of kind calendar
	inbox     storage.Collection
	main      string // name of the default calendar
	zone      *time.Location
	zoneFrom  string // name of the calendar that the zone is from; "" when none has one
}

func (q *request) shelf() (shelf, error) {
	sh := shelf{main: q.user.Settings.DefaultCalendar, zone: time.UTC}
	if sh.main == "" {
		sh.main = "calendar"
	}
	all, err := q.s.db.Collections(q.ctx, q.user.ID)
	if err != nil {
		return sh, err
	}
	for _, c := range all {
		switch c.Kind {
		case storage.CollectionCalendar:
			sh.calendars = append(sh.calendars, c)
		case storage.CollectionInbox:
			sh.inbox = c
		}
	}
	for _, c := range sh.calendars {
		if z, ok := zoneOf(c); ok && (sh.zoneFrom == "" || c.Name == sh.main) {
			sh.zone, sh.zoneFrom = z, c.Name
		}
	}
	return sh, nil
}

// events are the calendars that take events.
func (sh *shelf) events() []storage.Collection {
	var out []storage.Collection
	for _, c := range sh.calendars {
		if c.Components&storage.CompEvent != 0 {
			out = append(out, c)
		}
	}
	return out
}

func (sh *shelf) byName(name string) (storage.Collection, bool) {
	for _, c := range sh.calendars {
		if c.Name == name {
			return c, true
		}
	}
	return storage.Collection{}, false
}

func (sh *shelf) byID(id storage.CollectionID) (storage.Collection, int) {
	for i, c := range sh.calendars {
		if c.ID == id {
			return c, i
		}
	}
	return storage.Collection{}, 0
}

// zoneOf is the time zone that a calendar says its times are in.
func zoneOf(c storage.Collection) (*time.Location, bool) {
	for _, text := range []string{c.TimezoneID, c.Timezone} {
		if text != "" {
			if z, err := calendar.ParseTimezone(text); err == nil && z != nil {
				return z, true
			}
		}
	}
	return nil, false
}

// titleOf is how a calendar is shown.
func titleOf(c storage.Collection) string {
	if t := strings.TrimSpace(c.DisplayName); t != "" {
		return t
	}
	return c.Name
}

var colorText = regexp.MustCompile(`^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$`)

// palette colours calendars that have none of their own.
var palette = []string{"#2f6fde", "#c2410c", "#15803d", "#9333ea", "#b91c5c", "#0e7490", "#a16207", "#4f46e5"}

// colorOf is the calendar's colour as #rrggbb; nothing else gets out of here,
// whatever a program stored (the value ends up in a style sheet).
func colorOf(c storage.Collection, i int) string {
	if t := strings.TrimSpace(c.Color); colorText.MatchString(t) {
		return strings.ToLower(t[:7])
	}
	return palette[i%len(palette)]
}

// found is one calendar object of the signed-in person, parsed.
type found struct {
	row    storage.Object
	in     storage.Collection
	index  int // of the calendar, for its colour
	object *calendar.Object
	zones  *calendar.Zones
}

// open reads an object that a path names.
func (q *request) open(sh *shelf, calendarName, name string) (*found, error) {
	c, ok := sh.byName(calendarName)
	if !ok {
		return nil, errNoPage
	}
	f, err := q.s.db.Find(q.ctx, storage.Query{Home: q.user.Handle, Collection: c.Name, Object: name, Columns: storage.ColumnData})
	if err != nil {
		return nil, err
	}
	if f.Object == nil || f.Home == nil || f.Home.ID != q.user.ID {
		return nil, errNoPage
	}
	return q.parse(sh, *f.Object)
}

func (q *request) parse(sh *shelf, row storage.Object) (*found, error) {
	o, err := calendar.Parse([]byte(row.Data), q.s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	c, i := sh.byID(row.CollectionKey.ID)
	return &found{row: row, in: c, index: i, object: o, zones: calendar.NewZones(o, sh.zone)}, nil
}

// byUID finds the person's own copy of an event in any calendar; nil when
// there is none.
func (q *request) byUID(sh *shelf, uid string) (*found, error) {
	if uid == "" {
		return nil, nil
	}
	var rows []storage.Object
	err := q.s.db.View(q.ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		rows, err = tx.ObjectsByUID(ctx, []storage.AccountID{q.user.ID}, uid, storage.ColumnData)
		return err
	})
	if err != nil {
		return nil, err
	}
	var best *storage.Object
	for i := range rows {
		if best == nil || rows[i].Flags&storage.FlagScheduling != 0 && best.Flags&storage.FlagScheduling == 0 {
			best = &rows[i]
		}
	}
	if best == nil {
		return nil, nil
	}
	return q.parse(sh, *best)
}

// self are the addresses of the signed-in person.
func (q *request) self() calendar.AddressSet {
	return calendar.NewAddressSet(scheduling.AddressesOf(*q.user)...)
}

// selfAddress is the first of the person's addresses that set has, else the
// primary one.
func (q *request) selfAddress(set calendar.AddressSet) calendar.Address {
	mine := scheduling.AddressesOf(*q.user)
	for _, a := range mine {
		if set.Has(a) {
			return a
		}
	}
	return mine[0]
}

// attendeeOf is the ATTENDEE property that stands for one of self; nil when
// the component invites none of them.
func attendeeOf(c *calendar.Component, self calendar.AddressSet) *calendar.Property {
	if c == nil {
		return nil
	}
	for _, p := range c.All("ATTENDEE") {
		if self.Has(calendar.Address(p.Value())) {
			return p
		}
	}
	return nil
}

// organizes reports whether the organizer is one of self.
func organizes(c *calendar.Component, self calendar.AddressSet) bool {
	p := c.Prop("ORGANIZER")
	return p != nil && self.Has(calendar.Address(p.Value()))
}

// partstatOf is the upper-case PARTSTAT of an ATTENDEE (RFC 5545 §3.2.12).
func partstatOf(p *calendar.Property) string {
	if st := strings.ToUpper(p.Param("PARTSTAT")); st != "" {
		return st
	}
	return "NEEDS-ACTION"
}
