package scheduling

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// IsNotFound reports whether an error says that a resource does not exist.
func IsNotFound(err error) bool { return errors.Is(err, storage.ErrNotFound) }

// ErrReplayConflict says that a peer used one message id for two bodies.
var ErrReplayConflict = errors.New("scheduling: the message id was used for another message")

// How long accepted messages are remembered (ischedule.md §7.7).
const (
	keepSignatures = 3900*time.Second + 10*time.Minute
	keepMessages   = 14 * 24 * time.Hour
)

// Receive applies a message for local recipients, and remembers it, in one
// transaction. A message that was seen before gets the results it got then.
// Recipients that are no local users get 3.7; nothing is relayed.
func (s *Service) Receive(ctx context.Context, in Inbound) ([]RecipientResult, error) {
	if err := s.within(in.Message); err != nil {
		return nil, err
	}
	var results []RecipientResult
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		results = nil
		if in.Once != nil {
			text, found, conflict, err := tx.ReplaySeen(ctx, *in.Once)
			if err != nil {
				return err
			}
			if conflict {
				return ErrReplayConflict
			}
			if found {
				return json.Unmarshal([]byte(text), &results)
			}
		}
		var err error
		if results, err = s.receive(ctx, tx, in, ""); err != nil {
			return err
		}
		if in.Once == nil {
			return nil
		}
		final := results[:0:0]
		for _, r := range results {
			if c := storedStatus(r.Status); c == "1.0" || c == "5.1" { // temporary results are not remembered
				return nil
			}
			r.Calendar, r.Trace = nil, nil
			final = append(final, r)
		}
		b, err := json.Marshal(final)
		if err != nil {
			return err
		}
		now := s.cfg.Now()
		return tx.ReplayStore(ctx, *in.Once, string(b), now.Add(keepSignatures), now.Add(keepMessages))
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return results, nil
}

// receive is Receive within a transaction; kind is what the sender's side says
// the message means, "" when it is not known.
func (s *Service) receive(ctx context.Context, tx *storage.Tx, in Inbound, kind itip.Kind) ([]RecipientResult, error) {
	d := s.newDelivery(tx, storage.Account{}, in.RequestID, s.cfg.Now())
	d.outside = in.Via != transportLocal
	if err := d.learn(ctx, append(partiesOf(in.Message), in.Recipients...)); err != nil {
		return nil, err
	}
	owner := d.ownerOf(in.Message)
	msg := itip.Message{Method: in.Message.Method(), Component: in.Message.Kind(), UID: in.Message.UID(), Originator: in.Originator, Object: in.Message, Kind: kind}
	var msgs []itip.Message
	for _, a := range in.Recipients {
		r, ok := d.local(a)
		if !ok {
			d.fail(a, "3.7;Invalid calendar user")
			continue
		}
		if r.Account.Kind == storage.KindGroup && !r.Account.Disabled && stateful(msg.Method) {
			m, err := d.inviteMembers(ctx, r.Account, a, msg)
			if err != nil {
				return nil, err
			}
			if len(m.Recipients) > 0 {
				msgs = append(msgs, m)
			}
			d.result[a.Key()] = "2.0;Success"
			continue
		}
		if st := unreachable(r); st != "" {
			d.fail(a, st)
			continue
		}
		if _, ok := itip.Organizer(in.Message); !ok { // want 18: a REPLY without ORGANIZER belongs to its recipient
			owner = r.Account.ID
		}
		msg.Recipients = append(msg.Recipients, a)
	}
	if len(msg.Recipients) > 0 {
		msgs = append([]itip.Message{msg}, msgs...)
	}
	if len(msgs) > 0 {
		if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: owner, UID: msg.UID}}); err != nil {
			return nil, err
		}
		if err := d.sendLocal(ctx, msgs); err != nil {
			return nil, err
		}
		if _, err := d.lock(ctx, nil); err != nil {
			return nil, err
		}
		if err := d.flush(ctx); err != nil {
			return nil, err
		}
	}
	out := make([]RecipientResult, 0, len(in.Recipients))
	for _, a := range in.Recipients {
		out = append(out, RecipientResult{Recipient: a, Status: d.result[a.Key()], Transport: in.Via, Proof: in.Proof.String()})
	}
	return out, nil
}
