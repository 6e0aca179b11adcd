package calendar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
)

// randomRule makes a rule of any kind that ParseRule accepts.
func randomRule(rng *rand.Rand) string {
	list := func(n, lo, hi int, signed bool) string {
		var out []string
		for range 1 + rng.IntN(n) {
			v := lo + rng.IntN(hi-lo+1)
			if signed && rng.IntN(3) == 0 {
				v = -v
			}
			if !slices.Contains(out, fmt.Sprint(v)) {
				out = append(out, fmt.Sprint(v))
			}
		}
		return strings.Join(out, ",")
	}
	freq := Freq(rng.IntN(7))
	parts := []string{"FREQ=" + freq.String()}
	maybe := func(odds int, name string, value func() string) {
		if rng.IntN(odds) == 0 {
			parts = append(parts, name+"="+value())
		}
	}
	maybe(2, "INTERVAL", func() string { return fmt.Sprint(1 + rng.IntN(20)) })
	maybe(4, "BYMONTH", func() string { return list(4, 1, 12, false) })
	weekNo := false
	if freq == Yearly && rng.IntN(5) == 0 {
		weekNo = true
		parts = append(parts, "BYWEEKNO="+list(4, 1, 53, true))
	}
	if freq != Monthly && freq != Weekly && freq != Daily {
		maybe(6, "BYYEARDAY", func() string { return list(20, 1, 366, true) })
	}
	if freq != Weekly {
		maybe(4, "BYMONTHDAY", func() string { return list(6, 1, 31, true) })
	}
	maybe(3, "BYDAY", func() string {
		var out []string
		numbered := freq <= Monthly && !weekNo && rng.IntN(2) == 0
		for range 1 + rng.IntN(4) {
			n := ""
			if numbered {
				if n = fmt.Sprint(1 + rng.IntN(5)); rng.IntN(3) == 0 {
					n = "-" + n
				}
			}
			out = append(out, n+weekdayCodes[rng.IntN(7)])
		}
		return strings.Join(out, ",")
	})
	maybe(4, "BYHOUR", func() string { return list(4, 0, 23, false) })
	maybe(6, "BYMINUTE", func() string { return list(4, 0, 59, false) })
	maybe(8, "BYSECOND", func() string { return list(3, 0, 59, false) })
	if len(parts) > 2 {
		maybe(4, "BYSETPOS", func() string { return list(3, 1, 4, true) })
	}
	maybe(3, "WKST", func() string { return weekdayCodes[rng.IntN(7)] })
	switch rng.IntN(3) {
	case 0:
		parts = append(parts, "COUNT="+fmt.Sprint(1+rng.IntN(200)))
	case 1:
		parts = append(parts, "UNTIL=20310101T000000Z")
	}
	return strings.Join(parts, ";")
}

// take collects up to n times of a rule.
func take(it *ruleIter, n int) (out []int64) {
	for len(out) < n {
		t, ok := it.next()
		if !ok {
			break
		}
		out = append(out, t)
	}
	return out
}

const plenty = 1 << 40

// TestSeek: what a rule gives from some time on does not depend on whether the
// iterator walked or leapt there.
func TestSeek(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 31))
	start := time.Date(2021, 3, 31, 9, 30, 0, 0, time.UTC).Unix()
	stop := time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for range 1200 {
		text := randomRule(rng)
		r, err := ParseRule(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		stop := stop
		if r.Freq > Daily {
			stop = start + 200*daySeconds
		}
		fresh := func() *ruleIter { return newRuleIter(r, start, false, stop, &Budget{Steps: plenty}) }
		all := take(fresh(), 3000)
		if !slices.IsSortedFunc(all, func(a, b int64) int { return order(a, b) }) {
			t.Fatalf("%s: out of order", text)
		}
		if r.Count > 0 && len(all) < 3000 && len(all) > 0 {
			last, ok := fresh().final()
			if len(all) == r.Count && (!ok || last != all[len(all)-1]) {
				t.Fatalf("%s: final is %v %v, want %v", text, wallTime(last), ok, wallTime(all[len(all)-1]))
			}
		}
		it := fresh()
		from := start
		for range 6 {
			from += rng.Int64N(max(2, (all[len(all)-1]-start)/4))
			i, _ := slices.BinarySearch(all, from)
			if len(all)-i < 5 && len(all) == 3000 {
				break
			}
			it.seek(from)
			want := all[i:min(i+3, len(all))]
			got := take(it, 3)
			if len(all) < 3000 || len(want) == 3 {
				if !slices.Equal(got, want) {
					t.Fatalf("%s: from %v: got %v, want %v", text, wallTime(from), got, want)
				}
			}
			if len(got) > 0 {
				from = max(from, got[len(got)-1]+1)
			}
		}
	}
}

// TestAgainstRRule compares with another implementation where that one keeps
// to the table of RFC 5545.
func TestAgainstRRule(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 1997))
	start := time.Date(2021, 3, 31, 9, 30, 0, 0, time.UTC)
	stop := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	compared := 0
	for range 500 {
		text := randomRule(rng)
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		numbered := slices.ContainsFunc(r.ByDay, func(d RuleDay) bool { return d.N != 0 })
		if r.Freq > Daily || r.ByWeekNo != nil || numbered && (r.ByMonthDay != nil || r.ByYearDay != nil) {
			continue // there it follows other readings
		}
		opt, err := rrule.StrToROption(text)
		if err != nil {
			continue
		}
		opt.Dtstart = start
		other, err := rrule.NewRRule(*opt)
		if err != nil {
			continue
		}
		it := newRuleIter(r, start.Unix(), false, stop, &Budget{Steps: plenty})
		if r.Until.Kind == UTC {
			it.stop = r.Until.Wall.Unix()
		}
		next := other.Iterator()
		// It leaves out DTSTART when that is not on the rule.
		first, ok := next()
		if !ok || !first.Equal(start) {
			continue
		}
		compared++
		got := take(it, 60)
		if len(got) == 0 || got[0] != start.Unix() {
			t.Fatalf("%s: does not begin with DTSTART", text)
		}
		for _, g := range got[1:] {
			if w, ok := next(); !ok || w.Unix() != g {
				t.Fatalf("%s: got %v, want %v %v", text, wallTime(g), w, ok)
			}
		}
	}
	t.Logf("%d rules compared", compared)
}
