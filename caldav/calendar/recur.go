package calendar

import (
	"math"
	"math/bits"
	"slices"
	"sort"
	"time"
)

// spend takes n steps from the budget.
func (b *Budget) spend(n int) error {
	if b.Steps -= n; b.Steps < 0 {
		return fail(CodeBudget, 0, "the recurrence rules need more work than one request may cause")
	}
	return nil
}

// produce takes one instance from the budget.
func (b *Budget) produce() error {
	if b.Instances--; b.Instances < 0 {
		return fail(CodeMaxInstances, 0, "more instances than one request may ask for")
	}
	return nil
}

// write takes n octets of output from the budget (abuse case A06).
func (b *Budget) write(n int) error {
	if b.Bytes == 0 {
		b.Bytes = DefaultBytes
	}
	if b.Bytes -= n; b.Bytes <= 0 {
		b.Bytes = -1
		return fail(CodeBudget, 0, "the expanded instances are more data than one request may ask for")
	}
	return nil
}

// lastWall is the last second of the year 9999, where every rule ends.
var lastWall = int64(dayNumber(10000, 1, 1))*daySeconds - 1

// ruleIter yields the times of one rule in order: first DTSTART itself, then
// what the rule makes after it. Times are seconds of the wall clock (civil
// fields read as if they were UTC); zones are the caller's business.
//
// The unit of work is the period (a year, month, week, day, hour, minute or
// second, by FREQ). The candidates of a period are its days times the hours,
// minutes and seconds; they are numbered, never listed, so a rule with
// millions of candidates a year needs no memory.
type ruleIter struct {
	r     *Rule
	b     *Budget
	start int64 // DTSTART
	stop  int64 // nothing later is wanted
	left  int64 // what COUNT still allows
	last  int64 // last time given or passed by seek
	err   error

	begun bool  // DTSTART was given
	base  int64 // period 0: the year, the months since year 0, or the second it starts
	step  int64 // from one period to the next, in the unit of base
	k     int64 // the loaded period
	ready bool  // a period is loaded
	days  []int // its days
	n     int64 // next candidate
	picks []int64
	total int64 // candidates before BYSETPOS
	clock int64 // candidates of one day

	hours, minutes, seconds []int // expanding lists
	one                     [3]int

	months           uint16 // bit m
	mdays, mdaysBack uint32 // bit d: day d, d-th day from the end
	wdays            uint8  // bit: weekday
	nth              []RuleDay
	nthDays          uint8 // bit: weekday of nth
	anyDay           bool  // BYDAY is present
	hourMask         uint32
	minuteMask       uint64
	secondMask       uint64
	day              int // memo of dayMatches
	dayOK, dayKnown  bool
}

// newRuleIter prepares the rule r of a component that starts at start (wall
// seconds). date: the values are DATEs, so BYHOUR, BYMINUTE and BYSECOND are
// ignored (RFC 5545 §3.3.10). stop is the last time wanted.
func newRuleIter(r *Rule, start int64, date bool, stop int64, b *Budget) *ruleIter {
	it := &ruleIter{r: r, b: b, start: start, stop: min(stop, lastWall), left: math.MaxInt64, last: start - 1}
	if r.Count > 0 {
		it.left = int64(r.Count)
	}
	startDay := int(floorDiv64(start, daySeconds))
	tod := int(start - int64(startDay)*daySeconds)
	y, m, d := dayDate(startDay)
	it.one = [3]int{tod / 3600, tod / 60 % 60, tod % 60}
	it.hours, it.minutes, it.seconds = it.one[0:1], it.one[1:2], it.one[2:3]
	if !date {
		if r.Freq <= Daily && r.ByHour != nil {
			it.hours = r.ByHour
		}
		if r.Freq <= Hourly && r.ByMinute != nil {
			it.minutes = r.ByMinute
		}
		if r.Freq <= Minutely && r.BySecond != nil {
			it.seconds = r.BySecond
		}
		it.hourMask = uint32(maskOf(r.ByHour))
		it.minuteMask = maskOf(r.ByMinute)
		it.secondMask = maskOf(r.BySecond)
	} else if r.Freq > Daily {
		it.left = 1 // a DATE has no hours to repeat in
	}
	it.months = uint16(maskOf(r.ByMonth))
	for _, v := range r.ByMonthDay {
		if v > 0 {
			it.mdays |= 1 << v
		} else {
			it.mdaysBack |= 1 << -v
		}
	}
	for _, v := range r.ByDay {
		it.anyDay = true
		if v.N == 0 {
			it.wdays |= 1 << v.Day
		} else {
			it.nth = append(it.nth, v)
			it.nthDays |= 1 << v.Day
		}
	}

	it.step = int64(r.Interval)
	switch r.Freq {
	case Yearly:
		it.base = int64(y)
		// RFC 5545 §3.3.10: what the rule leaves out comes from DTSTART.
		if r.ByWeekNo != nil && !it.anyDay && r.ByMonthDay == nil && r.ByYearDay == nil {
			it.wdays, it.anyDay = 1<<weekday(startDay), true
		} else if r.ByMonthDay == nil && r.ByYearDay == nil && r.ByWeekNo == nil && !it.anyDay {
			it.mdays = 1 << d
			if it.months == 0 {
				it.months = 1 << m
			}
		}
	case Monthly:
		it.base = int64(y)*12 + int64(m) - 1
		if r.ByMonthDay == nil && !it.anyDay {
			it.mdays = 1 << d
		}
	case Weekly:
		if !it.anyDay {
			it.wdays, it.anyDay = 1<<weekday(startDay), true
		}
		it.base = int64(startDay-floorMod(weekday(startDay)-int(r.WeekStart), 7)) * daySeconds
		it.step *= 7 * daySeconds
	case Daily:
		it.base, it.step = int64(startDay)*daySeconds, it.step*daySeconds
	case Hourly:
		it.base, it.step = start-int64(tod%3600), it.step*3600
	case Minutely:
		it.base, it.step = start-int64(tod%60), it.step*60
	case Secondly:
		it.base = start
	}
	return it
}

func maskOf(values []int) (m uint64) {
	for _, v := range values {
		m |= 1 << v
	}
	return m
}

// next is the next time of the rule; false at its end, after stop, or when the
// budget ran out (err is set then).
func (it *ruleIter) next() (int64, bool) {
	if it.left <= 0 || it.err != nil {
		return 0, false
	}
	if it.err = it.b.spend(1); it.err != nil {
		return 0, false
	}
	// RFC 5545 §3.8.5.3: DTSTART is the first instance, and COUNT counts it.
	if !it.begun {
		it.begun, it.last = true, it.start
		it.left--
		return it.start, it.start <= it.stop
	}
	for !it.ready || it.n >= it.size() {
		if !it.load(it.following()) {
			it.left = 0
			return 0, false
		}
	}
	t := it.at(it.n)
	if t > it.stop {
		it.left = 0
		return 0, false
	}
	it.n++
	it.left--
	it.last = t
	return t, true
}

// following is the number of the period after the loaded one.
func (it *ruleIter) following() int64 {
	if !it.ready {
		return 0
	}
	return it.k + 1
}

// seek passes over everything before t. Without COUNT that is arithmetic; with
// COUNT the passed periods are counted, in runs where they are all alike.
func (it *ruleIter) seek(t int64) {
	if it.left <= 0 || it.err != nil || t <= it.last+1 {
		return
	}
	if !it.begun {
		if t <= it.start {
			return
		}
		it.begun, it.last = true, it.start
		if it.left--; it.left <= 0 {
			return
		}
	}
	k := it.periodOf(t)
	if it.r.Skip == SkipForward {
		k-- // a month's missing day may have become the next month's first
	}
	if it.r.Count == 0 {
		if !it.ready || k > it.k {
			it.last = t - 1
			if !it.load(max(k, 0)) {
				it.left = 0
			}
			return
		}
	} else {
		if !it.ready && !it.load(0) {
			it.left = 0
			return
		}
		for it.k < k {
			if it.left -= it.size() - it.n; it.left <= 0 {
				return
			}
			like, each := it.alike()
			like = min(like, k-1-it.k)
			if like > 0 && each > 0 && like >= (it.left+each-1)/each {
				it.left = 0
				return
			}
			it.left -= like * each
			if !it.load(it.k + 1 + like) {
				it.left = 0
				return
			}
		}
	}
	if n := it.search(t); n > it.n {
		it.left -= n - it.n
		it.n = n
	}
	it.last = max(it.last, t-1)
}

// final is the last time of a rule with COUNT; false when that is not to be
// known: the years or the budget end before.
func (it *ruleIter) final() (int64, bool) {
	if !it.begun {
		it.begun, it.last = true, it.start
		it.left--
	}
	for it.left > 0 {
		if !it.ready || it.n >= it.size() {
			if !it.load(it.following()) {
				return it.last, false
			}
		}
		rest := it.size() - it.n
		if it.left <= rest {
			it.last = it.at(it.n + it.left - 1)
			break
		}
		it.left -= rest
		it.last = it.at(it.size() - 1)
		like, each := it.alike()
		like = min(like, (it.left-1)/max(each, 1))
		it.left -= like * each
		if !it.load(it.k + 1 + like) {
			return it.last, false
		}
	}
	return it.last, true
}

// alike says how many of the following periods surely have as many
// candidates as the loaded one.
func (it *ruleIter) alike() (periods, each int64) {
	r := it.r
	each = it.size()
	limited := r.ByMonth != nil || r.ByMonthDay != nil || r.ByYearDay != nil || it.anyDay
	switch r.Freq {
	case Yearly:
		return 0, each
	case Monthly:
		const short = 1<<29 - 1 // days that every month has
		if r.ByMonth == nil && !it.anyDay && it.mdays <= short && it.mdaysBack <= short && (it.mdays == 0 || it.mdaysBack == 0) {
			return math.MaxInt32, each
		}
		return 0, each
	case Weekly:
		if r.ByMonth == nil {
			return math.MaxInt32, each
		}
		return 0, each
	case Daily:
		if !limited {
			return math.MaxInt32, each
		}
		return 0, each
	}
	// Below a day: periods are alike up to the end of the day or hour in
	// which a limiting part may change its mind.
	t := it.base + it.k*it.step
	end := int64(math.MaxInt64)
	switch {
	case r.Freq == Secondly && it.secondMask != 0 || r.Freq >= Minutely && it.minuteMask != 0:
		return 0, each
	case it.hourMask != 0:
		end = (floorDiv64(t, 3600) + 1) * 3600
	case limited:
		end = (floorDiv64(t, daySeconds) + 1) * daySeconds
	default:
		return math.MaxInt32 * 1000, each
	}
	return (end - 1 - t) / it.step, each
}

// periodOf is the number of the period that holds t.
func (it *ruleIter) periodOf(t int64) int64 {
	switch it.r.Freq {
	case Yearly, Monthly:
		y, m, _ := dayDate(int(floorDiv64(t, daySeconds)))
		if it.r.Freq == Yearly {
			return floorDiv64(int64(y)-it.base, it.step)
		}
		return floorDiv64(int64(y)*12+int64(m)-1-it.base, it.step)
	}
	return floorDiv64(t-it.base, it.step)
}

// size is the number of candidates of the loaded period.
func (it *ruleIter) size() int64 {
	if it.r.BySetPos != nil {
		return int64(len(it.picks))
	}
	return it.total
}

// at is the i-th candidate of the loaded period.
func (it *ruleIter) at(i int64) int64 {
	if it.r.BySetPos != nil {
		i = it.picks[i]
	}
	day, rest := i/it.clock, i%it.clock
	s := rest % int64(len(it.seconds))
	rest /= int64(len(it.seconds))
	m, h := rest%int64(len(it.minutes)), rest/int64(len(it.minutes))
	return int64(it.days[day])*daySeconds + int64(it.hours[h]*3600+it.minutes[m]*60+it.seconds[s])
}

// search is the number of the first candidate that is not before t.
func (it *ruleIter) search(t int64) int64 {
	return int64(sort.Search(int(it.size()), func(i int) bool { return it.at(int64(i)) >= t }))
}

// load loads the first period from number k on that has candidates.
func (it *ruleIter) load(k int64) bool {
	for ; ; k++ {
		if it.err = it.b.spend(1); it.err != nil {
			return false
		}
		var found bool
		if k, found = it.fill(k); k < 0 {
			return false
		}
		if found && it.arrange(k) {
			return true
		}
	}
}

// arrange counts the candidates of the period just filled and passes those
// already given; false when it has none left.
func (it *ruleIter) arrange(k int64) bool {
	it.k, it.ready, it.n = k, true, 0
	it.clock = int64(len(it.hours) * len(it.minutes) * len(it.seconds))
	it.total = int64(len(it.days)) * it.clock
	if it.r.BySetPos != nil {
		it.picks = it.picks[:0]
		for _, p := range it.r.BySetPos {
			i := int64(p) - 1
			if p < 0 {
				i = it.total + int64(p)
			}
			if i >= 0 && i < it.total {
				it.picks = append(it.picks, i)
			}
		}
		slices.Sort(it.picks)
		it.picks = slices.Compact(it.picks)
	}
	if it.size() == 0 {
		return false
	}
	if it.at(0) <= it.last {
		it.n = it.search(it.last + 1)
	}
	return it.n < it.size()
}

// fill puts the days (and below a day: the hour, minute, second) of period k,
// or of the next one worth a look, into it. It answers the period's number,
// negative after the end.
func (it *ruleIter) fill(k int64) (int64, bool) {
	it.days = it.days[:0]
	switch it.r.Freq {
	case Yearly:
		y := it.base + k*it.step
		if y > 9999 || int64(dayNumber(int(y), 1, 1))*daySeconds > it.stop {
			return -1, false
		}
		if it.err = it.b.spend(10); it.err != nil {
			return -1, false
		}
		it.fillYear(int(y))
	case Monthly:
		i := it.base + k*it.step
		y, m := int(i/12), int(i%12)+1
		if y > 9999 || int64(dayNumber(y, m, 1))*daySeconds > it.stop {
			return -1, false
		}
		if it.months == 0 || it.months&(1<<m) != 0 {
			it.fillMonth(y, m)
		}
	case Weekly:
		t := it.base + k*it.step
		if t > it.stop {
			return -1, false
		}
		first := int(floorDiv64(t, daySeconds))
		for day := first; day < first+7; day++ {
			if it.wdays&(1<<weekday(day)) != 0 && it.monthOf(day) {
				it.days = append(it.days, day)
			}
		}
	case Daily:
		t := it.base + k*it.step
		if t > it.stop {
			return -1, false
		}
		day := int(t / daySeconds)
		if t < 0 {
			day = int(floorDiv64(t, daySeconds))
		}
		if !it.monthOf(day) {
			return it.before(it.nextMonth(day), k), false
		}
		if it.dayMatches(day) {
			it.days = append(it.days, day)
		}
	default:
		return it.fillClock(k)
	}
	return k, len(it.days) > 0
}

// before is the number of the last period that starts before t, at least k.
func (it *ruleIter) before(t, k int64) int64 {
	return max(k, floorDiv64(t-1-it.base, it.step))
}

// monthOf reports whether BYMONTH allows the day.
func (it *ruleIter) monthOf(day int) bool {
	if it.months == 0 {
		return true
	}
	_, m, _ := dayDate(day)
	return it.months&(1<<m) != 0
}

// nextMonth is the first second of the next month that BYMONTH allows.
func (it *ruleIter) nextMonth(day int) int64 {
	y, m, _ := dayDate(day)
	for {
		if m++; m > 12 {
			y, m = y+1, 1
		}
		if it.months&(1<<m) != 0 {
			return int64(dayNumber(y, m, 1)) * daySeconds
		}
	}
}

// dayMatches tests the limiting day parts of FREQ=DAILY and shorter.
func (it *ruleIter) dayMatches(day int) bool {
	if it.dayKnown && it.day == day {
		return it.dayOK
	}
	it.day, it.dayKnown = day, true
	it.dayOK = !it.anyDay || it.wdays&(1<<weekday(day)) != 0
	if it.dayOK && (it.mdays|it.mdaysBack != 0 || it.r.ByYearDay != nil) {
		y, m, d := dayDate(day)
		it.dayOK = it.monthDay(d, monthDays(y, m)) && it.yearDay(day-dayNumber(y, 1, 1)+1, yearDays(y))
	}
	return it.dayOK
}

func (it *ruleIter) monthDay(d, length int) bool {
	return it.mdays|it.mdaysBack == 0 || it.mdays&(1<<d) != 0 || it.mdaysBack&(1<<(length-d+1)) != 0
}

func (it *ruleIter) yearDay(d, length int) bool {
	if it.r.ByYearDay == nil {
		return true
	}
	return contains(it.r.ByYearDay, d) || contains(it.r.ByYearDay, d-length-1)
}

func contains(sorted []int, v int) bool {
	_, ok := slices.BinarySearch(sorted, v)
	return ok
}

// weekDay tests BYDAY; pos and length are those of the day in the month or
// year that numbered values count in.
func (it *ruleIter) weekDay(day, pos, length int) bool {
	if !it.anyDay {
		return true
	}
	wd := weekday(day)
	if it.wdays&(1<<wd) != 0 {
		return true
	}
	if it.nthDays&(1<<wd) == 0 {
		return false
	}
	for _, v := range it.nth {
		if int(v.Day) == wd && (v.N == (pos-1)/7+1 || v.N == -((length-pos)/7+1)) {
			return true
		}
	}
	return false
}

// fillYear: RFC 5545 §3.3.10, column YEARLY. All day parts limit each other;
// numbered BYDAY values count within the month when BYMONTH is present.
func (it *ruleIter) fillYear(y int) {
	jan1, length := dayNumber(y, 1, 1), yearDays(y)
	first := jan1
	for m := 1; m <= 12; m++ {
		n := monthDays(y, m)
		if it.months == 0 || it.months&(1<<m) != 0 {
			for d := 1; d <= n; d++ {
				day := first + d - 1
				if !it.monthDay(d, n) {
					continue
				}
				pos, of := day-jan1+1, length
				if it.r.ByMonth != nil {
					pos, of = d, n
				}
				if it.weekDay(day, pos, of) && it.yearDay(day-jan1+1, length) && it.weekNo(y, day) {
					it.days = append(it.days, day)
				}
			}
			it.skipped(first, n)
		}
		first += n
	}
}

// fillMonth: RFC 5545 §3.3.10, column MONTHLY.
func (it *ruleIter) fillMonth(y, m int) {
	first, n := dayNumber(y, m, 1), monthDays(y, m)
	for d := 1; d <= n; d++ {
		if it.monthDay(d, n) && it.weekDay(first+d-1, d, n) {
			it.days = append(it.days, first+d-1)
		}
	}
	it.skipped(first, n)
}

// skipped adds what SKIP makes of the days that the month lacks (RFC 7529 §4.1).
func (it *ruleIter) skipped(first, n int) {
	if it.r.Skip == SkipOmit || bits.Len32(it.mdays) <= n+1 {
		return
	}
	day := first + n - 1
	if it.r.Skip == SkipForward {
		day++
	}
	if it.anyDay && it.wdays&(1<<weekday(day)) == 0 {
		return
	}
	if len(it.days) == 0 || it.days[len(it.days)-1] < day {
		it.days = append(it.days, day)
	}
}

// weekNo tests BYWEEKNO. Week 1 is the first with four days in the year; days
// of a neighbour year's weeks are counted in those.
func (it *ruleIter) weekNo(y, day int) bool {
	if it.r.ByWeekNo == nil {
		return true
	}
	first := it.weekOne(y)
	if day < first {
		y--
		first = it.weekOne(y)
	}
	after := it.weekOne(y + 1)
	if day >= after {
		y++
		first, after = after, it.weekOne(y+1)
	}
	n := (day-first)/7 + 1
	return contains(it.r.ByWeekNo, n) || contains(it.r.ByWeekNo, n-(after-first)/7-1)
}

// weekOne is the day that week 1 of the year begins with.
func (it *ruleIter) weekOne(y int) int {
	jan1 := dayNumber(y, 1, 1)
	off := floorMod(weekday(jan1)-int(it.r.WeekStart), 7)
	if off <= 3 {
		return jan1 - off
	}
	return jan1 + 7 - off
}

// fillClock: RFC 5545 §3.3.10, columns HOURLY, MINUTELY and SECONDLY. What
// cannot match is leapt over: to the next month, day, hour, minute or second.
func (it *ruleIter) fillClock(k int64) (int64, bool) {
	t := it.base + k*it.step
	if t > it.stop {
		return -1, false
	}
	day := int(floorDiv64(t, daySeconds))
	midnight := int64(day) * daySeconds
	tod := int(t - midnight)
	h, m, s := tod/3600, tod/60%60, tod%60
	switch {
	case !it.monthOf(day):
		return it.before(it.nextMonth(day), k), false
	case !it.dayMatches(day):
		return it.before(midnight+daySeconds, k), false
	case it.hourMask != 0 && it.hourMask&(1<<h) == 0:
		return it.before(midnight+int64(nextBit(uint64(it.hourMask), h, 24))*3600, k), false
	case it.r.Freq >= Minutely && it.minuteMask != 0 && it.minuteMask&(1<<m) == 0:
		return it.before(midnight+int64(h*3600+nextBit(it.minuteMask, m, 60)*60), k), false
	case it.r.Freq == Secondly && it.secondMask != 0 && it.secondMask&(1<<s) == 0:
		return it.before(midnight+int64(h*3600+m*60+nextBit(it.secondMask, s, 60)), k), false
	}
	it.days = append(it.days, day)
	it.one[0] = h
	if it.r.Freq >= Minutely {
		it.one[1] = m
	}
	if it.r.Freq == Secondly {
		it.one[2] = s
	}
	return k, true
}

// nextBit is the lowest bit set in mask above i, or end.
func nextBit(mask uint64, i, end int) int {
	return min(bits.TrailingZeros64(mask&^(1<<(i+1)-1)), end)
}

// wallTime are the civil fields that ruleIter counts as seconds.
func wallTime(s int64) time.Time { return time.Unix(s, 0).UTC() }
