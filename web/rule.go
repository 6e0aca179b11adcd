package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// ruleText says in words how an event repeats; rules that need more than a
// short sentence are only named.
func ruleText(value string, zone *time.Location) string {
	r, err := calendar.ParseRule(value)
	if err != nil {
		return "by a rule that this page cannot read"
	}
	units := map[calendar.Freq]string{calendar.Yearly: "year", calendar.Monthly: "month", calendar.Weekly: "week", calendar.Daily: "day",
		calendar.Hourly: "hour", calendar.Minutely: "minute", calendar.Secondly: "second"}
	text := "every " + units[r.Freq]
	if r.Interval > 1 {
		text = fmt.Sprintf("every %d %ss", r.Interval, units[r.Freq])
	}
	var days []string
	for _, d := range r.ByDay {
		days = append(days, ordinal(d.N)+d.Day.String())
	}
	if len(days) > 0 {
		text += " on " + list(days)
	}
	if len(r.ByMonthDay) > 0 {
		var n []string
		for _, d := range r.ByMonthDay {
			if d < 0 {
				n = append(n, strings.TrimSpace(ordinal(d))+" day")
			} else {
				n = append(n, fmt.Sprintf("day %d", d))
			}
		}
		text += " on " + list(n)
	}
	if len(r.ByMonth) > 0 {
		var n []string
		for _, m := range r.ByMonth {
			n = append(n, time.Month(m).String())
		}
		text += " in " + list(n)
	}
	if len(r.ByWeekNo)+len(r.ByYearDay) > 0 || strings.Contains(strings.ToUpper(value), "BYSETPOS") {
		text += ", on certain days"
	}
	if r.Count > 0 {
		text += ", " + plural(r.Count, "time")
	}
	if !r.Until.IsZero() {
		last := r.Until.Wall
		if r.Until.Kind == calendar.UTC {
			last = last.In(zone)
		}
		text += ", until " + last.Format("2 January 2006")
	}
	return text
}

func ordinal(n int) string {
	words := map[int]string{0: "", 1: "the first ", 2: "the second ", 3: "the third ", 4: "the fourth ", 5: "the fifth ", -1: "the last ", -2: "the last but one "}
	if w, ok := words[n]; ok {
		return w
	}
	if n < 0 {
		return fmt.Sprintf("number %d from the end ", -n)
	}
	return fmt.Sprintf("number %d ", n)
}

// list joins words as a sentence does; long lists are cut.
func list(words []string) string {
	if len(words) > 7 {
		words = append(words[:6:6], "others")
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
