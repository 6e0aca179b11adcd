package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// Want 43: how a room is booked is set by file and by command; importing the
// file again changes nothing.
func TestBookingSettings(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nil)
	ctx := t.Context()
	file := "name,kind,emails,members,auto_accept,book_by,book_days,capacity\n" +
		"alice,user,alice@example.org,,,,,\n" +
		"staff,group,,alice,,,,\n" +
		"hall,room,hall@example.org,,accept-if-free,staff;@partner.example,180,12\n" +
		"den,room,den@example.org,,,,,\n"
	for range 2 {
		if _, err := a.ImportUsers(ctx, strings.NewReader(file)); err != nil {
			t.Fatal(err)
		}
	}
	room := func(name string) UserInfo {
		t.Helper()
		list, err := a.Users(ctx, "room", name)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		return list[0]
	}
	if u := room("hall"); u.AutoAccept != "accept-if-free" || !slices.Equal(u.BookBy, []string{"staff", "@partner.example"}) || u.BookDays != 180 || u.Capacity != 12 {
		t.Errorf("hall is %+v", u)
	}
	if u := room("den"); u.AutoAccept != "automatic" || u.BookBy != nil || u.BookDays != 0 || u.Capacity != 0 {
		t.Errorf("den is %+v", u)
	}
	if _, err := a.SetUser(ctx, "hall", UserChange{BookBy: &[]string{"everybody"}, BookDays: number(0)}); err != nil {
		t.Fatal(err)
	}
	if u := room("hall"); u.BookBy != nil || u.BookDays != 0 || u.Capacity != 12 || u.AutoAccept != "accept-if-free" {
		t.Errorf("hall without limits is %+v", u)
	}
	for what, c := range map[string]UserChange{
		"days":    {BookDays: number(-1)},
		"seats":   {Capacity: number(maxCapacity + 1)},
		"domain":  {BookBy: &[]string{"@"}},
		"address": {BookBy: &[]string{"a b@@c"}},
	} {
		if _, err := a.SetUser(ctx, "hall", c); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := a.SetUser(ctx, "hall", UserChange{BookBy: &[]string{"nobody"}}); err == nil {
		t.Error("somebody unknown may book")
	}
	if _, err := a.SetUser(ctx, "staff", UserChange{Capacity: number(3)}); !errors.Is(err, ErrUsage) {
		t.Errorf("a group with seats: %v", err)
	}
	for text, want := range map[string]string{
		"name,capacity\nhall,many\n":            "no number",
		"name,book_by\nhall,stranger\n":         "does not exist",
		"name,kind,auto_accept\ng,group,none\n": "not booked",
		"name,auto_accept\nhall,whenever\n":     "--auto-accept is one of",
		"name,book_days,capacity\nhall,-5,3\n":  "book-days is 0",
	} {
		if _, err := a.ImportUsers(ctx, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
