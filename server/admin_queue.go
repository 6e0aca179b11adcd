package server

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// DeliveryInfo describes one message to one recipient.
type DeliveryInfo struct {
	Ref       string `json:"ref"` // ACCOUNT/NUMBER, what show, retry and cancel take
	User      string `json:"user"`
	UID       string `json:"uid"`
	Recipient string `json:"recipient"`
	Domain    string `json:"domain"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	Transport string `json:"transport"`
	Status    string `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Proof     string `json:"proof,omitempty"`
	NotBefore string `json:"not_before,omitempty"`
	Expires   string `json:"expires,omitempty"`
	Created   string `json:"created"`
	Updated   string `json:"updated"`
}

// DeliveryDetail is a delivery with its message and what was tried.
type DeliveryDetail struct {
	DeliveryInfo
	Method    string               `json:"method"`
	Component string               `json:"component"`
	From      string               `json:"from"`
	WireID    string               `json:"wire_id,omitempty"`
	RequestID string               `json:"request_id,omitempty"`
	Trace     []scheduling.Attempt `json:"trace"`
	Body      string               `json:"body,omitempty"`
}

// DeliveryQuery selects deliveries, newest first.
type DeliveryQuery struct {
	State  string // "" all
	Domain string
	User   string
	UID    string
	Limit  int // 0: 100
}

var deliveryStates = map[storage.DeliveryState]string{
	storage.DeliveryHeld: "held", storage.DeliveryQueued: "queued", storage.DeliveryInFlight: "in-flight", storage.DeliveryDone: "done",
	storage.DeliveryFailed: "failed", storage.DeliverySuperseded: "superseded", storage.DeliveryWithdrawn: "withdrawn",
}

func parseState(s string) (storage.DeliveryState, error) {
	for st, name := range deliveryStates {
		if name == s {
			return st, nil
		}
	}
	return 0, usage("the state is held, queued, in-flight, done, failed, superseded or withdrawn, not %q", s)
}

func deliveryInfo(d storage.Delivery, user string) DeliveryInfo {
	if user == "" { // the account is gone
		user = strconv.FormatInt(int64(d.Account), 10)
	}
	out := DeliveryInfo{Ref: user + "/" + strconv.FormatInt(d.ID, 10), User: user, UID: d.UID, Recipient: d.Recipient, Domain: d.Domain,
		State: deliveryStates[d.State], Attempts: d.Attempts, Transport: d.Transport, Status: d.Status, Detail: d.Detail, Proof: d.Proof,
		Created: stamp(d.Created), Updated: stamp(d.Updated)}
	if d.State.Open() {
		out.NotBefore, out.Expires = stamp(d.NotBefore), stamp(d.Expires)
	}
	return out
}

// Deliveries lists deliveries.
func (a *Admin) Deliveries(ctx context.Context, q DeliveryQuery) ([]DeliveryInfo, error) {
	f := storage.DeliveryFilter{Domain: strings.ToLower(q.Domain), UID: q.UID, Limit: q.Limit}
	var err error
	if q.State != "" {
		if f.State, err = parseState(q.State); err != nil {
			return nil, err
		}
	}
	if q.User != "" {
		acc, err := a.account(ctx, q.User)
		if err != nil {
			return nil, err
		}
		f.Account = acc.ID
	}
	list, err := a.db.Deliveries(ctx, f)
	if err != nil {
		return nil, err
	}
	var ids []storage.AccountID
	for _, d := range list {
		ids = append(ids, d.Account)
	}
	accounts, err := a.db.AccountsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := []DeliveryInfo{}
	for _, d := range list {
		out = append(out, deliveryInfo(d, accounts[d.Account].Handle))
	}
	return out, nil
}

// delivery finds what ref names: NAME/NUMBER as lists show it.
func (a *Admin) delivery(ctx context.Context, ref string) (storage.Claimed, string, error) {
	user, number, ok := strings.Cut(ref, "/")
	id, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || user == "" {
		return storage.Claimed{}, "", usage("%q names no delivery; take the first column of `kalends deliveries list`, such as alice/4711", ref)
	}
	acc, err := a.db.AccountByHandle(ctx, user)
	if errors.Is(err, storage.ErrNotFound) {
		var n int64
		if n, err = strconv.ParseInt(user, 10, 64); err != nil {
			return storage.Claimed{}, "", explained(storage.ErrNotFound, "there is no account %q; take the first column of `kalends deliveries list`", user)
		}
		acc.ID = storage.AccountID(n)
	} else if err != nil {
		return storage.Claimed{}, "", err
	}
	d, err := a.db.Delivery(ctx, acc.ID, id)
	if errors.Is(err, storage.ErrNotFound) {
		err = explained(err, "there is no delivery %s; `kalends deliveries list` shows those that are kept", ref)
	}
	return d, acc.Handle, err
}

// Delivery shows one delivery; its message only with body, for it is somebody's
// private business.
func (a *Admin) Delivery(ctx context.Context, ref string, body bool) (DeliveryDetail, error) {
	d, user, err := a.delivery(ctx, ref)
	if err != nil {
		return DeliveryDetail{}, err
	}
	out := DeliveryDetail{DeliveryInfo: deliveryInfo(d.Delivery, user), Method: d.Message.Method, Component: d.Message.Component,
		From: d.Message.Originator, WireID: d.WireID, RequestID: d.Message.RequestID, Trace: scheduling.ReadTrace(d.Trace)}
	if body {
		out.Body = d.Message.Body
		return out, a.audit(ctx, "delivery.read", ref, d.UID)
	}
	return out, nil
}

// RetryDelivery makes a delivery due now.
func (a *Admin) RetryDelivery(ctx context.Context, ref string) error {
	d, _, err := a.delivery(ctx, ref)
	if err != nil {
		return err
	}
	if err := a.db.RetryDelivery(ctx, d.Account, d.ID); errors.Is(err, storage.ErrNotFound) {
		return explained(err, "the delivery %s is %s and cannot be tried again; only one that waits, or that failed with nothing newer sent since", ref, deliveryStates[d.State])
	} else if err != nil {
		return err
	}
	return a.audit(ctx, "delivery.retry", ref, d.Recipient)
}

// CancelDelivery gives a waiting delivery up; its sender sees the status 5.1.
func (a *Admin) CancelDelivery(ctx context.Context, ref string) error {
	d, _, err := a.delivery(ctx, ref)
	if err != nil {
		return err
	}
	if err := a.db.CancelDelivery(ctx, d.Account, d.ID); errors.Is(err, storage.ErrNotFound) {
		return explained(err, "the delivery %s is %s; only one that waits can be given up", ref, deliveryStates[d.State])
	} else if err != nil {
		return err
	}
	return a.audit(ctx, "delivery.cancel", ref, d.Recipient)
}

// RetryAll makes all deliveries due now that q selects and that can be: those
// that wait, and with State "failed" those that failed. It tells how many.
func (a *Admin) RetryAll(ctx context.Context, q DeliveryQuery) (int, error) {
	if q.State != "failed" && q.State != "queued" && q.State != "" {
		return 0, usage("--state is queued or failed, for only those can be tried again")
	}
	if q.State == "" {
		q.State = "queued"
	}
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	list, err := a.Deliveries(ctx, q)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range list {
		found, _, err := a.delivery(ctx, d.Ref)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		err = a.db.RetryDelivery(ctx, found.Account, found.ID)
		if errors.Is(err, storage.ErrNotFound) {
			continue // sent, or something newer was, meanwhile
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, a.audit(ctx, "delivery.retry", q.State, strconv.Itoa(n))
}
