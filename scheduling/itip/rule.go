package itip

import (
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// ruleText is the meaning of a rule that stands in c: equal texts give equal
// instances.
func (s *series) ruleText(c *calendar.Component, p *calendar.Property) string {
	if r := s.rule(c, p); r != nil {
		return r.String()
	}
	return strings.ToUpper(strings.TrimSpace(p.Value()))
}

// rule is a rule that stands in c, with the parts that DTSTART stands for where they
// are left out, and without those that change nothing (RFC 5545 §3.3.10): programs
// write and drop them as they store an event. Nil when it cannot be read.
func (s *series) rule(c *calendar.Component, p *calendar.Property) *calendar.Rule {
	r, err := calendar.ParseRule(strings.TrimSpace(p.Value()))
	if err != nil {
		return nil
	}
	start, err := calendar.ParseDateTime(orEmpty(s.startOf(c)))
	if err != nil {
		return r
	}
	at := start.Wall
	none := func(lists ...[]int) bool {
		return !slices.ContainsFunc(lists, func(l []int) bool { return len(l) > 0 })
	}
	if len(r.BySetPos) == 0 && r.Skip == calendar.SkipOmit {
		switch {
		case r.Freq == calendar.Weekly && len(r.ByDay) == 0:
			r.ByDay = []calendar.RuleDay{{Day: at.Weekday()}}
		case r.Freq == calendar.Monthly && len(r.ByDay) == 0 && none(r.ByMonthDay):
			r.ByMonthDay = []int{at.Day()}
		case r.Freq == calendar.Yearly && len(r.ByDay) == 0 && none(r.ByWeekNo, r.ByYearDay, r.ByMonthDay):
			if none(r.ByMonth) {
				r.ByMonth = []int{int(at.Month())}
			}
			r.ByMonthDay = []int{at.Day()}
		}
	}
	if r.Freq <= calendar.Daily && start.Kind != calendar.Date {
		drop := func(list *[]int, v int) {
			if len(*list) == 1 && (*list)[0] == v {
				*list = nil
			}
		}
		drop(&r.ByHour, at.Hour())
		drop(&r.ByMinute, at.Minute())
		drop(&r.BySecond, at.Second())
	}
	oneDay := len(r.ByDay) == 1 && r.ByDay[0] == calendar.RuleDay{Day: at.Weekday()}
	if none(r.ByWeekNo) && (r.Freq != calendar.Weekly || r.Interval == 1 || oneDay) {
		r.WeekStart = time.Monday
	}
	return r
}

// sameRules tells whether the rules of two components give the same instances.
func sameRules(a *series, ac *calendar.Component, b *series, bc *calendar.Component, name string) bool {
	ar, br := ac.All(name), bc.All(name)
	if len(ar) != len(br) {
		return false
	}
	for i := range ar {
		if a.ruleText(ac, ar[i]) != b.ruleText(bc, br[i]) && !(a.cutsShort(ac, ar[i], br[i]) && b.cutsShort(bc, br[i], ar[i])) {
			return false
		}
	}
	return true
}

// cutsShort tells whether the rule new is old with an earlier end, or the same end
// said in another way: all that takes place under new took place at the same time
// under old.
func (s *series) cutsShort(c *calendar.Component, old, new *calendar.Property) bool {
	a, b := s.rule(c, old), s.rule(c, new)
	if a == nil || b == nil {
		return false
	}
	ac, bc := *a, *b
	ac.Count, ac.Until, bc.Count, bc.Until = 0, calendar.DateTime{}, 0, calendar.DateTime{}
	switch {
	case ac.String() != bc.String() || b.Count == 0 && b.Until.IsZero():
		return false
	case a.Count == 0 && a.Until.IsZero():
		return true
	case a.Count > 0 && b.Count > 0:
		return b.Count <= a.Count
	}
	alone := &calendar.Component{Name: c.Name, Props: []*calendar.Property{new}}
	for _, p := range c.Props {
		if n := p.Name(); n == "DTSTART" || n == "DUE" {
			alone.Props = append(alone.Props, p)
		}
	}
	probe := &calendar.Object{Component: &calendar.Component{Name: "VCALENDAR", Children: append(zonesOf(s.o), alone)}}
	var from time.Time
	if !a.Until.IsZero() {
		from = s.instant(a.Until).AddDate(0, 0, -3)
	}
	n := 0
	for i, err := range probe.Instances(s.z, from, time.Time{}, s.budget) {
		if n++; err != nil || a.Count > 0 && n > a.Count || !a.Until.IsZero() && s.beyond(i.ID, a.Until) {
			return false
		}
	}
	return true
}

// beyond tells whether an instance comes after UNTIL. A date includes the whole day.
func (s *series) beyond(id, until calendar.DateTime) bool {
	switch {
	case until.Kind == calendar.Date:
		return id.Wall.Truncate(24 * time.Hour).After(until.Wall)
	case id.Kind == calendar.Date || until.Kind == calendar.Floating:
		return id.Wall.After(until.Wall)
	}
	return s.instant(id).After(s.instant(until))
}
