package scheduling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Submission is a message that another calendar system sends through us, for a
// person of the domain it may speak for.
type Submission struct {
	Domain     string
	Originator calendar.Address
	Recipients []calendar.Address
	Message    *calendar.Object // validated by calendar.ValidateMessage
	MessageID  string           // of the other system; "": what it says names it
	RequestID  string
}

// noAccount owns what is sent for people who have no account here.
const noAccount = storage.AccountID(0)

// Submit delivers to people here at once and queues the message for the
// others; 1.1 says that it is queued. The same submission again gets the
// answer it got and sends nothing (A33).
func (s *Service) Submit(ctx context.Context, in Submission) ([]RecipientResult, error) {
	if err := s.within(in.Message); err != nil {
		return nil, err
	}
	body := in.Message.Bytes()
	sum := sha256.Sum256(body)
	once := storage.Once{Domain: in.Domain, MessageID: "gateway:" + in.MessageID, BodyHash: hex.EncodeToString(sum[:])}
	if in.MessageID == "" || len(in.MessageID) > 200 {
		once.MessageID = "gateway-body:" + once.BodyHash
	}
	for _, a := range in.Recipients {
		once.Recipients += a.Key() + " "
	}
	if in.MessageID == "" { // the same words to other people are another message
		to := sha256.Sum256([]byte(once.Recipients))
		once.MessageID += ":" + hex.EncodeToString(to[:8])
	}
	var out []RecipientResult
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		out = nil
		text, found, conflict, err := tx.ReplaySeen(ctx, once)
		if err != nil {
			return err
		}
		if conflict {
			return &calendar.Error{Code: calendar.CodeInvalidData, Msg: "the message id was used for another message"}
		}
		if found {
			return json.Unmarshal([]byte(text), &out)
		}
		now := s.cfg.Now()
		d := s.newDelivery(tx, storage.Account{ID: noAccount}, in.RequestID, now)
		if err := d.learn(ctx, in.Recipients); err != nil {
			return err
		}
		msg := itip.Message{Method: in.Message.Method(), Component: in.Message.Kind(), UID: in.Message.UID(), Originator: in.Originator, Object: in.Message}
		result := map[string]RecipientResult{}
		var local []calendar.Address
		for _, a := range in.Recipients {
			if _, ok := d.local(a); ok {
				local = append(local, a)
				continue
			}
			st, err := s.route(ctx, a)
			if err != nil {
				return err
			}
			if st == "" {
				st = "1.1;Queued"
				msg.Recipients = append(msg.Recipients, a)
			}
			result[a.Key()] = RecipientResult{Recipient: a, Status: st, Transport: "gateway"}
		}
		if len(local) > 0 {
			res, err := s.receive(ctx, tx, Inbound{Via: "gateway", Proof: Proof{Domain: in.Domain}, Originator: in.Originator, Recipients: local, Message: in.Message, RequestID: in.RequestID}, "")
			if err != nil {
				return err
			}
			for _, r := range res {
				result[r.Recipient.Key()] = r
			}
		}
		if len(msg.Recipients) > 0 {
			d.enqueue(noAccount, msg, msg.Recipients, "", "", now)
			if err := tx.Enqueue(ctx, d.messages, d.queued); err != nil {
				return err
			}
		}
		for _, a := range in.Recipients {
			r := result[a.Key()]
			r.Recipient = a
			out = append(out, r)
		}
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		return tx.ReplayStore(ctx, once, string(b), now.Add(keepSignatures), now.Add(keepMessages))
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}
