package scheduling

import (
	"reflect"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// What the index says is what parsing says, and it is asked only where nothing
// in the event could say otherwise.
func TestIndexSaysBusy(t *testing.T) {
	const (
		zone = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
		ten  = "DTSTART:20270104T100000Z\r\nDTEND:20270104T113000Z\r\n"
	)
	s := &Service{cfg: Config{Limits: calendar.DefaultLimits()}}
	owner := storage.Account{ID: 1, Handle: "user01", Emails: []string{"user01@example.com"}}
	from, to := time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, zone, event string
		indexed           bool
		periods           int
	}{
		{"UTC", "", ten, true, 1},
		{"with a zone", zone, "DTSTART;TZID=Europe/Berlin:20270104T100000\r\nDURATION:PT1H30M\r\n", true, 1},
		{"cut at both ends", "", "DTSTART:20270101T100000Z\r\nDTEND:20270109T100000Z\r\n", true, 1},
		{"opaque", "", ten + "TRANSP:OPAQUE\r\nSUMMARY:Status\r\nATTACH:https://example.com/a\r\nDESCRIPTION:x\r\n STATUS:CANCELLED\r\n", true, 1},
		{"before the range", "", "DTSTART:20270103T100000Z\r\nDTEND:20270104T000000Z\r\n", true, 0},
		{"transparent", "", ten + "TRANSP:TRANSPARENT\r\n", false, 0},
		{"cancelled", "", ten + "STATUS:CANCELLED\r\n", false, 0},
		{"tentative, in small letters", "", ten + "status:TENTATIVE\r\n", false, 1},
		{"a folded name", "", ten + "STA\r\n TUS:CANCELLED\r\n", false, 0},
		{"declined without an organizer", "", ten + "ATTENDEE;PARTSTAT=DECLINED:mailto:user01@example.com\r\n", false, 0},
		{"no length", "", "DTSTART:20270104T100000Z\r\n", false, 0},
		{"floating", "", "DTSTART:20270104T100000\r\nDTEND:20270104T110000\r\n", false, 1},
		{"a whole day", "", "DTSTART;VALUE=DATE:20270104\r\n", false, 1},
		{"a series", "", ten + "RRULE:FREQ=HOURLY;INTERVAL=3;COUNT=3\r\n", false, 3},
		{"somebody's meeting", "", ten + "ORGANIZER:mailto:user02@example.com\r\nATTENDEE;PARTSTAT=TENTATIVE:mailto:user01@example.com\r\n", false, 1},
	} {
		text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n" + c.zone + "BEGIN:VEVENT\r\nUID:u\r\nDTSTAMP:20260101T000000Z\r\n" + c.event + "END:VEVENT\r\nEND:VCALENDAR\r\n"
		obj, err := calendar.Parse([]byte(text), s.cfg.Limits)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		idx, err := obj.Index()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		o := fill(storage.Object{Data: text}, idx, itip.RoleNone)
		if got := indexSaysBusy(&o); got != c.indexed {
			t.Errorf("%s: the index is asked: %v", c.name, got)
		}
		periods := func(flags storage.Flags) []calendar.Period {
			b := s.NewBusy(owner, from, to, calendar.NewBudget())
			o.Flags = flags
			if err := b.Add(o, time.UTC); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			ps, err := b.Periods()
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return calendar.MergePeriods(ps)
		}
		byIndex, parsed := periods(o.Flags), periods(o.Flags&^storage.FlagExact)
		if len(byIndex) != c.periods || !reflect.DeepEqual(byIndex, parsed) {
			t.Errorf("%s: by its index %v, parsed %v, want %d", c.name, byIndex, parsed, c.periods)
		}
	}
}
