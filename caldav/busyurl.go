package caldav

import (
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// busyName is the address in each home at which programs without CalDAV read when
// its owner is busy (CalConnect's Freebusy Read URL): a GET, with start, end and
// period in the query. A calendar of that name made long ago goes before it.
const busyName = "freebusy"

// busyDefault is what a question without an end covers, busyMost the longest one.
const (
	busyDefault = 42 * 24 * time.Hour
	busyMost    = 5 * 366 * 24 * time.Hour
)

// getBusy answers GET of a free/busy URL.
func (q *request) getBusy() error {
	from, to, err := q.busyRange()
	if err != nil {
		return err
	}
	return q.answerBusy(from, to)
}

// busyRange reads the range of the question: start is today when it is missing,
// and of end and period only one is given.
func (q *request) busyRange() (from, to time.Time, err error) {
	ask := q.r.URL.Query()
	bad := func(msg string) (time.Time, time.Time, error) { return from, to, badRequest(msg) }
	from = q.now().UTC().Truncate(24 * time.Hour)
	if s := ask.Get("start"); s != "" {
		if from, err = busyInstant(s); err != nil {
			return bad("start is a date or a time, as 2026-01-31 or 2026-01-31T09:00:00Z")
		}
	}
	to = from.Add(busyDefault)
	end, period := ask.Get("end"), ask.Get("period")
	switch {
	case end != "" && period != "":
		return bad("of end and period only one can be given")
	case end != "":
		if to, err = busyInstant(end); err != nil {
			return bad("end is a date or a time, as 2026-01-31 or 2026-01-31T09:00:00Z")
		}
	case period != "":
		d, err := calendar.ParseDuration(period)
		if err != nil {
			return bad("period is a duration, as P7D")
		}
		to = from.Add(d.Nominal())
	}
	if !to.After(from) || to.Sub(from) > busyMost {
		return bad("the end comes after the start, within five years")
	}
	return from, to, nil
}

func busyInstant(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly, "20060102T150405Z", "20060102"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, badRequest("no time")
}
