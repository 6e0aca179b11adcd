package scheduling

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Run works the queues until ctx ends: deliveries, refreshes of attendees, and
// the write-back of statuses. Several processes may run it on one database.
// When ctx ends nothing new is begun; what is in flight may end within
// Config.Grace, so that an orderly stop leaves nothing to be sent twice. After
// a crash the end of the lease makes it free for others.
func (s *Service) Run(ctx context.Context) {
	slots := make(chan struct{}, s.cfg.Workers)
	var busy sync.WaitGroup
	flight, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		late := time.AfterFunc(s.cfg.Grace, cut)
		busy.Wait()
		late.Stop()
		cut()
	}()
	if err := s.resumeDeletions(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("calendars that were being deleted are left for the next start", "error", err)
	}
	for ctx.Err() == nil {
		did := s.step(ctx, flight, func(work func()) {
			slots <- struct{}{}
			busy.Add(1)
			go func() {
				defer func() { <-slots; busy.Done(); s.Wake() }()
				work()
			}()
		})
		if did {
			continue
		}
		wait := time.Second
		if due, err := s.db.NextDue(ctx); err == nil && !due.IsZero() {
			now := s.cfg.Now()
			wait = min(wait, max(due.Sub(now), 20*time.Millisecond))
			if due.Before(now.Add(-time.Second)) { // it waits for a place of its domain, whose end wakes us
				wait = 250 * time.Millisecond
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// Step does what is due now: one round of refreshes, deliveries and
// write-backs. spawn runs one delivery (nil: at once, in order). It reports
// whether there was anything to do.
func (s *Service) Step(ctx context.Context, spawn func(func())) bool {
	if spawn == nil {
		spawn = func(f func()) { f() }
	}
	return s.step(ctx, ctx, spawn)
}

// step is Step whose deliveries live as long as flight.
func (s *Service) step(ctx, flight context.Context, spawn func(func())) bool {
	did := s.stepRefresh(ctx)
	claimed, err := s.db.ClaimFor(ctx, s.cfg.Node, s.cfg.Now(), s.cfg.Lease, s.cfg.Workers, s.health.rule)
	if err != nil {
		s.complain(ctx, "the delivery queue cannot be read", err)
		return false
	}
	var order []string
	groups := map[string][]storage.Claimed{}
	for _, c := range claimed {
		if _, ok := groups[c.WireID]; !ok {
			order = append(order, c.WireID)
		}
		groups[c.WireID] = append(groups[c.WireID], c)
	}
	for _, id := range order {
		g := groups[id]
		done := s.health.begin(g[0].Domain)
		spawn(func() { done(s.carry(flight, g)) })
	}
	return s.stepWriteBack(ctx) || did || len(claimed) > 0
}

func (s *Service) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.cfg.Log.Error(what, "error", err)
		t := time.NewTimer(250 * time.Millisecond) // a database that is away is not asked in a tight loop
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// carry hands one message to its transport and records what came of it. It
// tells whether the other side was there, whatever it said.
func (s *Service) carry(ctx context.Context, g []storage.Claimed) (there bool) {
	first := g[0]
	now := s.cfg.Now()
	var res []RecipientResult
	by, revoked, err := s.revoked(ctx, first.Message)
	if err != nil {
		// tried again
	} else if revoked {
		for _, c := range g {
			res = append(res, RecipientResult{Recipient: calendar.Address(c.Recipient), Status: statusRevoked, Transport: first.Transport})
		}
	} else if first.Transport == transportLocal {
		res, err = s.carryLocal(ctx, g)
	} else if s.transport == nil {
		for _, c := range g {
			res = append(res, RecipientResult{Recipient: calendar.Address(c.Recipient), Status: "5.2;No way to deliver"})
		}
	} else {
		p := Parcel{WireID: first.WireID, Account: first.Message.Account, Method: first.Message.Method, Component: first.Message.Component, UID: first.Message.UID,
			Originator: calendar.Address(first.Message.Originator), Domain: first.Domain, Body: []byte(first.Message.Body), Kind: itip.Kind(first.Message.Kind),
			Attempt: first.Attempts + 1, Queued: time.UnixMicro(first.Message.Created), Last: now.Add(s.cfg.RetryMin).UnixMicro() >= first.Expires, RequestID: first.Message.RequestID}
		if first.Message.Changes != "" {
			_ = json.Unmarshal([]byte(first.Message.Changes), &p.Changes)
		}
		for _, c := range g {
			p.Recipients = append(p.Recipients, calendar.Address(c.Recipient))
		}
		if by.ID != 0 {
			p.SentBy, p.SentByName = Actor{Account: storage.Account{ID: first.Message.Account}, By: by}.sentBy(), by.DisplayName
		}
		a, e := s.db.AccountByID(ctx, first.Message.Account)
		if p.OriginatorName, p.NoMail = a.DisplayName, a.Settings.NoMail; e != nil && !errors.Is(e, storage.ErrNotFound) {
			err = e // whether a mail may go is not known
		} else {
			res, err = s.transport.Send(ctx, p)
		}
	}
	if ctx.Err() != nil && err != nil {
		return false // shutting down: the lease runs out and another worker takes over
	}
	there = slices.ContainsFunc(res, func(r RecipientResult) bool { return !r.Retry || r.NewWire })
	done := make([]storage.Delivery, 0, len(g))
	for _, c := range g {
		d := c.Delivery
		r := RecipientResult{Status: "5.1;No answer for this recipient", Retry: true}
		if err != nil {
			r.Detail = err.Error()
		}
		for _, x := range res {
			if x.Recipient.Equal(calendar.Address(c.Recipient)) {
				r = x
				break
			}
		}
		done = append(done, s.outcome(d, r, now))
	}
	for try := 0; ; try++ {
		err := s.finish(ctx, g, done)
		if err == nil {
			break
		}
		if try == 5 || ctx.Err() != nil {
			s.complain(ctx, "the outcome of a delivery could not be stored; it will be tried again", err)
			return there
		}
		time.Sleep(100 * time.Millisecond << try)
	}
	for _, d := range done {
		s.cfg.Observe("delivery."+d.Transport+"."+stateName(d.State), 1)
		s.cfg.Log.Info("delivery", "recipient_domain", d.Domain, "uid", d.UID, "transport", d.Transport, "state", stateName(d.State), "status", d.Status, "attempt", d.Attempts, "request", first.Message.RequestID)
	}
	return there
}

func stateName(s storage.DeliveryState) string {
	switch s {
	case storage.DeliveryDone:
		return "done"
	case storage.DeliveryFailed:
		return "failed"
	}
	return "retry"
}

// outcome turns a result into the delivery's next state.
func (s *Service) outcome(d storage.Delivery, r RecipientResult, now time.Time) storage.Delivery {
	d.Attempts++
	d.Updated, d.Detail = micros(now), r.Detail
	if r.Transport != "" {
		d.Transport = r.Transport
	}
	if r.Proof != "" {
		d.Proof = r.Proof
	}
	d.Trace = appendTrace(d.Trace, r.Trace, now, r)
	if r.Retry {
		if micros(now) < d.Expires {
			d.State, d.NotBefore, d.Status = storage.DeliveryQueued, micros(now.Add(max(s.backoff(d.Attempts), min(r.RetryAfter, s.cfg.RetryMax)))), "1.0"
			if d.Transport != transportLocal {
				d.Transport = "" // chosen anew next time
			}
			if r.NewWire {
				d.WireID = ""
			}
			return d
		}
		if !strings.HasPrefix(r.Status, "5") {
			r.Status = "5.1;Could not complete delivery"
		}
	}
	d.Status = storedStatus(r.Status)
	d.State = storage.DeliveryFailed
	if strings.HasPrefix(d.Status, "1.") || strings.HasPrefix(d.Status, "2.") {
		d.State = storage.DeliveryDone
		if strings.HasPrefix(d.Status, "2.0") {
			d.Status = "1.2" // RFC 6638 §3.2.9: delivered; 2.0 stands for an answer
		}
	}
	return d
}

// finish stores outcomes, and for those that arrived the state of the object
// that the recipient knows now.
func (s *Service) finish(ctx context.Context, g []storage.Claimed, done []storage.Delivery) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		written, err := tx.Finish(ctx, done)
		if err != nil {
			return err
		}
		if written < len(done) { // the lease has ended: what the peer knows is the other worker's to say
			return nil
		}
		var states []storage.PeerState
		for i, d := range done {
			if d.State == storage.DeliveryDone && d.Transport != transportLocal && stateful(g[i].Message.Method) {
				states = append(states, storage.PeerState{Account: d.Account, UID: d.UID, RecipientKey: d.RecipientKey, Digest: g[i].Message.Snapshot, Updated: d.Updated})
			}
		}
		if len(states) == 0 {
			return nil
		}
		return tx.SetPeerStates(ctx, states)
	})
}

// carryLocal serves a batch of local recipients whose PUT had too many.
func (s *Service) carryLocal(ctx context.Context, g []storage.Claimed) (res []RecipientResult, err error) {
	msg, err := calendar.Parse([]byte(g[0].Message.Body), s.cfg.Limits)
	if err == nil {
		err = calendar.ValidateMessage(msg)
	}
	if err != nil { // will never be readable
		for _, c := range g {
			res = append(res, RecipientResult{Recipient: calendar.Address(c.Recipient), Status: "5.1;The message cannot be read", Transport: transportLocal})
		}
		return res, nil
	}
	in := Inbound{Via: transportLocal, Originator: calendar.Address(g[0].Message.Originator), Message: msg, RequestID: g[0].Message.RequestID}
	for _, c := range g {
		in.Recipients = append(in.Recipients, calendar.Address(c.Recipient))
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		res, err = s.receive(ctx, tx, in, itip.Kind(g[0].Message.Kind))
		return err
	})
	return res, err
}

// Attempt is one entry of a delivery's trace.
type Attempt struct {
	At        time.Time `json:"at"`
	Transport string    `json:"transport,omitempty"`
	Status    string    `json:"status"`
	Retry     bool      `json:"retry,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Steps     []Step    `json:"steps,omitempty"`
}

// ReadTrace reads storage.Delivery.Trace, oldest attempt first; what cannot be
// read is an empty trace.
func ReadTrace(trace string) []Attempt {
	var all []Attempt
	if trace != "" {
		_ = json.Unmarshal([]byte(trace), &all)
	}
	return all
}

// appendTrace adds an attempt to a delivery's trace; the newest 20 are kept.
func appendTrace(trace string, steps []Step, now time.Time, r RecipientResult) string {
	all := append(ReadTrace(trace), Attempt{At: now.UTC(), Transport: r.Transport, Status: r.Status, Retry: r.Retry, Detail: r.Detail, Steps: steps})
	if len(all) > 20 {
		all = all[len(all)-20:]
	}
	b, _ := json.Marshal(all)
	return string(b)
}

// resumeDeletions goes on with calendars whose deletion a crash interrupted.
func (s *Service) resumeDeletions(ctx context.Context) error {
	cols, err := s.db.DeletingCollections(ctx, 100)
	if err != nil {
		return err
	}
	for _, c := range cols {
		a, err := s.db.AccountByID(ctx, c.Account)
		if err != nil {
			return err
		}
		if err := s.emptyCollection(ctx, Actor{Account: a, By: a}, c.CollectionKey, false, "resumed"); err != nil {
			return err
		}
	}
	return nil
}
