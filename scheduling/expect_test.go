package scheduling_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

func (s *script) expect(what string, f []string, opt map[string]string) {
	s.t.Helper()
	switch what {
	case "copy": // copy USER UID FILE|none
		row := s.w.row(f[0], f[1])
		switch {
		case f[2] == "none" && row != nil:
			s.fail("%s has\n%s", f[0], normal(s.w.parse(row.Data)))
		case f[2] == "none":
		case row == nil:
			s.fail("%s has no copy", f[0])
		default:
			s.compare(f[2], s.w.parse(row.Data))
		}
	case "line": // line USER UID LINE [instance=…]: the short form has this line; not-line: it has not
		s.hasLine(f, true)
	case "not-line":
		s.hasLine(f, false)
	case "where": // where USER UID COLLECTION
		row := s.must(f[0], "@"+f[1])
		if k := s.w.key(f[0], f[2]+"/x"); k.CollectionKey != row.CollectionKey {
			s.fail("the copy is elsewhere")
		}
	case "count": // count USER COLLECTION N
		n := 0
		for _, err := range s.w.db.List(bg, s.w.key(f[0], f[1]+"/x").CollectionKey, storage.ColumnsMeta) {
			s.check(err)
			n++
		}
		s.equal(fmt.Sprint(n), f[2])
	case "inbox": // inbox USER none|METHOD...: items that came since the last look
		s.equal(s.newItems(f[0]), strings.Join(f[1:], " "))
	case "item": // item USER FILE: the newest inbox item
		items := s.w.inbox(f[0])
		if len(items) == 0 {
			s.fail("the inbox is empty")
		}
		s.compare(f[1], s.w.parse(items[len(items)-1].Data))
	case "status": // status USER UID ADDRESS CODE|none
		s.equal(s.status(f[0], f[1], address(f[2])), f[3])
	case "partstat": // partstat USER UID ADDRESS PARTSTAT [instance=RECURRENCE-ID]
		s.equal(s.partstat(f[0], f[1], address(f[2]), opt["instance"]), f[3])
	case "etag", "tag": // etag|tag USER UID same|changed: since note
		row := s.must(f[0], "@"+f[1])
		now, was := row.ETag, s.noted[f[0]+" "+f[1]][0]
		if what == "tag" {
			now, was = row.ScheduleTag, s.noted[f[0]+" "+f[1]][1]
		}
		s.equal(map[bool]string{true: "same", false: "changed"}[now == was], f[2])
	case "answered": // answered rewritten|unchanged: whether the PUT stored other octets than it got
		s.equal(map[bool]string{true: "rewritten", false: "unchanged"}[s.result.Rewritten], f[0])
	case "result": // result ADDRESS STATUS: of the last deliver
		got := "none"
		for _, r := range s.results {
			if r.Recipient.Equal(address(f[0])) {
				got, _, _ = strings.Cut(r.Status, ";")
			}
		}
		s.equal(got, f[1])
	case "remote": // remote ADDRESS none|METHOD... [file=FILE of the last] [kind=KIND] [from=] [sent-by=]
		s.remote(address(f[0]), f[1:], opt)
	case "wires": // wires same: everything that was sent so far had one id; wires N: N different ids
		ids := slices.Compact(slices.Sorted(slices.Values(s.w.net.wires)))
		s.equal(fmt.Sprint(len(ids)), f[0])
	case "deliveries": // deliveries USER UID ADDRESS STATE...: oldest first
		s.deliveries(f)
	case "busy": // busy USER FROM TO none|PERIOD[/TYPE]...
		s.busy(f)
	case "freebusy": // freebusy ASKER FROM TO ADDRESS=STATUS[/PERIOD]... through the outbox
		s.freeBusy(f, opt)
	case "sees": // sees NAME OWNER/CALENDAR FILE|nothing by=get|export|query [from= to=] [word=W]
		s.sees(f, opt)
	default:
		if !s.expectMail(what, f) {
			s.fail("unknown expectation")
		}
	}
}

func (s *script) equal(got, want string) {
	s.t.Helper()
	if got != want {
		s.fail("got %q, want %q", got, want)
	}
}

func (s *script) hasLine(f []string, want bool) {
	row := s.must(f[0], "@"+f[1])
	text := normal(s.w.parse(row.Data))
	l := strings.Join(f[2:], " ")
	if slices.Contains(strings.Split(text, "\n"), l) != want {
		s.fail("line %q, expected there: %v\n%s", l, want, text)
	}
}

func (s *script) newItems(user string) string {
	items := s.w.inbox(user)
	var got []string
	for _, o := range items[min(s.seen[user], len(items)):] {
		got = append(got, s.w.parse(o.Data).Method())
	}
	s.seen[user] = len(items)
	if len(got) == 0 {
		return "none"
	}
	return strings.Join(got, " ")
}

func (s *script) status(user, uid string, a calendar.Address) string {
	o := s.w.parse(s.must(user, "@"+uid).Data)
	name := "ATTENDEE"
	if org := o.Components()[0].Prop("ORGANIZER"); org != nil && calendar.Address(org.Value()).Equal(a) {
		name = "ORGANIZER"
	}
	var got []string
	for _, c := range o.Components() {
		for _, p := range c.All(name) {
			if calendar.Address(p.Value()).Equal(a) {
				got = append(got, cmp.Or(p.Param("SCHEDULE-STATUS"), "none"))
			}
		}
	}
	if len(got) == 0 {
		return "none"
	}
	return strings.Join(slices.Compact(got), ",")
}

func (s *script) partstat(user, uid string, a calendar.Address, instance string) string {
	o := s.w.parse(s.must(user, "@"+uid).Data)
	for _, c := range o.Components() {
		if c.Value("RECURRENCE-ID") != instance {
			continue
		}
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(a) {
				if st := p.Param("PARTSTAT"); st != "" {
					return st
				}
				return "NEEDS-ACTION"
			}
		}
	}
	return "none"
}

func (s *script) remote(a calendar.Address, want []string, opt map[string]string) {
	got := s.w.net.take(a)
	var methods []string
	for _, p := range got {
		m := p.Method
		if p.Kind == scheduling.KindAlarm {
			m = "ALARM"
		}
		methods = append(methods, m)
	}
	if len(methods) == 0 {
		methods = []string{"none"}
	}
	s.equal(strings.Join(methods, " "), strings.Join(want, " "))
	if len(got) == 0 {
		return
	}
	last := got[len(got)-1]
	if k := opt["kind"]; k != "" {
		s.equal(string(last.Kind), k)
	}
	if name := opt["file"]; name != "" {
		s.compare(name, s.w.parse(string(last.Body)))
	}
	if fields := opt["changes"]; fields != "" {
		var got []string
		for _, c := range last.Changes {
			got = append(got, c.Field)
		}
		s.equal(strings.Join(got, ","), fields)
	}
	stamp := s.w.parse(string(last.Body)).Components()[0].Value("DTSTAMP")
	if last.UID != "" && opt["stamp"] == "newer" && stamp <= s.stamps[string(a)+last.UID] {
		s.fail("DTSTAMP %s is not newer than %s", stamp, s.stamps[string(a)+last.UID])
	}
	s.stamps[string(a)+last.UID] = stamp
	if by := opt["sent-by"]; by != "" {
		want := calendar.Address("")
		if by != "none" {
			want = address(by)
		}
		s.equal(string(last.SentBy), string(want))
	}
	if from := opt["from"]; from != "" {
		s.equal(string(last.Originator), string(address(from)))
	}
}

func (s *script) deliveries(f []string) {
	list, err := s.w.db.Deliveries(bg, storage.DeliveryFilter{Account: s.w.account(f[0]).ID, UID: f[1]})
	s.check(err)
	slices.SortFunc(list, func(a, b storage.Delivery) int { return int(a.Turn - b.Turn) })
	names := map[storage.DeliveryState]string{storage.DeliveryHeld: "held", storage.DeliveryQueued: "queued", storage.DeliveryInFlight: "in-flight", storage.DeliveryDone: "done",
		storage.DeliveryFailed: "failed", storage.DeliverySuperseded: "superseded", storage.DeliveryWithdrawn: "withdrawn"}
	got := []string{}
	for _, d := range list {
		if d.RecipientKey == address(f[2]).Key() {
			got = append(got, names[d.State])
		}
	}
	if len(got) == 0 {
		got = []string{"none"}
	}
	s.equal(strings.Join(got, " "), strings.Join(f[3:], " "))
}

func instant(text string) time.Time {
	t, _ := time.Parse("20060102T150405Z", text)
	return t
}

func (s *script) busy(f []string) {
	ps, err := s.w.svc.BusyPeriods(bg, s.w.account(f[0]), instant(f[1]), instant(f[2]))
	s.check(err)
	got := []string{}
	for _, p := range ps {
		text := p.Start.UTC().Format("20060102T150405Z") + "/" + p.End.UTC().Format("20060102T150405Z")
		if p.Type != calendar.BusyTime {
			text += "/" + p.Type.String()
		}
		got = append(got, text)
	}
	if len(got) == 0 {
		got = []string{"none"}
	}
	s.equal(strings.Join(got, " "), strings.Join(f[3:], " "))
}

// freeBusy asks for all people of opt at once and holds each one's status, and
// after a slash the FREEBUSY values, against what is expected.
func (s *script) freeBusy(f []string, opt map[string]string) {
	var who []calendar.Address
	var names []string
	for n := range opt {
		names = append(names, n)
	}
	slices.Sort(names)
	text := "METHOD:REQUEST\nBEGIN:VFREEBUSY\nUID:fb\nDTSTART:" + f[1] + "\nDTEND:" + f[2] + "\nORGANIZER:" + string(address(f[0])) + "\n"
	for _, n := range names {
		who = append(who, address(n))
		text += "ATTENDEE:" + string(address(n)) + "\n"
	}
	o, err := short(text+"END:VFREEBUSY\n", s.w.clock.Now())
	s.check(err)
	res, err := s.w.svc.FreeBusy(bg, scheduling.FreeBusy{Asker: s.w.account(f[0]), Originator: address(f[0]), Recipients: who, Request: o})
	s.check(err)
	for i, n := range names {
		got, _, _ := strings.Cut(res[i].Status, ";")
		if len(res[i].Calendar) > 0 {
			for _, c := range s.w.parse(string(res[i].Calendar)).Children {
				for _, p := range c.All("FREEBUSY") {
					got += "/" + strings.ReplaceAll(p.Value(), "/", "-")
				}
			}
		}
		s.equal(n+"="+got, n+"="+opt[n])
	}
}
