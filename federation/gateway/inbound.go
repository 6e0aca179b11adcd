package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// Receiver stands before the Receiver of our own people and hands what is for
// people of gateway domains to their backends, while the sender waits: what a
// backend does not take is 5.1, and the sender's queue tries again.
type Receiver struct {
	scheduling.Receiver
	Client *Client
	// Gateway tells whether the calendar of an address is in a backend.
	Gateway func(ctx context.Context, a calendar.Address) (bool, error)
}

// Receive applies a message for our people and hands it on for the others.
func (r Receiver) Receive(ctx context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	return r.each(ctx, in, r.Receiver.Receive, func(domain string, to []calendar.Address) ([]scheduling.RecipientResult, error) {
		o := in.Message
		p := scheduling.Parcel{Method: o.Method(), Component: o.Kind(), UID: o.UID(), Originator: in.Originator, Recipients: to, Domain: domain, Body: o.Bytes(), Attempt: 1, Queued: r.Client.Now(), RequestID: in.RequestID, Passed: in.Passed}
		// The same message has the same id, however often its sender tries.
		sum := sha256.Sum256(append([]byte(in.Originator.Key()+"\x00"), p.Body...))
		p.WireID = hex.EncodeToString(sum[:16]) + "@" + domain
		return r.Client.Send(ctx, p)
	})
}

// AnswerFreeBusy answers for our people and asks the backends of the others.
func (r Receiver) AnswerFreeBusy(ctx context.Context, in scheduling.Inbound) ([]scheduling.RecipientResult, error) {
	return r.each(ctx, in, r.Receiver.AnswerFreeBusy, func(domain string, to []calendar.Address) ([]scheduling.RecipientResult, error) {
		return r.Client.FreeBusy(ctx, scheduling.Question{Originator: in.Originator, Recipients: to, Domain: domain, Body: in.Message.Bytes(), RequestID: in.RequestID})
	})
}

func (r Receiver) each(ctx context.Context, in scheduling.Inbound, ours func(context.Context, scheduling.Inbound) ([]scheduling.RecipientResult, error), theirs func(string, []calendar.Address) ([]scheduling.RecipientResult, error)) ([]scheduling.RecipientResult, error) {
	var local []calendar.Address
	away := map[string][]calendar.Address{}
	for _, a := range in.Recipients {
		gate, err := r.Gateway(ctx, a)
		if err != nil {
			return nil, err
		}
		if gate {
			away[a.Domain()] = append(away[a.Domain()], a)
		} else {
			local = append(local, a)
		}
	}
	if len(away) == 0 {
		return ours(ctx, in)
	}
	var got []scheduling.RecipientResult
	for domain, to := range away {
		if domain == in.Originator.Domain() { // A33: it came from there
			got = append(got, r.Client.all(to, "5.3;That person is the sender's own", "", false)...)
			continue
		}
		res, err := theirs(domain, to)
		if err != nil {
			return nil, err
		}
		for i := range res {
			if res[i].Retry {
				res[i].Status = "5.1;Try again later"
			}
		}
		got = append(got, res...)
	}
	if len(local) > 0 {
		rest := in
		rest.Recipients, rest.Once = local, nil // half of a request is not the request that Once names
		res, err := ours(ctx, rest)
		if err != nil {
			return nil, err
		}
		got = append(got, res...)
	}
	out := make([]scheduling.RecipientResult, 0, len(in.Recipients))
	for _, a := range in.Recipients {
		for _, x := range got {
			if x.Recipient.Equal(a) {
				x.Recipient = a
				out = append(out, x)
				break
			}
		}
	}
	return out, nil
}
