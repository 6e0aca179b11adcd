package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// The right to administer opens no calendar: no page of administration, nor
// any other, shows an administrator other people's titles.
func TestAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hints, w.hintsFail = []string{"_ischedules._tcp.alpha.test SRV is missing"}, errors.New("alpha.test TXT: time out")
	alice := w.account("alice", nil)
	w.account("bob", func(a *storage.Account) { a.Disabled = true })
	w.account("root", func(a *storage.Account) { a.Rights = storage.RightAdmin; a.Emails = nil })
	secret := strings.ReplaceAll(meeting, "SUMMARY:Budget", "SUMMARY:Secret takeover\nDESCRIPTION:Secret plan\nLOCATION:Secret cellar")
	w.put(alice, "secret-name.ics", secret)
	list, err := w.db.Deliveries(t.Context(), storage.DeliveryFilter{Account: alice.ID})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	var waiting, failed storage.Delivery
	for _, d := range list {
		if d.Domain == "beta.test" {
			waiting = d
		} else {
			failed = d
		}
	}
	failed.State, failed.Status, failed.Transport, failed.Detail, failed.Attempts = storage.DeliveryFailed, "5.1", "mail", "550 no such user", 3
	if err := w.db.Tx(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		return tx.UpdateDeliveries(ctx, []storage.Delivery{failed})
	}); err != nil {
		t.Fatal(err)
	}

	b := w.signedIn("root")
	pages := map[string][]string{
		"/admin":                        {"alpha.test", "_ischedules._tcp.alpha.test SRV is missing", "Not all records could be looked up", "alpha.test TXT: time out", "beta.test", "mail.test"},
		"/admin/accounts":               {"alice", "bob", "disabled", "admin", "alice@alpha.test"},
		"/admin/accounts?q=ali":         {"alice@alpha.test"},
		"/admin/queue":                  {"carol@beta.test", "from alice", "Give up"},
		"/admin/queue?state=failed":     {"dave@mail.test", "550 no such user", "Try again now"},
		"/admin/queue?domain=nowhere":   {"Nothing here"},
		"/admin/queue?after=x-y":        nil,
		"/admin/accounts?after=zzzzzzz": {"No account matches"},
		"/":                             nil,
	}
	for path, parts := range pages {
		r := b.get(path)
		r.want(t, 200, parts...)
		r.lacks(t, "Secret", "secret-name", "meeting@test", "SUMMARY")
	}
	b.get("/event/calendar/secret-name.ics").want(t, 404)

	// Everybody else does not even learn that the pages exist.
	for path := range pages {
		if strings.HasPrefix(path, "/admin") {
			w.signedIn("alice").get(path).want(t, 404, "There is no such page")
		}
	}
	path := func(d storage.Delivery) string { return fmt.Sprintf("/admin/queue/%d/%d", d.Account, d.ID) }
	w.signedIn("alice").post(path(failed), url.Values{"do": {"retry"}}).want(t, 404)

	b.post(path(failed), url.Values{"do": {"retry"}, "next": {"https://evil.test/"}}).want(t, 303)
	b.post(path(waiting), url.Values{"do": {"cancel"}, "next": {"/admin/queue?state=queued&domain="}}).want(t, 303)
	b.post(path(waiting), url.Values{"do": {"cancel"}}).want(t, 409, "not possible any more")
	b.post(path(waiting), url.Values{"do": {"burn"}}).want(t, 400)
	for want, d := range map[storage.DeliveryState]storage.Delivery{storage.DeliveryQueued: failed, storage.DeliveryFailed: waiting} {
		got, err := w.db.Delivery(t.Context(), d.Account, d.ID)
		if err != nil || got.State != want {
			t.Errorf("%s: state %d, want %d (%v)", d.Recipient, got.State, want, err)
		}
	}
	b.get("/admin").want(t, 200, "delivery retry", "delivery cancel", "root")
}

func TestRightsAreReadOnEachRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.account("root", func(a *storage.Account) { a.Rights = storage.RightAdmin })
	b := w.signedIn("root")
	b.get("/admin").want(t, 200)
	if _, err := w.db.UpdateAccount(t.Context(), root.ID, storage.AccountChange{Rights: ptr(storage.Rights(0))}); err != nil {
		t.Fatal(err)
	}
	if r := b.get("/admin"); r.status == 200 {
		t.Error("the right is gone, the page is not")
	}
}

// A30: what stands in a search field, a filter or a page mark is a value, never a part
// of a statement, and another site's page does not act for an administrator.
func TestAdminTakesValuesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	w.account("root", func(a *storage.Account) { a.Rights = storage.RightAdmin })
	w.put(alice, "one.ics", meeting)
	b := w.signedIn("root")
	for _, evil := range []string{"' OR '1'='1", "'; DROP TABLE account; --", `\' OR 1=1 --`, "%", "_", "a' UNION SELECT verifier FROM account --", "$1", "?1", "(SELECT 1)", "\"\"", "handle DESC"} {
		q := url.QueryEscape(evil)
		r := b.get("/admin/accounts?q=" + q)
		r.want(t, 200, "No account matches")
		r.lacks(t, "alice@alpha.test", "$argon2id$")
		b.get("/admin/accounts?sort="+q+"&order="+q).want(t, 200, "alice@alpha.test")
		r = b.get("/admin/accounts?after=" + q)
		r.want(t, 200)
		r.lacks(t, "$argon2id$")
		b.get("/admin/queue?domain="+q).want(t, 200, "Nothing here")
		for _, name := range []string{"state", "after"} {
			if r := b.get("/admin/queue?" + name + "=" + q); r.status != 200 && r.status != 400 && r.status != 404 {
				t.Errorf("queue by %s %q: %d", name, evil, r.status)
			}
		}
	}
	if list, err := w.db.ListAccounts(t.Context(), storage.Page{}); err != nil || len(list) != 3 {
		t.Errorf("%d accounts are left, %v", len(list), err)
	}
	list, err := w.db.Deliveries(t.Context(), storage.DeliveryFilter{Account: alice.ID})
	if err != nil || len(list) == 0 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	d := list[0]
	path := fmt.Sprintf("/admin/queue/%d/%d", d.Account, d.ID)
	foreign := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.test")
	}
	b.do(http.MethodPost, path, url.Values{"do": {"cancel"}}, foreign).want(t, 403, "came from another site")
	b.get(path + "?do=cancel") // nor does a link
	if got, err := w.db.Delivery(t.Context(), d.Account, d.ID); err != nil || got.State != d.State {
		t.Errorf("the delivery: state %d, was %d, %v", got.State, d.State, err)
	}
}
