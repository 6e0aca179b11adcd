package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

// Which domains were told of busy times (A45).
func testBusyQuestions(t *testing.T, db *storage.DB) {
	a, b := user(t, db, "alice"), user(t, db, "bob")
	ok(t, db.NoteBusyQuestion(bg, "x.test", "eve@x.test", nil))
	ok(t, db.NoteBusyQuestion(bg, "x.test", "eve@x.test", []storage.AccountID{b.ID, a.ID, a.ID}))
	ok(t, db.NoteBusyQuestion(bg, "y.test", "carl@y.test", []storage.AccountID{a.ID}))
	ok(t, db.NoteBusyQuestion(bg, "x.test", "sam@x.test", []storage.AccountID{a.ID}))
	list, err := db.BusyQuestions(bg, a.ID, 10)
	ok(t, err)
	for i := range list {
		if list[i].Last == 0 {
			t.Errorf("without a time: %+v", list[i])
		}
		list[i].Last = 0
	}
	equal(t, "asked about a", fmt.Sprint(list), fmt.Sprint([]storage.BusyQuestion{{Account: a.ID, Domain: "x.test", Asker: "sam@x.test", Questions: 2}, {Account: a.ID, Domain: "y.test", Asker: "carl@y.test", Questions: 1}}))
	list, err = db.BusyQuestions(bg, b.ID, 10)
	ok(t, err)
	if len(list) != 1 || list[0].Questions != 1 {
		t.Errorf("asked about b: %+v", list)
	}
	_, err = db.Janitor(bg, time.Now().Add(89*24*time.Hour), storage.Retention{})
	ok(t, err)
	if list, err = db.BusyQuestions(bg, b.ID, 10); err != nil || len(list) != 1 {
		t.Errorf("after 89 days: %+v %v", list, err)
	}
	_, err = db.Janitor(bg, time.Now().Add(91*24*time.Hour), storage.Retention{})
	ok(t, err)
	if list, err = db.BusyQuestions(bg, b.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("after 91 days: %+v %v", list, err)
	}
	ok(t, db.NoteBusyQuestion(bg, "x.test", "eve@x.test", []storage.AccountID{a.ID}))
	ok(t, db.RemoveAccount(bg, a.ID))
	if list, err = db.BusyQuestions(bg, a.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("of an account that is gone: %+v %v", list, err)
	}
}
