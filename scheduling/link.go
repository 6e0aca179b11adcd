package scheduling

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// A link lets somebody without a calendar answer an invitation. Its token is
// signed by the installation: a keyed hash of the account, UID, organizer,
// attendee, SEQUENCE, instances and message it was made for. Only the hash of
// the token is stored; it answers once and ends with the event (A36).

// linkProof is what stands for a proof where a link answered.
const linkProof = "link"

// Ends of links whose event has none, or is over soon.
const (
	linkLongest  = 366 * 24 * time.Hour
	linkShortest = 7 * 24 * time.Hour
)

// ErrNoLink says that a link was never made, has ended, or is not ours.
var ErrNoLink = errors.New("scheduling: there is no such link")

// LinkState is what a link can do now.
type LinkState uint8

// The states.
const (
	LinkOpen      LinkState = iota // it can answer
	LinkUsed                       // it has answered
	LinkStale                      // a newer message went out, whose link counts
	LinkCancelled                  // the event does not take place
	LinkGone                       // the event is gone, or he is not invited any more
	LinkOver                       // it has ended
)

// LinkView is what a link shows.
type LinkView struct {
	State     LinkState
	Attendee  calendar.Address
	Organizer calendar.Address
	Object    *calendar.Object // the event as the attendee may see it; nil when there is none
	Instances []string         // RECURRENCE-IDs it is about; nil: the whole
	Partstat  string           // his present answer
	Used      time.Time        // with LinkUsed
}

var linkText = base32.StdEncoding.WithPadding(base32.NoPadding)

func (s *Service) linkToken(t storage.MailToken) string {
	mac := hmac.New(sha256.New, s.cfg.LinkSecret)
	fmt.Fprintf(mac, "kalends-rsvp-1\x00%d\x00%q\x00%q\x00%d\x00%q\x00%q", t.Account, t.UID, t.Attendee, t.Sequence, t.Instances, t.Nonce)
	return strings.ToLower(linkText.EncodeToString(mac.Sum(nil)[:20]))
}

func linkHash(token string) string {
	h := sha256.Sum256([]byte("rsvp\x00" + strings.ToLower(token)))
	return hex.EncodeToString(h[:])
}

// Link makes the token of the link that a message to one attendee offers, ""
// when there is nothing to answer. The same parcel always gets the same token,
// so that a mail that is sent again is the same mail.
func (s *Service) Link(ctx context.Context, p Parcel, to calendar.Address) (string, error) {
	if len(s.cfg.LinkSecret) < 32 || p.Method != "REQUEST" || p.WireID == "" {
		return "", nil
	}
	o, err := calendar.Parse(p.Body, s.cfg.Limits)
	if err != nil {
		return "", nil // the transport says so
	}
	if !answerable(o, to) {
		return "", nil
	}
	idx, err := o.Index()
	if err != nil {
		return "", nil
	}
	t := storage.MailToken{Purpose: storage.TokenRSVP, Account: p.Account, UID: p.UID, Attendee: string(p.Originator) + "\n" + string(to),
		Sequence: int64(idx.Sequence), Instances: strings.Join(instancesOf(o), " "), Nonce: p.WireID, Expires: s.linkEnd(idx)}
	return s.saveLink(ctx, s.db, t)
}

// answerable tells whether an invitation asks this person for an answer.
func answerable(o *calendar.Object, who calendar.Address) bool {
	if o.Kind() != "VEVENT" && o.Kind() != "VTODO" {
		return false
	}
	return slices.ContainsFunc(o.Components(), func(c *calendar.Component) bool {
		if strings.EqualFold(c.Value("STATUS"), "CANCELLED") {
			return false
		}
		return slices.ContainsFunc(c.All("ATTENDEE"), func(p *calendar.Property) bool {
			return calendar.Address(p.Value()).Equal(who) && !strings.EqualFold(p.Param("ROLE"), "NON-PARTICIPANT")
		})
	})
}

// instancesOf are the RECURRENCE-IDs of a message that knows no whole.
func instancesOf(o *calendar.Object) []string {
	if o.Master() != nil {
		return nil
	}
	var out []string
	for _, c := range o.Components() {
		if id := c.Value("RECURRENCE-ID"); id != "" && len(out) < 50 {
			out = append(out, id)
		}
	}
	return out
}

// linkEnd is a day after the end of the event, within bounds.
func (s *Service) linkEnd(idx calendar.Index) int64 {
	now := s.cfg.Now()
	end := now.Add(linkLongest)
	if idx.End < math.MaxInt64 {
		end = earliest(end, time.UnixMicro(idx.End).Add(24*time.Hour))
	}
	return micros(latest(end, now.Add(linkShortest)))
}

// tokenSaver is the database or a transaction.
type tokenSaver interface {
	SaveMailToken(ctx context.Context, t storage.MailToken) error
}

func (s *Service) saveLink(ctx context.Context, db tokenSaver, t storage.MailToken) (string, error) {
	token := s.linkToken(t)
	t.Hash = linkHash(token)
	return token, db.SaveMailToken(ctx, t)
}

// findLink reads the row of a token and checks that the token is its
// signature.
func (s *Service) findLink(ctx context.Context, token string) (storage.MailToken, error) {
	if len(s.cfg.LinkSecret) < 32 || len(token) != 32 {
		return storage.MailToken{}, ErrNoLink
	}
	t, err := s.db.MailToken(ctx, linkHash(token))
	if errors.Is(err, storage.ErrNotFound) {
		return t, ErrNoLink
	}
	if err != nil {
		return t, err
	}
	if t.Purpose != storage.TokenRSVP || !hmac.Equal([]byte(s.linkToken(t)), []byte(strings.ToLower(token))) {
		return t, ErrNoLink
	}
	return t, nil
}

// ShowLink says what a link stands for, and changes nothing.
func (s *Service) ShowLink(ctx context.Context, token string) (LinkView, error) {
	t, err := s.findLink(ctx, token)
	if err != nil {
		return LinkView{}, err
	}
	var v LinkView
	err = s.db.View(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		v, err = s.viewLink(ctx, tx, t)
		return err
	})
	return v, err
}

func (s *Service) viewLink(ctx context.Context, tx *storage.Tx, t storage.MailToken) (LinkView, error) {
	org, att, _ := strings.Cut(t.Attendee, "\n")
	v := LinkView{State: LinkGone, Organizer: calendar.Address(org), Attendee: calendar.Address(att)}
	if t.Instances != "" {
		v.Instances = strings.Fields(t.Instances)
	}
	rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{t.Account}, t.UID, storage.ColumnData)
	if err != nil {
		return v, err
	}
	i := slices.IndexFunc(rows, func(o storage.Object) bool { return o.Flags&storage.FlagOrganizer != 0 })
	if i < 0 {
		return v, nil
	}
	obj, err := calendar.Parse([]byte(rows[i].Data), s.cfg.Limits)
	if err != nil {
		return v, nil
	}
	if !slices.ContainsFunc(itip.Attendees(obj), v.Attendee.Equal) {
		return v, nil
	}
	view := itip.Tailor(obj, v.Attendee)
	if view == nil || len(view.Components()) == 0 {
		return v, nil
	}
	v.Object = view
	parts := linkParts(view, v.Instances)
	if len(parts) == 0 {
		return v, nil
	}
	v.Partstat = partstatIn(parts[0], v.Attendee)
	if slices.ContainsFunc(parts, func(c *calendar.Component) bool { return !strings.EqualFold(c.Value("STATUS"), "CANCELLED") }) {
		v.State = LinkOpen
	} else {
		v.State = LinkCancelled
		return v, nil
	}
	idx, err := view.Index()
	if err != nil {
		return v, err
	}
	switch {
	case idx.End < micros(s.cfg.Now()):
		v.State = LinkOver
	case t.Used != 0:
		v.State, v.Used = LinkUsed, time.UnixMicro(t.Used)
	case int64(idx.Sequence) != t.Sequence:
		// The whole object counts on when any part of it changes: the link is
		// old only when somebody told this attendee something newer.
		newer, err := toldLater(ctx, tx, t, v.Attendee)
		if err != nil {
			return v, err
		}
		if newer {
			v.State = LinkStale
		}
	}
	return v, nil
}

// linkParts are the components that a link answers for.
func linkParts(o *calendar.Object, instances []string) []*calendar.Component {
	if len(instances) == 0 {
		return o.Components()
	}
	var out []*calendar.Component
	for _, c := range o.Components() {
		if slices.Contains(instances, c.Value("RECURRENCE-ID")) {
			out = append(out, c)
		}
	}
	if m := o.Master(); len(out) == 0 && m != nil { // invited to the whole meanwhile
		out = append(out, m)
	}
	return out
}

func partstatIn(c *calendar.Component, who calendar.Address) string {
	for _, p := range c.All("ATTENDEE") {
		if calendar.Address(p.Value()).Equal(who) {
			if st := strings.ToUpper(p.Param("PARTSTAT")); st != "" {
				return st
			}
		}
	}
	return statusNeedsAction
}

// toldLater reports whether a message of the organizer to the attendee was
// queued after the one that a link came with.
func toldLater(ctx context.Context, tx *storage.Tx, t storage.MailToken, who calendar.Address) (bool, error) {
	ds, err := tx.DeliveriesTo(ctx, t.Account, t.UID, who.Key())
	if err != nil {
		return false, err
	}
	turn, newest := int64(-1), int64(-1)
	for _, d := range ds {
		if d.State == storage.DeliverySuperseded || d.State == storage.DeliveryWithdrawn {
			continue
		}
		newest = max(newest, d.Turn)
		if d.WireID == linkWire(t.Nonce) {
			turn = d.Turn
		}
	}
	return turn < 0 || newest > turn, nil
}

// linkWire is the message that a link belongs to; links made after an answer
// add something to it.
func linkWire(nonce string) string {
	wire, _, _ := strings.Cut(nonce, " ")
	return wire
}

// AnswerLink answers an invitation as the attendee of the link would by a
// REPLY; the proof is "link". It answers once: next is the token of a link that
// can change the answer, for the page that shows it and nobody else. When the
// link cannot answer any more nothing happens, and the view says why.
func (s *Service) AnswerLink(ctx context.Context, token, partstat, comment, requestID string) (v LinkView, next string, err error) {
	t, err := s.findLink(ctx, token)
	if err != nil {
		return v, "", err
	}
	answered := false
	err = s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		answered, next = false, ""
		var err error
		org, _, _ := strings.Cut(t.Attendee, "\n")
		// The same lock that Receive takes below, before anything is read.
		if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: t.Account, UID: t.UID}}); err != nil {
			return err
		}
		if v, err = s.viewLink(ctx, tx, t); err != nil || v.State != LinkOpen {
			return err
		}
		fresh, err := tx.UseMailToken(ctx, t.Hash)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoLink
		}
		if err != nil {
			return err
		}
		if !fresh { // somebody pressed twice
			v.State, v.Used = LinkUsed, s.cfg.Now()
			return nil
		}
		msg, err := s.linkReply(v, partstat, comment)
		if err != nil {
			return err
		}
		if msg == nil { // he had said so already
			answered = true
		} else {
			res, err := s.receive(ctx, tx, Inbound{Via: linkProof, Proof: Proof{By: linkProof, Weak: true}, Originator: v.Attendee, Recipients: []calendar.Address{calendar.Address(org)}, Message: msg, RequestID: requestID}, "")
			if err != nil {
				return err
			}
			if len(res) != 1 || !strings.HasPrefix(res[0].Status, "2") {
				return &Error{Msg: "the answer could not be applied"}
			}
			answered = true
		}
		n := t
		n.Nonce, n.Used = linkWire(t.Nonce)+" "+s.newID(), 0
		next, err = s.saveLink(ctx, tx, n)
		return err
	})
	if err != nil {
		return v, "", err
	}
	if answered {
		v.Partstat = partstat
		s.cfg.Observe("link.answered", 1)
		s.cfg.Log.Info("an answer by link", "uid", t.UID, "answer", partstat, "request", requestID)
		s.Wake()
	}
	return v, next, nil
}

// linkReply makes the REPLY from what the attendee may see, nil when it would
// say nothing new.
func (s *Service) linkReply(v LinkView, partstat, comment string) (*calendar.Object, error) {
	self := []calendar.Address{v.Attendee}
	opt := itip.RespondOptions{Comment: comment}
	next := v.Object
	var err error
	if len(v.Instances) == 0 || v.Object.Master() != nil && !recurring(v.Object) {
		next, err = itip.Respond(next, self, partstat, nil, opt)
	} else {
		for _, c := range linkParts(v.Object, v.Instances) {
			p := c.Prop("RECURRENCE-ID")
			if p == nil || strings.EqualFold(c.Value("STATUS"), "CANCELLED") {
				continue
			}
			id, e := calendar.ParseDateTime(p)
			if e != nil {
				return nil, e
			}
			if next, err = itip.Respond(next, self, partstat, &id, opt); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	plan, err := itip.PlanChange(itip.Change{Old: v.Object, New: next, By: self, Now: s.cfg.Now(), ProdID: s.cfg.ProdID})
	if err != nil {
		return nil, err
	}
	for _, m := range plan.Messages {
		if m.Method == "REPLY" {
			return m.Object, nil
		}
	}
	return nil, nil
}

func recurring(o *calendar.Object) bool {
	m := o.Master()
	return m != nil && (m.Prop("RRULE") != nil || m.Prop("RDATE") != nil)
}
