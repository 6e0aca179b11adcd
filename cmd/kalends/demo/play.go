package demo

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

func tcpOpen(port int) error {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// play is the story: invite three people, get three answers, move one
// instance, compare calendars.
func (s *story) play() error {
	uid := fmt.Sprintf("round-table-%d@alpha.test", time.Now().UnixNano())
	path := s.alice.home() + "calendar/round-table.ics"
	start := nextMonday(time.Now()).Add(10 * time.Hour)
	steps := []struct {
		title string
		run   func() (string, error)
	}{
		{"alice@alpha.test invites bob@alpha.test, carol@beta.test and dave@mail.test to a weekly meeting", func() (string, error) {
			if err := s.alice.put(s.ctx, path, s.invitation(uid, start)); err != nil {
				return "", err
			}
			return "PUT answered; no peer was waited for", nil
		}},
		{"bob has it (local)", func() (string, error) { return s.hasCopy(s.bob, uid, "same transaction as alice's PUT") }},
		{"carol has it (iSchedule)", func() (string, error) {
			d, err := s.delivered(s.alpha, uid, s.carol.address, "REQUEST", "ischedule")
			if err != nil {
				return "", err
			}
			return s.hasCopy(s.carol, uid, fmt.Sprintf("signed HTTPS to beta.test, proof %s, status %s", proof(d), d.Status))
		}},
		{"dave has it (mail)", func() (string, error) {
			d, err := s.delivered(s.alpha, uid, dave, "REQUEST", "mail")
			if err != nil {
				return "", err
			}
			e, err := s.mailed("received", uid, "REQUEST", 0)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("SMTP, status %s; dave's server saw %s, From %s, Subject %q", d.Status, e.Proof, e.From, e.Subject), nil
		}},
		{"bob accepts", func() (string, error) {
			if err := s.bob.answer(s.ctx, uid, "ACCEPTED"); err != nil {
				return "", err
			}
			return s.answered(path, s.bob.address, "same transaction as bob's PUT")
		}},
		{"carol accepts at her own server", func() (string, error) {
			if err := s.carol.answer(s.ctx, uid, "ACCEPTED"); err != nil {
				return "", err
			}
			d, err := s.delivered(s.beta, uid, s.alice.address, "REPLY", "ischedule")
			if err != nil {
				return "", err
			}
			return s.answered(path, s.carol.address, fmt.Sprintf("signed HTTPS from beta.test, proof %s, status %s", proof(d), d.Status))
		}},
		{"dave presses accept in his mail program", func() (string, error) {
			e, err := s.mailed("answered", uid, "REPLY", 0)
			if err != nil {
				return "", err
			}
			return s.answered(path, dave, fmt.Sprintf("mail to %s, proof %s", shorten(e.To), e.Proof))
		}},
		{"alice moves the third meeting by one day", func() (string, error) {
			n := s.mail.count()
			rid := start.AddDate(0, 0, 14)
			if err := s.moveInstance(path, rid); err != nil {
				return "", err
			}
			if err := s.moved(s.bob, uid, rid); err != nil {
				return "", err
			}
			d, err := s.delivered(s.alpha, uid, s.carol.address, "REQUEST", "ischedule")
			if err != nil {
				return "", err
			}
			if err := s.moved(s.carol, uid, rid); err != nil {
				return "", err
			}
			e, err := s.mailed("received", uid, "REQUEST", n)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("bob: local; carol: iSchedule, proof %s; dave: mail %q, %s\nthe other five meetings stayed where they were", proof(d), e.Subject, e.Proof), nil
		}},
		{"alice asks when everybody is free in that week", func() (string, error) {
			from := start.Truncate(24*time.Hour).AddDate(0, 0, 0)
			list, err := s.alice.askBusy(s.ctx, from, from.AddDate(0, 0, 7), []string{s.bob.address, s.carol.address, dave})
			if err != nil {
				return "", err
			}
			var lines []string
			for _, b := range list {
				lines = append(lines, fmt.Sprintf("%-24s %s, %d busy periods", strings.TrimPrefix(b.recipient, "mailto:"), b.status, len(b.periods)))
				switch b.recipient {
				case s.bob.address, s.carol.address:
					if !strings.HasPrefix(b.status, "2.0") || len(b.periods) == 0 {
						return "", fmt.Errorf("no busy time of %s: %s", b.recipient, b.status)
					}
				case dave:
					if strings.HasPrefix(b.status, "2.") {
						return "", fmt.Errorf("an answer about %s, whom no server knows: %s", b.recipient, b.status)
					}
				}
			}
			if len(list) != 3 {
				return "", fmt.Errorf("%d answers about 3 people", len(list))
			}
			return strings.Join(lines, "\n"), nil
		}},
	}
	for _, st := range steps {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.step(st.title, st.run); err != nil {
			return err
		}
	}
	return nil
}

func nextMonday(t time.Time) time.Time {
	t = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return t.AddDate(0, 0, (8-int(t.Weekday()))%7+7)
}

func proof(d delivery) string {
	if d.Proof == "" {
		return "none"
	}
	return "DKIM d=" + d.Proof
}

func shorten(addr string) string {
	if i := strings.IndexByte(addr, '+'); i > 0 && len(addr) > i+7 {
		return addr[:i+7] + "…" + addr[strings.LastIndexByte(addr, '@'):]
	}
	return addr
}

// hasCopy waits for a person's copy of the event, in his calendar and inbox.
func (s *story) hasCopy(u *user, uid, how string) (string, error) {
	var partstat, transp string
	_, err := waitFor(8*time.Second, func() error {
		p, o, err := u.find(s.ctx, "calendar", uid)
		if err != nil {
			return err
		}
		if p == "" {
			return fmt.Errorf("%s has no copy", u.name)
		}
		partstat, _ = attendee(o, u.address)
		transp = o.Master().Value("TRANSP")
		if p, _, err = u.find(s.ctx, "inbox", uid); err != nil {
			return err
		}
		if p == "" {
			return fmt.Errorf("%s has no inbox item", u.name)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; in calendar and inbox as %s, %s", how, partstat, strings.ToLower(transp)), nil
}

// answered waits until an answer stands in alice's event.
func (s *story) answered(path, address, how string) (string, error) {
	var status string
	_, err := waitFor(8*time.Second, func() error {
		o, err := s.alice.get(s.ctx, path)
		if err != nil {
			return err
		}
		p, st := attendee(o, address)
		if p != "ACCEPTED" {
			return fmt.Errorf("alice's event still says %s for %s", p, address)
		}
		status = st
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("alice's event says ACCEPTED, SCHEDULE-STATUS %s; %s", status, how), nil
}

// mailed waits for an event of the mail site.
func (s *story) mailed(event, uid, method string, after int) (mailEvent, error) {
	var e mailEvent
	_, err := waitFor(8*time.Second, func() error {
		if bad, _, ok := s.mail.saw("error", uid, "", after); ok {
			return errors.New(bad.Text)
		}
		var ok bool
		if e, _, ok = s.mail.saw(event, uid, method, after); !ok {
			return fmt.Errorf("the mail site has not %s a %s", event, method)
		}
		return nil
	})
	return e, err
}

// moveInstance gives one instance of alice's series another day, as a calendar
// program does: an override beside the master.
func (s *story) moveInstance(path string, rid time.Time) error {
	o, err := s.alice.get(s.ctx, path)
	if err != nil {
		return err
	}
	c := o.Master().Clone()
	c.Remove("RRULE")
	at := calendar.DateTime{Wall: rid, Kind: calendar.Zoned, TZID: "Europe/Berlin"}
	c.Add(at.Property("RECURRENCE-ID"))
	at.Wall = rid.AddDate(0, 0, 1)
	c.Set(at.Property("DTSTART"))
	at.Wall = at.Wall.Add(time.Hour)
	c.Set(at.Property("DTEND"))
	o.Children = append(o.Children, c)
	return s.alice.put(s.ctx, path, o)
}

// moved waits until a copy shows the moved instance and no other.
func (s *story) moved(u *user, uid string, rid time.Time) error {
	_, err := waitFor(8*time.Second, func() error {
		_, o, err := u.find(s.ctx, "calendar", uid)
		if err != nil {
			return err
		}
		if o == nil {
			return fmt.Errorf("%s has no copy", u.name)
		}
		want := map[string]bool{}
		for i := range 6 {
			at := rid.AddDate(0, 0, 7*(i-2))
			if i == 2 {
				at = at.AddDate(0, 0, 1)
			}
			want[at.Format("20060102T150405")] = true
		}
		z := calendar.NewZones(o, time.UTC)
		n := 0
		for in, err := range o.Instances(z, rid.AddDate(0, 0, -60), rid.AddDate(0, 0, 60), calendar.NewBudget()) {
			if err != nil {
				return err
			}
			n++
			if at := in.StartValue.Wall.Format("20060102T150405"); !want[at] {
				return fmt.Errorf("%s's copy has a meeting at %s", u.name, at)
			}
		}
		if n != 6 {
			return fmt.Errorf("%s's copy has %d meetings instead of 6", u.name, n)
		}
		return nil
	})
	return err
}
