package scheduling_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/server"
	"github.com/kalends/kalends/storage"
)

// key is a path such as calendar/a.ics, or @UID for the user's own object of
// that UID wherever it is.
func (s *script) key(user, path string) storage.ObjectKey {
	if strings.HasPrefix(path, "@") {
		return s.must(user, path).ObjectKey
	}
	return s.w.key(user, path)
}

// must is the object at a path or @UID.
func (s *script) must(user, path string) storage.Object {
	s.t.Helper()
	if uid, ok := strings.CutPrefix(path, "@"); ok {
		row := s.w.row(user, uid)
		if row == nil {
			s.fail("%s has no object of UID %s", user, uid)
		}
		return *row
	}
	key := s.w.key(user, path)
	var out *storage.Object
	for o, err := range s.w.db.Get(bg, key.CollectionKey, []string{key.Name}, storage.ColumnData|storage.ColumnExtra) {
		s.check(err)
		out = &o
	}
	if out == nil {
		s.fail("%s has no %s", user, path)
	}
	return *out
}

// makeAccount: account NAME [kind=user|group|room|resource] [mail=A,B]
// [auto=MODE] [members=A,B] [disabled=yes].
func (s *script) makeAccount(f []string, opt map[string]string) {
	kinds := map[string]storage.AccountKind{"": storage.KindUser, "user": storage.KindUser, "group": storage.KindGroup, "room": storage.KindRoom, "resource": storage.KindResource}
	spec := storage.AccountSpec{Handle: f[0], Kind: kinds[opt["kind"]], DisplayName: f[0], Emails: []string{f[0] + "@example.com"}}
	if m := opt["mail"]; m != "" {
		spec.Emails = strings.Split(m, ",")
	}
	if m, ok := opt["members"]; ok {
		spec.Members = strings.Split(m, ",")
	}
	_, _, err := s.w.db.ImportAccounts(bg, []storage.AccountSpec{spec})
	s.check(err)
	s.set(f, opt)
}

// set: set NAME [auto=MODE] [disabled=yes|no] [default=CALENDAR] [tasks=CALENDAR] [busy=hidden]
// [alarms=owner|everybody|nobody] [mail-from=everybody|known|nobody] [mail=never|yes] [book-by=A,B] [book-days=N] [capacity=N]
// [read-proxies=A,B|none] [write-proxies=A,B|none].
func (s *script) set(f []string, opt map[string]string) {
	a := s.w.account(f[0])
	c := storage.AccountChange{}
	set := a.Settings
	if v, ok := opt["auto"]; ok {
		set.AutoAccept = v
	}
	if v, ok := opt["default"]; ok {
		set.DefaultCalendar = v
	}
	if v, ok := opt["alarms"]; ok {
		set.EmailAlarms = strings.TrimPrefix(v, "owner")
	}
	if v, ok := opt["mail"]; ok {
		set.NoMail = v == "never"
	}
	if v, ok := opt["mail-from"]; ok {
		set.MailIntake = v
	}
	if v, ok := opt["tasks"]; ok {
		set.DefaultTasks = v
	}
	if v, ok := opt["busy"]; ok {
		set.HideFreeBusy = v == "hidden"
	}
	if v, ok := opt["book-by"]; ok {
		set.BookBy = strings.Split(v, ",")
	}
	if v, ok := opt["book-days"]; ok {
		n, err := strconv.Atoi(v)
		s.check(err)
		set.BookDays = n
	}
	if v, ok := opt["capacity"]; ok {
		n, err := strconv.Atoi(v)
		s.check(err)
		set.Capacity = n
	}
	c.Settings = &set
	if v, ok := opt["disabled"]; ok {
		off := v == "yes"
		c.Disabled = &off
	}
	if v, ok := opt["drop-mail"]; ok {
		c.RemoveEmails = strings.Split(v, ",")
	}
	_, err := s.w.db.UpdateAccount(bg, a.ID, c)
	s.check(err)
	for name, mode := range map[string]acl.Proxy{"read-proxies": acl.ReadProxy, "write-proxies": acl.WriteProxy} {
		if v, ok := opt[name]; ok {
			var ids []storage.AccountID
			for _, n := range strings.Split(strings.TrimPrefix(v, "none"), ",") {
				if n != "" {
					ids = append(ids, s.w.account(n).ID)
				}
			}
			s.check(s.w.db.SetDelegates(bg, a.ID, mode, ids))
		}
	}
}

// actor is USER, or who does it for him: by=NAME.
func (s *script) actor(user string, opt map[string]string) scheduling.Actor {
	a := s.w.actor(user)
	if v := opt["by"]; v != "" {
		a.By = s.w.account(v)
	}
	return a
}

// maySend: may-send OWNER NAME [invite] [reply]: what NAME alone may send for him.
func (s *script) maySend(f []string) {
	var set acl.Set
	for _, x := range f[2:] {
		set |= map[string]acl.Set{"invite": acl.ScheduleSendInvite, "reply": acl.ScheduleSendReply}[x]
	}
	s.check(s.w.db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c, err := s.w.db.CollectionByName(bg, s.w.account(f[0]).ID, "outbox")
		if err != nil {
			return err
		}
		c.ACL = nil
		if set != 0 {
			c.ACL = []acl.ACE{{Principal: acl.Principal{Kind: acl.Account, ID: int64(s.w.account(f[1]).ID)}, Grant: set}}
		}
		return tx.UpdateCollection(ctx, c)
	}))
}

// makeCalendar: calendar USER NAME [VEVENT|VTODO|VJOURNAL|transparent].
func (s *script) makeCalendar(f []string) {
	c := storage.Collection{Kind: storage.CollectionCalendar, Name: f[1], Components: storage.CompEvent | storage.CompTodo}
	c.Account = s.w.account(f[0]).ID
	for _, x := range f[2:] {
		switch x {
		case "VEVENT":
			c.Components = storage.CompEvent
		case "VTODO":
			c.Components = storage.CompTodo
		case "VJOURNAL":
			c.Components = storage.CompJournal
		case "transparent":
			c.Transparent = true
		}
	}
	_, err := s.w.db.CreateCollection(bg, c, nil)
	s.check(err)
}

func (s *script) ifTag(user, path string, opt map[string]string) string {
	switch opt["if-tag"] {
	case "noted":
		return s.noted[user+" "+s.must(user, path).UID][1]
	case "current":
		return s.must(user, path).ScheduleTag
	}
	return opt["if-tag"]
}

func (s *script) ifMatch(user, path string, opt map[string]string) []string {
	switch v := opt["if-match"]; v {
	case "":
		return nil
	case "noted":
		return []string{s.noted[user+" "+s.must(user, path).UID][0]}
	case "current":
		return []string{s.must(user, path).ETag}
	default:
		return []string{v}
	}
}

// put USER PATH FILE [silent] [import] [if-match=noted|current|*|TAG]
// [if-none-match=*] [if-tag=noted|current] [times=N].
func (s *script) put(f []string, opt map[string]string) {
	o := s.object(f[2])
	p := scheduling.Put{Actor: s.actor(f[0], opt), Key: s.key(f[0], f[1]), Data: o.Bytes(), IfMatch: s.ifMatch(f[0], f[1], opt), IfScheduleTag: s.ifTag(f[0], f[1], opt), RequestID: "test"}
	if v := opt["if-none-match"]; v != "" {
		p.IfNoneMatch = []string{v}
	}
	for _, x := range f[3:] {
		switch x {
		case "silent":
			p.Silent = true
		case "import":
			p.NoScheduling = true
		}
	}
	times := 1
	if v := opt["times"]; v != "" {
		n, err := strconv.Atoi(v)
		s.check(err)
		times = n
	}
	for range times {
		if s.result, s.err = s.w.svc.Put(bg, p); s.err != nil {
			return
		}
	}
}

// delete USER PATH [silent] [import] [if-match=…] [if-tag=…].
func (s *script) delete(f []string, opt map[string]string) {
	p := scheduling.Delete{Actor: s.actor(f[0], opt), Key: s.key(f[0], f[1]), IfMatch: s.ifMatch(f[0], f[1], opt), IfScheduleTag: s.ifTag(f[0], f[1], opt), RequestID: "test"}
	for _, x := range f[2:] {
		switch x {
		case "silent":
			p.Silent = true
		case "import":
			p.NoScheduling = true
		}
	}
	s.err = s.w.svc.Delete(bg, p)
}

// answer USER UID PARTSTAT [instance=RECURRENCE-ID] [silent]: the client reads
// its copy, answers and stores it.
func (s *script) answer(f []string, opt map[string]string) {
	row := s.must(f[0], "@"+f[1])
	obj := s.w.parse(row.Data)
	var id *calendar.DateTime
	if v := opt["instance"]; v != "" {
		p := calendar.NewProperty("RECURRENCE-ID", v)
		for _, c := range obj.Components() {
			if q := c.Prop("DTSTART"); q != nil {
				for _, name := range []string{"TZID", "VALUE"} {
					if x := q.Param(name); x != "" {
						p.SetParam(name, x)
					}
				}
			}
		}
		d, err := calendar.ParseDateTime(p)
		s.check(err)
		id = &d
	}
	next, err := itip.Respond(obj, scheduling.AddressesOf(s.w.account(f[0])), f[2], id, itip.RespondOptions{})
	s.check(err)
	silent := len(f) > 3 && f[3] == "silent"
	s.result, s.err = s.w.svc.Put(bg, scheduling.Put{Actor: s.actor(f[0], opt), Key: row.ObjectKey, Data: next.Bytes(), IfMatch: []string{row.ETag}, Silent: silent})
}

// deliver FILE from=A to=B,C [via=ischedule|mail] [id=MESSAGE-ID] [signature=S].
func (s *script) deliver(f []string, opt map[string]string) {
	in := scheduling.Inbound{Via: "ischedule", Originator: address(opt["from"]), Recipients: addresses(opt["to"]), Message: s.object(f[0]), RequestID: "test"}
	if v := opt["via"]; v != "" {
		in.Via = v
	}
	in.Proof.Domain = in.Originator.Domain()
	if id := opt["id"]; id != "" {
		in.Once = &storage.Once{Domain: in.Proof.Domain, Selector: "s", SignatureHash: opt["signature"], MessageID: id, BodyHash: scheduling.ETag(string(in.Message.Bytes())), Recipients: opt["to"]}
	}
	s.results, s.err = s.w.svc.Receive(bg, in)
}

// corrupt makes the stored text of a user's copy unreadable.
func (s *script) corrupt(user, uid string) {
	row := s.must(user, "@"+uid)
	row.Data = "BEGIN:VCALENDAR\r\nthis is no calendar\r\n"
	s.check(s.w.db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Apply(ctx, []storage.Write{{Object: row}})
		return err
	}))
}

// declined: decline-counter USER UID FILE [comment=WORD].
func (s *script) declined(f []string, opt map[string]string) scheduling.CounterAnswer {
	return scheduling.CounterAnswer{Actor: s.w.actor(f[0]), Counter: s.object(f[2]), Comment: opt["comment"], RequestID: "test"}
}

// acceptCounter: accept-counter USER UID FILE: the organizer takes what was
// proposed.
func (s *script) acceptCounter(f []string) {
	row := s.must(f[0], "@"+f[1])
	next, err := itip.AcceptCounter(s.w.parse(row.Data), s.object(f[2]))
	s.check(err)
	s.result, s.err = s.w.svc.Put(bg, scheduling.Put{Actor: s.w.actor(f[0]), Key: row.ObjectKey, Data: next.Bytes(), IfMatch: []string{row.ETag}, RequestID: "test"})
}

// leave: leave USER to=HEIR|cancel: an administrator removes the account.
func (s *script) leave(f []string, opt map[string]string) {
	cfg := server.DefaultConfig()
	cfg.DataDir = s.t.TempDir()
	a := server.NewAdmin(s.w.db, cfg, "test", slog.New(slog.DiscardHandler))
	_, s.err = a.RemoveUser(bg, f[0], server.Removal{TransferTo: opt["to"], CancelMeetings: slices.Contains(f, "cancel")})
}
