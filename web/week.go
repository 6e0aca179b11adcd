package web

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// weekPage is what week.html shows. Below 700 pixels the same days are a list.
type weekPage struct {
	Name               string // ISO 8601 week, 2026-W48
	Range              string // "23 – 29 November 2026"
	Prev, Next         string // ISO weeks
	Current            bool   // this week is shown
	Days               []weekDay
	Hours              []hourMark
	Calendars          []legend
	Zone               string
	NoZone             bool // no calendar says its zone
	ClockChange        bool // summer time begins or ends in this week
	Pending            int  // invitations that wait for an answer
	Held               int  // mails that wait for a decision
	Unreadable         int  // events that could not be shown
	HasAllDay, Crowded bool
	Style              template.CSS
}

type weekDay struct {
	Weekday, Number, Date, Full string
	Today, Past                 bool
	AllDay, Timed               []weekItem
	Now                         bool // the line that marks the present is in this day
}

// weekItem is one event in one day.
type weekItem struct {
	ID, Class, Href string
	Title           string
	When, Until     string // Until: the end, left out where room is scarce
	Where, Words    string // words: what colours and lines say, for everybody
	Continued       bool   // began on an earlier day
}

type hourMark struct {
	ID, Text string
}

type legend struct {
	Title, Class string
}

// rowMinutes is the grain of the week's grid.
const rowMinutes = 5

// maxWeek bounds how many instances one page shows.
const maxWeek = 2000

// entry is one instance that falls into the week.
type entry struct {
	calendar.Instance
	of       *found
	state    []string // CSS classes
	words    []string
	from, to time.Time // clipped to the week
	day      int       // of from
	days     int       // that it touches, for the all-day row
	lane     int
}

// week shows the events of all own calendars from Monday to Sunday.
func (q *request) week() error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	now := q.now().In(sh.zone)
	monday := mondayOf(now)
	this := monday
	if m, ok := parseWeek(q.URL.Query().Get("week"), sh.zone); ok {
		monday = m
	}
	entries, unreadable, err := q.entries(&sh, monday, monday.AddDate(0, 0, 7))
	if err != nil {
		return err
	}
	p := layoutWeek(&sh, monday, now, entries)
	p.Name, p.Prev, p.Next = weekName(monday), weekName(monday.AddDate(0, 0, -7)), weekName(monday.AddDate(0, 0, 7))
	p.Range, p.Current = rangeText(monday, monday.AddDate(0, 0, 6)), monday.Equal(this)
	p.Zone, p.NoZone = zoneText(sh.zone, monday.AddDate(0, 0, 3)), sh.zoneFrom == ""
	_, before := monday.Zone()
	_, after := monday.AddDate(0, 0, 7).Zone()
	p.ClockChange = before != after
	p.Unreadable, p.Crowded = unreadable, len(entries) >= maxWeek
	pending, err := q.pending(&sh)
	if err != nil {
		return err
	}
	p.Pending = len(pending)
	kept, err := q.s.db.ListQuarantine(q.ctx, q.user.ID, 100)
	if err != nil {
		return err
	}
	p.Held = len(kept)
	return q.render(http.StatusOK, "week", "Week of "+p.Range, p)
}

// entries expands what lies in [from, to). What cannot be read is counted and
// never hides the rest.
func (q *request) entries(sh *shelf, from, to time.Time) (out []entry, unreadable int, err error) {
	self := q.self()
	budget := calendar.NewBudget()
	for _, c := range sh.events() {
		for row, err := range q.s.db.Select(q.ctx, c.CollectionKey, storage.ObjectQuery{Components: []string{"VEVENT"}, From: storage.Micros(from), To: storage.Micros(to), Columns: storage.ColumnData}) {
			if err != nil {
				return nil, 0, err
			}
			f, err := q.parse(sh, row)
			if err != nil {
				unreadable++
				continue
			}
			for in, err := range f.object.Instances(f.zones, from, to, budget) {
				if err != nil {
					unreadable++
					break
				}
				if len(out) >= maxWeek {
					return out, unreadable, nil
				}
				out = append(out, entryOf(in, f, self))
			}
		}
	}
	return out, unreadable, nil
}

// entryOf finds out how an instance is to look.
func entryOf(in calendar.Instance, f *found, self calendar.AddressSet) entry {
	e := entry{Instance: in, of: f}
	mark := func(class, words string) {
		e.state = append(e.state, class)
		e.words = append(e.words, words)
	}
	switch strings.ToUpper(in.Component.Value("STATUS")) {
	case "CANCELLED":
		mark("cancelled", "cancelled")
	case "TENTATIVE":
		mark("tentative", "not certain yet")
	}
	if p := attendeeOf(in.Component, self); p != nil && !organizes(in.Component, self) {
		switch partstatOf(p) {
		case "NEEDS-ACTION":
			mark("pending", "invitation, not answered yet")
		case "DECLINED":
			mark("declined", "you declined")
		case "TENTATIVE":
			mark("tentative", "you said maybe")
		}
	}
	return e
}

// recurs reports whether single occurrences of the object have a name.
func recurs(o *calendar.Object) bool {
	for _, c := range o.Components() {
		if c.Prop("RRULE") != nil || c.Prop("RDATE") != nil || c.Prop("RECURRENCE-ID") != nil {
			return true
		}
	}
	return false
}

// eventPath is the page of an event; instance "" is the whole.
func eventPath(calendarName, name, instance string) string {
	p := "/event/" + url.PathEscape(calendarName) + "/" + url.PathEscape(name)
	if instance != "" {
		p += "?instance=" + url.QueryEscape(instance)
	}
	return p
}

func (e *entry) href() string {
	id := ""
	if recurs(e.of.object) {
		id = e.ID.Value()
	}
	return eventPath(e.of.in.Name, e.of.row.Name, id)
}

// layoutWeek places entries: all-day events in lanes across the days, the
// others side by side in the hours that anything happens in.
func layoutWeek(sh *shelf, monday, now time.Time, entries []entry) weekPage {
	var p weekPage
	var css strings.Builder
	for i, c := range sh.calendars {
		fmt.Fprintf(&css, ".c%d{--c:%s}", i, colorOf(c, i))
		if c.Components&storage.CompEvent != 0 {
			p.Calendars = append(p.Calendars, legend{Title: titleOf(c), Class: "c" + strconv.Itoa(i)})
		}
	}
	css.WriteString("@media (min-width:700px){")
	days := make([]time.Time, 8)
	for i := range days {
		days[i] = monday.AddDate(0, 0, i)
	}
	for i := range 7 {
		d := days[i]
		p.Days = append(p.Days, weekDay{Weekday: d.Format("Mon"), Number: d.Format("2"), Date: d.Format(time.DateOnly), Full: d.Format("Monday, 2 January"),
			Today: sameDay(d, now), Past: !days[i+1].After(now)})
	}
	var whole, timed []entry
	for _, e := range entries {
		e.from, e.to = e.Start.In(sh.zone), e.End.In(sh.zone)
		if e.AllDay || e.to.Sub(e.from) >= 24*time.Hour {
			whole = append(whole, e)
		} else {
			timed = append(timed, e)
		}
	}
	placeWhole(&p, &css, days, whole)
	placeTimed(&p, &css, days, timed, now)
	css.WriteString("}")
	p.Style = template.CSS(css.String()) // numbers and checked colours only
	return p
}

// placeWhole fills the all-day row. An event of several days stands in each of
// them, in the same lane.
func placeWhole(p *weekPage, css *strings.Builder, days []time.Time, list []entry) {
	for i := range list {
		e := &list[i]
		for e.day < 6 && !e.from.Before(days[e.day+1]) {
			e.day++
		}
		e.days = 1
		for e.day+e.days < 7 && e.to.After(days[e.day+e.days]) {
			e.days++
		}
	}
	slices.SortStableFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(b.days, a.days), cmp.Compare(summaryOf(a.Component), summaryOf(b.Component)))
	})
	var lanes []int // first free day of each
	for i := range list {
		e := &list[i]
		e.lane = slices.IndexFunc(lanes, func(free int) bool { return free <= e.day })
		if e.lane < 0 {
			e.lane = len(lanes)
			lanes = append(lanes, 0)
		}
		lanes[e.lane] = e.day + e.days
		when := "all day"
		if !e.AllDay {
			when = e.from.Format("Mon 15:04") + " – " + e.to.Format("Mon 15:04")
		}
		for d := e.day; d < e.day+e.days; d++ {
			it := e.item(fmt.Sprintf("a%d-%d", i, d), when)
			it.Continued = d > e.day || e.from.Before(days[0])
			if it.Continued {
				it.Class += " from-before"
			}
			if d < e.day+e.days-1 || e.to.After(days[7]) {
				it.Class += " goes-on"
			}
			fmt.Fprintf(css, "#%s{grid-row:%d;--w:%d}", it.ID, e.lane+1, e.day+e.days-d)
			p.Days[d].AllDay = append(p.Days[d].AllDay, it)
			p.HasAllDay = true
		}
	}
}

func (e *entry) item(id, when string) weekItem {
	return weekItem{ID: id, Class: strings.Join(append([]string{"c" + strconv.Itoa(e.of.index)}, e.state...), " "), Href: e.href(),
		Title: summaryOf(e.Component), When: when, Where: oneLine(e.Component.Text("LOCATION"), 120), Words: strings.Join(e.words, ", ")}
}

// block is the part of a timed entry that lies in one day, in minutes of the
// wall clock.
type block struct {
	*entry
	start, end int
	column     int
}

// Hours that the grid always shows.
const (
	firstHour = 8
	lastHour  = 18
)

func placeTimed(p *weekPage, css *strings.Builder, days []time.Time, list []entry, now time.Time) {
	blocks := make([][]block, 7)
	first, last := firstHour*60, lastHour*60
	for i := range list {
		e := &list[i]
		for d := range 7 {
			if !e.from.Before(days[d+1]) || e.from.Before(days[d]) && !e.to.After(days[d]) {
				continue
			}
			b := block{entry: e}
			if !e.from.Before(days[d]) {
				b.start = e.from.Hour()*60 + e.from.Minute()
			}
			switch {
			case !e.to.Before(days[d+1]):
				b.end = 24 * 60
			default:
				b.end = e.to.Hour()*60 + e.to.Minute()
				if length := int(e.to.Sub(e.from) / time.Minute); b.end <= b.start && !e.from.Before(days[d]) { // clocks went back meanwhile, or no length
					b.end = b.start + length
				}
			}
			b.end = min(max(b.end, b.start+20), 24*60) // room for the title
			b.start = min(b.start, b.end-20)
			first, last = min(first, b.start), max(last, b.end)
			blocks[d] = append(blocks[d], b)
		}
	}
	first, last = first/60*60, (last+59)/60*60
	rows := (last - first) / rowMinutes
	fmt.Fprintf(css, ".times{grid-template-rows:repeat(%d,var(--row))}", rows)
	line := func(minute int) int { return (minute-first)/rowMinutes + 1 }
	for h := first / 60; h < last/60; h++ {
		id := fmt.Sprintf("h%d", h)
		p.Hours = append(p.Hours, hourMark{ID: id, Text: fmt.Sprintf("%02d:00", h)})
		fmt.Fprintf(css, "#%s{grid-row:%d/%d}", id, line(h*60), line(h*60+60))
	}
	for d := range 7 {
		arrange(blocks[d], func(b block, columns int) {
			it := b.item(fmt.Sprintf("e%d-%d", d, len(p.Days[d].Timed)), b.from.Format("15:04"))
			if b.to.After(b.from) {
				it.Until = " – " + b.to.Format("15:04")
			}
			it.Continued = b.from.Before(days[d])
			if b.end-b.start < 40 {
				it.Class += " short"
			}
			if columns > 1 {
				it.Class += " tight"
			}
			fmt.Fprintf(css, "#%s{grid-row:%d/%d;--l:%d;--n:%d}", it.ID, line(b.start), line(b.end+rowMinutes-1), b.column, columns)
			p.Days[d].Timed = append(p.Days[d].Timed, it)
		})
		if minute := now.Hour()*60 + now.Minute(); p.Days[d].Today && minute >= first && minute < last {
			p.Days[d].Now = true
			fmt.Fprintf(css, "#now{grid-row:%d}", line(minute))
		}
	}
}

// arrange gives overlapping blocks of a day columns side by side and calls put
// for each in the order of time.
func arrange(list []block, put func(b block, columns int)) {
	slices.SortStableFunc(list, func(a, b block) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(summaryOf(a.Component), summaryOf(b.Component)))
	})
	for len(list) > 0 {
		var free []int // when each column is free again
		end, n := 0, 0
		for n < len(list) && (n == 0 || list[n].start < end) {
			b := &list[n]
			b.column = slices.IndexFunc(free, func(t int) bool { return t <= b.start })
			if b.column < 0 {
				b.column = len(free)
				free = append(free, 0)
			}
			free[b.column] = b.end
			end = max(end, b.end)
			n++
		}
		for _, b := range list[:n] {
			put(b, len(free))
		}
		list = list[n:]
	}
}

// mondayOf is the midnight that the week of t begins with, in t's zone.
func mondayOf(t time.Time) time.Time {
	back := (int(t.Weekday()) + 6) % 7
	return time.Date(t.Year(), t.Month(), t.Day()-back, 0, 0, 0, 0, t.Location())
}

func weekName(monday time.Time) string {
	y, w := monday.ISOWeek()
	return fmt.Sprintf("%04d-W%02d", y, w)
}

// parseWeek reads an ISO 8601 week as its Monday.
func parseWeek(text string, zone *time.Location) (time.Time, bool) {
	y, w, ok := strings.Cut(text, "-W")
	year, err := strconv.Atoi(y)
	week, err2 := strconv.Atoi(w)
	if !ok || err != nil || err2 != nil || year < 1900 || year > 2200 || week < 1 || week > 53 {
		return time.Time{}, false
	}
	monday := mondayOf(time.Date(year, 1, 4, 0, 0, 0, 0, zone)).AddDate(0, 0, 7*(week-1)) // 4 January is in week 1
	if got, _ := monday.ISOWeek(); got != year {
		return time.Time{}, false // the year has no week 53
	}
	return monday, true
}

// rangeText names the days of a week.
func rangeText(a, b time.Time) string {
	switch {
	case a.Year() != b.Year():
		return a.Format("2 January 2006") + " – " + b.Format("2 January 2006")
	case a.Month() != b.Month():
		return a.Format("2 January") + " – " + b.Format("2 January 2006")
	}
	return a.Format("2") + " – " + b.Format("2 January 2006")
}
