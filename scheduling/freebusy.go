package scheduling

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// FreeBusy asks for the busy time of several people, as an outbox POST does
// (RFC 6638 §5).
type FreeBusy struct {
	Asker      storage.Account
	Originator calendar.Address
	Recipients []calendar.Address
	Request    *calendar.Object // METHOD:REQUEST with one VFREEBUSY
	RequestID  string

	// Shown says whom the asker may know of; the others are answered for as if they
	// did not exist (abuse A22). nil: everybody.
	Shown func(storage.Account) bool
}

// FreeBusy answers for local people at once and asks the servers of the others
// in parallel, within Config.FreeBusyWait. Results come in request order.
func (s *Service) FreeBusy(ctx context.Context, q FreeBusy) ([]RecipientResult, error) {
	results := make([]RecipientResult, len(q.Recipients))
	var local []calendar.Address
	remote := map[string][]calendar.Address{}
	dir, err := s.directory(ctx, q.Recipients)
	if err != nil {
		return nil, err
	}
	for i, a := range q.Recipients {
		results[i] = RecipientResult{Recipient: a}
		if r, ok := dir[directoryKey(a)]; ok && (q.Shown == nil || q.Shown(r.Account)) {
			local = append(local, a)
			continue
		}
		st, err := s.route(ctx, a)
		if err != nil {
			return nil, err
		}
		if st != "" {
			results[i].Status = st
			continue
		}
		remote[a.Domain()] = append(remote[a.Domain()], a)
	}
	var mu sync.Mutex
	got := map[string]RecipientResult{}
	var wg sync.WaitGroup
	asking, cancel := context.WithTimeout(ctx, s.cfg.FreeBusyWait)
	defer cancel()
	for domain, as := range remote {
		wg.Add(1)
		go func() {
			defer wg.Done()
			body := questionFor(q.Request, as).Bytes()
			res, err := s.transport.FreeBusy(asking, Question{Originator: q.Originator, Recipients: as, Domain: domain, Body: body, RequestID: q.RequestID})
			mu.Lock()
			defer mu.Unlock()
			for _, r := range res {
				got[r.Recipient.Key()] = r
			}
			if err != nil {
				s.cfg.Log.Info("no free/busy answer", "domain", domain, "error", err, "request", q.RequestID)
			}
		}()
	}
	answers, err := s.busyAnswers(ctx, q.Request, local, dir, func(storage.Account) bool { return true }, 0)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		if r.Status != "" {
			continue
		}
		k := r.Recipient.Key()
		if a, ok := answers[k]; ok {
			results[i] = a
		} else if a, ok := got[k]; ok {
			a.Recipient = r.Recipient
			results[i] = a
		} else {
			results[i].Status = "5.1;No answer in time"
		}
	}
	return results, nil
}

// AnswerFreeBusy answers a question of another server (ischedule.md §5): busy
// periods without titles, from now on and at most 62 days, for users who have
// not turned it off. Unknown users are answered alike in content.
func (s *Service) AnswerFreeBusy(ctx context.Context, in Inbound) ([]RecipientResult, error) {
	dir, err := s.directory(ctx, in.Recipients)
	if err != nil {
		return nil, err
	}
	answers, err := s.busyAnswers(ctx, in.Message, in.Recipients, dir, func(a storage.Account) bool { return !a.Settings.HideFreeBusy }, shownAhead)
	if err != nil {
		return nil, err
	}
	out := make([]RecipientResult, len(in.Recipients))
	var told []storage.AccountID
	for i, a := range in.Recipients {
		r, ok := answers[a.Key()]
		if !ok {
			r = RecipientResult{Status: "3.7;Invalid calendar user"}
		}
		r.Recipient = a
		out[i] = r
		if len(r.Calendar) > 0 {
			told = append(told, dir[directoryKey(a)].Account.ID)
		}
		s.cfg.Log.Info("free/busy question", "from", string(in.Originator), "about", string(a), "status", r.Status, "proof", in.Proof.Domain)
	}
	// Whoever is asked about may see by whom (abuse A45); an answer does not wait
	// long for a database that cannot write just now.
	noting, cancel := context.WithTimeout(ctx, noteTime)
	defer cancel()
	if err := s.db.NoteBusyQuestion(noting, in.Originator.Domain(), in.Originator.Email(), told); err != nil {
		s.cfg.Log.Warn("who asked for busy times could not be noted", "from", string(in.Originator), "error", err)
	}
	return out, nil
}

func (s *Service) directory(ctx context.Context, as []calendar.Address) (map[string]storage.Recipient, error) {
	var keys []string
	for _, a := range as {
		if k := directoryKey(a); k != "" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return s.db.Recipients(ctx, slices.Compact(keys))
}

// questionFor is a free/busy question about some of its attendees only.
func questionFor(o *calendar.Object, as []calendar.Address) *calendar.Object {
	keep := calendar.NewAddressSet(as...)
	q := o.Clone()
	for _, c := range q.ChildrenNamed("VFREEBUSY") {
		c.Props = slices.DeleteFunc(c.Props, func(p *calendar.Property) bool {
			return p.Name() == "ATTENDEE" && !keep.Has(calendar.Address(p.Value()))
		})
	}
	return q
}

// shownAhead is how far ahead other domains see busy time (ischedule.md §5).
const shownAhead = 62 * 24 * time.Hour

// noteTime is how long an answer may wait for the note of who asked.
const noteTime = time.Second

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// busyAnswers computes the replies of local people with a constant number of
// statements; allowed says who shows his busy time. With ahead, nothing is shown
// of the past nor of what is further ahead than that.
func (s *Service) busyAnswers(ctx context.Context, question *calendar.Object, as []calendar.Address, dir map[string]storage.Recipient, allowed func(storage.Account) bool, ahead time.Duration) (map[string]RecipientResult, error) {
	out := map[string]RecipientResult{}
	vfb := question.Master()
	if vfb == nil || vfb.Name != "VFREEBUSY" {
		return nil, &calendar.Error{Code: calendar.CodeInvalidData, Msg: "a free/busy question holds one VFREEBUSY"}
	}
	from, to, err := freeBusyRange(vfb)
	if err != nil {
		return nil, err
	}
	var accounts []storage.AccountID
	people := map[storage.AccountID]storage.Account{}
	for _, a := range as {
		r, ok := dir[directoryKey(a)]
		switch {
		case !ok:
			out[a.Key()] = RecipientResult{Recipient: a, Status: "3.7;Invalid calendar user", Transport: "local"}
		case unreachable(r) != "":
			out[a.Key()] = RecipientResult{Recipient: a, Status: unreachable(r), Transport: "local"}
		case !allowed(r.Account):
			st := "3.8;No authority"
			if s.cfg.FreeBusyAlike {
				st = "3.7;Invalid calendar user"
			}
			out[a.Key()] = RecipientResult{Recipient: a, Status: st, Transport: "local"}
		default:
			accounts = append(accounts, r.Account.ID)
			people[r.Account.ID] = r.Account
		}
	}
	skip := vfb.Text("X-CALENDARSERVER-MASK-UID")
	now := s.cfg.Now()
	shownFrom, shownTo := from, to
	if ahead > 0 {
		shownFrom, shownTo = latest(from, now), earliest(to, now.Add(ahead))
	}
	periods := map[storage.AccountID][]calendar.Period{}
	if shownTo.After(shownFrom) {
		if periods, err = s.busyOf(ctx, s.db, accounts, people, shownFrom, shownTo, skip); err != nil {
			return nil, err
		}
	}
	lines := map[string]*calendar.Property{}
	for _, p := range vfb.All("ATTENDEE") {
		if k := calendar.Address(p.Value()).Key(); k != "" && lines[k] == nil {
			lines[k] = p
		}
	}
	for _, a := range as {
		k := a.Key()
		if _, done := out[k]; done {
			continue
		}
		line := lines[k]
		if line == nil {
			line = calendar.NewProperty("ATTENDEE", string(a))
		}
		id := dir[directoryKey(a)].Account.ID
		if ahead > 0 && !s.cfg.FreeBusyTypes {
			periods[id] = busyOnly(periods[id])
		}
		out[k] = RecipientResult{Recipient: a, Status: "2.0;Success", Transport: "local", Calendar: s.busyReply(vfb, line, periods[id], from, to, now).Bytes()}
	}
	return out, nil
}

// busyOnly makes every period plainly busy (ischedule.md §5).
func busyOnly(ps []calendar.Period) []calendar.Period {
	out := slices.Clone(ps)
	for i := range out {
		out[i].Type = calendar.BusyTime
	}
	return out
}

// BusyPeriods are the merged busy periods of one account, as its free-busy
// resource and the web page show them.
func (s *Service) BusyPeriods(ctx context.Context, a storage.Account, from, to time.Time) ([]calendar.Period, error) {
	m, err := s.busyOf(ctx, s.db, []storage.AccountID{a.ID}, map[storage.AccountID]storage.Account{a.ID: a}, from, to, "")
	return m[a.ID], err
}

// busySource is the database or a transaction.
type busySource interface {
	BusyObjects(ctx context.Context, accounts []storage.AccountID, from, to int64) iter.Seq2[storage.Busy, error]
	PropertiesNamed(ctx context.Context, accounts []storage.AccountID, space, local string) ([]storage.CollectionProperty, error)
}

// busyOf takes two statements, whatever the number of accounts.
func (s *Service) busyOf(ctx context.Context, db busySource, accounts []storage.AccountID, people map[storage.AccountID]storage.Account, from, to time.Time, skipUID string) (map[storage.AccountID][]calendar.Period, error) {
	periods := map[storage.AccountID][]calendar.Period{}
	if len(accounts) == 0 {
		return periods, nil
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	budget := calendar.NewBudget()
	zones := map[string]*time.Location{}
	each := map[storage.AccountID]*Busy{}
	of := func(id storage.AccountID) *Busy {
		b := each[id]
		if b == nil {
			b = s.NewBusy(people[id], from, to, budget)
			each[id] = b
		}
		return b
	}
	for b, err := range db.BusyObjects(ctx, accounts, micros(from), micros(to)) {
		if err != nil {
			return nil, err
		}
		if skipUID != "" && b.UID == skipUID {
			continue
		}
		if err := of(b.Account).Add(b.Object, s.location(zones, b.Timezone)); err != nil {
			return nil, err
		}
	}
	// RFC 7953 §7.2.4: the inbox speaks for the person, a calendar that counts
	// for itself.
	props, err := db.PropertiesNamed(ctx, accounts, AvailabilitySpace, AvailabilityLocal)
	if err != nil {
		return nil, err
	}
	for _, p := range props {
		if p.Kind == storage.CollectionInbox || p.Kind == storage.CollectionCalendar && !p.Transparent {
			of(p.Account).AddAvailability(p.XML, s.location(zones, p.Timezone))
		}
	}
	for id, b := range each {
		ps, err := b.Periods()
		if err != nil {
			return nil, err
		}
		if ps = calendar.MergePeriods(ps); len(ps) > 0 {
			periods[id] = ps
		}
	}
	return periods, nil
}

// location reads a calendar-timezone once per answer.
func (s *Service) location(seen map[string]*time.Location, text string) *time.Location {
	if text == "" {
		return time.UTC
	}
	loc, ok := seen[text]
	if !ok {
		var err error
		if loc, err = calendar.ParseTimezone(text); err != nil {
			loc = time.UTC
		}
		seen[text] = loc
	}
	return loc
}

// busyReply is one person's answer (RFC 5546 §3.3.3).
func (s *Service) busyReply(question *calendar.Component, attendee *calendar.Property, ps []calendar.Period, from, to, now time.Time) *calendar.Object {
	o := calendar.NewObject(s.cfg.ProdID)
	o.Add(calendar.NewProperty("METHOD", "REPLY"))
	c := calendar.FreeBusyComponent(ps, from, to, now)
	if uid := question.Prop("UID"); uid != nil {
		c.Set(uid.Clone())
	}
	if org := question.Prop("ORGANIZER"); org != nil {
		c.Set(org.Clone())
	}
	c.Add(attendee.Clone())
	o.Children = append(o.Children, c)
	return o
}

// freeBusyRange reads the UTC range of a question (RFC 5546 §3.3.2).
func freeBusyRange(c *calendar.Component) (from, to time.Time, err error) {
	bad := func(msg string) (time.Time, time.Time, error) {
		return time.Time{}, time.Time{}, &calendar.Error{Code: calendar.CodeInvalidData, Msg: msg}
	}
	read := func(name string) (time.Time, bool) {
		p := c.Prop(name)
		if p == nil || !strings.HasSuffix(strings.ToUpper(p.Value()), "Z") {
			return time.Time{}, false
		}
		d, err := calendar.ParseDateTime(p)
		return d.Wall, err == nil && d.Kind == calendar.UTC
	}
	var ok bool
	if from, ok = read("DTSTART"); !ok {
		return bad("VFREEBUSY needs DTSTART in UTC")
	}
	if to, ok = read("DTEND"); !ok {
		return bad("VFREEBUSY needs DTEND in UTC")
	}
	if !to.After(from) {
		return bad("VFREEBUSY ends before it starts")
	}
	return from, to, nil
}
