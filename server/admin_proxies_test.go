package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Who looks after an account is set by file and by command; what is refused
// changes nothing.
func TestProxySettings(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nil)
	ctx := t.Context()
	file := "name,kind,emails,members,read_proxies,write_proxies\n" +
		"boss,user,boss@example.org,,team,desk\n" +
		"desk,user,desk@example.org,,,\n" +
		"team,group,,desk,,\n" +
		"hall,room,hall@example.org,,,none\n"
	for range 2 {
		if _, err := a.ImportUsers(ctx, strings.NewReader(file)); err != nil {
			t.Fatal(err)
		}
	}
	shows := func(name, want string) {
		t.Helper()
		list, err := a.Proxies(ctx, name)
		got := ""
		for _, p := range list {
			got += fmt.Sprintf("%s %s;", p.Mode, p.Name)
		}
		if err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
	}
	shows("boss", "write desk;read team;")
	shows("hall", "")
	set := func(name string, c UserChange) error {
		t.Helper()
		_, err := a.SetUser(ctx, name, c)
		return err
	}
	list := func(names ...string) *[]string { return &names }
	for what, c := range map[string]UserChange{
		"himself":             {WriteProxies: list("boss")},
		"nobody of that name": {WriteProxies: list("ghost")},
		"another's address":   {WriteProxies: list("none"), AddEmails: []string{"desk@example.org"}},
	} {
		if err := set("boss", c); err == nil {
			t.Errorf("%s was taken", what)
		}
		shows("boss", "write desk;read team;")
	}
	if err := set("team", UserChange{ReadProxies: list("desk")}); !errors.Is(err, ErrUsage) {
		t.Errorf("of a group: %v", err)
	}
	if err := set("boss", UserChange{WriteProxies: list("none")}); err != nil {
		t.Fatal(err)
	}
	shows("boss", "read team;")
	if err := set("hall", UserChange{WriteProxies: list("desk", "team")}); err != nil {
		t.Fatal(err)
	}
	shows("hall", "write desk;write team;")
	for text, want := range map[string]string{
		"name,read_proxies\nboss,stranger\n":   "does not exist",
		"name,kind,write_proxies\ng,group,x\n": "a group has no calendars",
	} {
		if _, err := a.ImportUsers(ctx, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
