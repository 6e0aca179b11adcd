package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/storage"
)

// The pages of administration show accounts, domains and queues. No handler
// here reads an object, a collection or the body of a message: the right to
// administer opens no calendar.

// adminPage is what admin.html shows.
type adminPage struct {
	Domains []adminDomain
	Hints   []string
	Unknown string // why it is not known of all records whether they are there
	Queue   []queueDomain
	Audit   []auditLine
}

type adminDomain struct {
	Name, Since string
	Keys        []adminKey
}

type adminKey struct {
	Purpose, Selector, State string
}

type queueDomain struct {
	Domain                string
	Waiting, Flying, Dead int
	Oldest                string
	More                  bool
	oldest                int64
}

type auditLine struct {
	At, Actor, Action, Subject, Detail string
}

// maxQueue bounds how many deliveries of one state are looked at.
const maxQueue = 500

func (q *request) adminOverview() error {
	var p adminPage
	var unknown error
	if p.Hints, unknown = q.s.cfg.DNSHints(q.ctx); unknown != nil {
		p.Unknown = oneLine(unknown.Error(), 300)
	}
	domains, err := q.s.db.ListDomains(q.ctx)
	if err != nil {
		return err
	}
	for _, d := range domains {
		row := adminDomain{Name: d.Name, Since: time.UnixMicro(d.Created).UTC().Format(time.DateOnly)}
		keys, err := q.s.db.Keys(q.ctx, d.Name)
		if err != nil {
			return err
		}
		for _, k := range keys {
			row.Keys = append(row.Keys, adminKey{k.Purpose, k.Selector, string(k.State)})
		}
		p.Domains = append(p.Domains, row)
	}
	if p.Queue, err = q.queueByDomain(); err != nil {
		return err
	}
	trail, err := q.s.db.AuditTrail(q.ctx, 20)
	if err != nil {
		return err
	}
	for _, e := range trail {
		p.Audit = append(p.Audit, auditLine{stampText(time.UnixMicro(e.At), time.UTC), oneLine(e.Actor, 80), oneLine(e.Action, 80), oneLine(e.Subject, 80), oneLine(e.Detail, 200)})
	}
	return q.render(http.StatusOK, "admin", "Administration", p)
}

// queueByDomain counts what is open or failed, per domain.
func (q *request) queueByDomain() ([]queueDomain, error) {
	by := map[string]*queueDomain{}
	for _, state := range []storage.DeliveryState{storage.DeliveryHeld, storage.DeliveryQueued, storage.DeliveryInFlight, storage.DeliveryFailed} {
		rows, err := q.s.db.Deliveries(q.ctx, storage.DeliveryFilter{State: state, Limit: maxQueue})
		if err != nil {
			return nil, err
		}
		for _, d := range rows {
			e := by[d.Domain]
			if e == nil {
				e = &queueDomain{Domain: d.Domain}
				by[d.Domain] = e
			}
			e.More = e.More || len(rows) == maxQueue
			switch state {
			case storage.DeliveryFailed:
				e.Dead++
				continue
			case storage.DeliveryInFlight:
				e.Flying++
			default:
				e.Waiting++
			}
			if e.oldest == 0 || d.Created < e.oldest {
				e.oldest = d.Created
				e.Oldest = agoText(time.UnixMicro(d.Created), q.now())
			}
		}
	}
	var out []queueDomain
	for _, e := range by {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b queueDomain) int {
		return cmp.Or(cmp.Compare(b.Waiting+b.Flying+b.Dead, a.Waiting+a.Flying+a.Dead), cmp.Compare(a.Domain, b.Domain))
	})
	return out, nil
}

// accountsPage is what accounts.html shows.
type accountsPage struct {
	Search   string
	Accounts []accountRow
	Next     string // handle to go on from
}

type accountRow struct {
	Handle, Name, Kind, Rights, State string
	Emails                            []string
}

const accountsPerPage = 100

var kindWords = map[storage.AccountKind]string{storage.KindUser: "person", storage.KindGroup: "group", storage.KindRoom: "room", storage.KindResource: "resource"}

func (q *request) adminAccounts() error {
	p := accountsPage{Search: oneLine(q.URL.Query().Get("q"), 100)}
	var list []storage.Account
	var err error
	if p.Search != "" {
		list, err = q.s.db.SearchAccounts(q.ctx, p.Search, accountsPerPage)
	} else {
		list, err = q.s.db.ListAccounts(q.ctx, storage.Page{After: q.URL.Query().Get("after"), Limit: accountsPerPage})
		if len(list) == accountsPerPage {
			p.Next = list[len(list)-1].Handle
		}
	}
	if err != nil {
		return err
	}
	for _, a := range list {
		row := accountRow{Handle: a.Handle, Name: a.DisplayName, Kind: kindWords[a.Kind], Emails: a.Emails}
		var rights []string
		if a.Rights&storage.RightAdmin != 0 {
			rights = append(rights, "admin")
		}
		if a.Rights&storage.RightReadAll != 0 {
			rights = append(rights, "reads all calendars")
		}
		row.Rights = strings.Join(rights, ", ")
		switch {
		case a.Disabled:
			row.State = "disabled"
		case a.Verifier == "" && a.Kind == storage.KindUser:
			row.State = "has no password"
		}
		p.Accounts = append(p.Accounts, row)
	}
	return q.render(http.StatusOK, "accounts", "Accounts", p)
}

// queuePage is what queue.html shows.
type queuePage struct {
	Domain, State string
	States        []choice
	Rows          []queueRow
	Next          string // cursor
}

type queueRow struct {
	Account                   int64
	ID                        int64
	Sender, Recipient, Domain string
	View                      deliveryView
	CanRetry, CanCancel       bool
}

const queuePerPage = 100

func (q *request) adminQueue() error {
	v := q.URL.Query()
	p := queuePage{Domain: oneLine(v.Get("domain"), 255), State: v.Get("state")}
	states := []struct {
		value, text string
		state       storage.DeliveryState
	}{{"queued", "waiting", storage.DeliveryQueued}, {"failed", "failed", storage.DeliveryFailed}, {"flying", "being sent", storage.DeliveryInFlight}, {"held", "held for a moment", storage.DeliveryHeld}, {"done", "delivered", storage.DeliveryDone}}
	state := storage.DeliveryQueued
	if p.State == "" {
		p.State = "queued"
	}
	for _, s := range states {
		if s.value == p.State {
			state = s.state
		}
		p.States = append(p.States, choice{s.value, s.text, s.value == p.State})
	}
	f := storage.DeliveryFilter{Domain: p.Domain, State: state, Limit: queuePerPage}
	if c, id, ok := strings.Cut(v.Get("after"), "-"); ok {
		f.After.Created, _ = strconv.ParseInt(c, 10, 64)
		f.After.ID, _ = strconv.ParseInt(id, 10, 64)
	}
	list, err := q.s.db.Deliveries(q.ctx, f)
	if err != nil {
		return err
	}
	senders, err := q.senders(list)
	if err != nil {
		return err
	}
	for _, d := range list {
		row := queueRow{Account: int64(d.Account), ID: d.ID, Sender: senders[d.Account].Handle, Recipient: oneLine(mailText(d.Recipient), 200), Domain: d.Domain, View: oneDelivery(d, q.now(), time.UTC)}
		row.CanRetry = d.State == storage.DeliveryFailed || d.State == storage.DeliveryQueued || d.State == storage.DeliveryHeld
		row.CanCancel = d.State == storage.DeliveryQueued || d.State == storage.DeliveryHeld
		p.Rows = append(p.Rows, row)
	}
	if len(list) == queuePerPage {
		last := list[len(list)-1]
		p.Next = strconv.FormatInt(last.Created, 10) + "-" + strconv.FormatInt(last.ID, 10)
	}
	return q.render(http.StatusOK, "queue", "Delivery queue", p)
}

// senders are the accounts whose messages are listed.
func (q *request) senders(list []storage.Delivery) (map[storage.AccountID]storage.Account, error) {
	ids := make([]storage.AccountID, 0, len(list))
	for _, d := range list {
		ids = append(ids, d.Account)
	}
	slices.Sort(ids)
	return q.s.db.AccountsByID(q.ctx, slices.Compact(ids))
}

// adminDelivery makes a delivery due now, or gives it up.
func (q *request) adminDelivery() error {
	account, err := strconv.ParseInt(q.PathValue("account"), 10, 64)
	id, err2 := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil || err2 != nil {
		return errNoPage
	}
	done := "retry"
	switch q.PostForm.Get("do") {
	case "retry":
		err = q.s.db.RetryDelivery(q.ctx, storage.AccountID(account), id)
	case "cancel":
		done, err = "cancelled", q.s.db.CancelDelivery(q.ctx, storage.AccountID(account), id)
	default:
		return errBadForm
	}
	if errors.Is(err, storage.ErrNotFound) {
		return &problem{http.StatusConflict, "That is not possible any more", "The delivery went on meanwhile, or a newer message to the same person took its place. Look at the queue again."}
	}
	if err != nil {
		return err
	}
	if err := q.s.db.Audit(q.ctx, q.user.Handle, "delivery "+q.PostForm.Get("do"), strconv.FormatInt(account, 10)+"/"+strconv.FormatInt(id, 10), "web"); err != nil {
		return err
	}
	q.s.sched.Wake()
	q.redirect(withDone(here(q.PostForm.Get("next")), done))
	return nil
}
