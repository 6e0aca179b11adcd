package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// What became of messages, for programs and for the script of the pages: each
// message to each recipient with the way and why, every attempt, what the peer
// said, what vouches for it, and when the next try is. Who may read it: whoever
// sent it, and administrators. The message itself is not told.

// deliveriesAnswer is the body of GET /api/deliveries and /api/admin/deliveries.
type deliveriesAnswer struct {
	Deliveries []deliveryItem `json:"deliveries"` // newest first
	More       bool           `json:"more"`       // there are older ones
}

type deliveryItem struct {
	Ref       string               `json:"ref"` // what `kalends deliveries show` takes
	UID       string               `json:"uid"`
	Recipient string               `json:"recipient"`
	State     string               `json:"state"` // held, queued, in-flight, done, failed, superseded, withdrawn
	Open      bool                 `json:"open"`  // not final
	Transport string               `json:"transport,omitempty"`
	Why       string               `json:"why,omitempty"` // the answer of the DNS, or the policy
	Status    string               `json:"status,omitempty"`
	Said      string               `json:"said,omitempty"` // by the other side
	Proof     string               `json:"proof,omitempty"`
	Attempts  int                  `json:"attempts"`
	Created   time.Time            `json:"created"`
	Updated   time.Time            `json:"updated"`
	Next      *time.Time           `json:"next,omitempty"`
	Expires   *time.Time           `json:"expires,omitempty"`
	Trace     []scheduling.Attempt `json:"trace"` // oldest first
}

// stateNames are the names that the command line uses too.
var stateNames = map[storage.DeliveryState]string{
	storage.DeliveryHeld: "held", storage.DeliveryQueued: "queued", storage.DeliveryInFlight: "in-flight", storage.DeliveryDone: "done",
	storage.DeliveryFailed: "failed", storage.DeliverySuperseded: "superseded", storage.DeliveryWithdrawn: "withdrawn",
}

func itemOf(d storage.Delivery, handle string) deliveryItem {
	it := deliveryItem{Ref: handle + "/" + strconv.FormatInt(d.ID, 10), UID: d.UID, Recipient: d.Recipient, State: stateNames[d.State], Open: d.State.Open(), Transport: d.Transport,
		Status: d.Status, Said: d.Detail, Proof: d.Proof, Attempts: d.Attempts, Created: time.UnixMicro(d.Created).UTC(), Updated: time.UnixMicro(d.Updated).UTC(), Trace: scheduling.ReadTrace(d.Trace)}
	if it.Trace == nil {
		it.Trace = []scheduling.Attempt{}
	}
	if d.State == storage.DeliveryHeld || d.State == storage.DeliveryQueued {
		next := time.UnixMicro(d.NotBefore).UTC()
		it.Next = &next
		if d.Expires > 0 {
			end := time.UnixMicro(d.Expires).UTC()
			it.Expires = &end
		}
	}
	for _, t := range it.Trace {
		for _, s := range t.Steps {
			if decides(s.What) {
				it.Why = s.Text
			}
		}
	}
	return it
}

// decides tells whether a step says why a message goes the way it goes.
func decides(step string) bool { return step == "dns" || step == "policy" || step == "fallback" }

// deliveriesJSON tells what the user sent about one event (?uid=), to everybody
// or to one person (&recipient=).
func (q *request) deliveriesJSON() error {
	uid := q.URL.Query().Get("uid")
	if uid == "" {
		return &problem{http.StatusBadRequest, "Which event?", "Ask with ?uid= and the UID of the event."}
	}
	var list []storage.Delivery
	var err error
	if to := q.URL.Query().Get("recipient"); to != "" {
		list, err = q.s.db.DeliveriesTo(q.ctx, q.user.ID, uid, calendar.Address(to).Key())
		slices.Reverse(list)
		list = list[:min(len(list), queuePerPage)]
	} else {
		list, err = q.s.db.Deliveries(q.ctx, storage.DeliveryFilter{Account: q.user.ID, UID: uid, Limit: queuePerPage})
	}
	if err != nil {
		return err
	}
	a := deliveriesAnswer{Deliveries: []deliveryItem{}, More: len(list) == queuePerPage}
	for _, d := range list {
		a.Deliveries = append(a.Deliveries, itemOf(d, q.user.Handle))
	}
	return q.json(http.StatusOK, a)
}

// adminDeliveriesJSON tells it of everybody's messages: ?uid=, ?domain=,
// ?state=, ?user=.
func (q *request) adminDeliveriesJSON() error {
	v := q.URL.Query()
	f := storage.DeliveryFilter{UID: v.Get("uid"), Domain: strings.ToLower(v.Get("domain")), Limit: queuePerPage}
	if name := v.Get("state"); name != "" {
		for st, n := range stateNames {
			if n == name {
				f.State = st
			}
		}
		if f.State == 0 {
			return &problem{http.StatusBadRequest, "No such state", "The state is held, queued, in-flight, done, failed, superseded or withdrawn."}
		}
	}
	if name := v.Get("user"); name != "" {
		acc, err := q.s.db.AccountByHandle(q.ctx, name)
		if err != nil {
			return errNoPage
		}
		f.Account = acc.ID
	}
	list, err := q.s.db.Deliveries(q.ctx, f)
	if err != nil {
		return err
	}
	senders, err := q.senders(list)
	if err != nil {
		return err
	}
	a := deliveriesAnswer{Deliveries: []deliveryItem{}, More: len(list) == queuePerPage}
	for _, d := range list {
		handle := senders[d.Account].Handle
		if handle == "" { // the account is gone
			handle = strconv.FormatInt(int64(d.Account), 10)
		}
		a.Deliveries = append(a.Deliveries, itemOf(d, handle))
	}
	return q.json(http.StatusOK, a)
}
