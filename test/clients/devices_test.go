package clients

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// device is a calendar as one of somebody's devices has it: ETags by href.
type device struct {
	token string
	has   map[string]string
}

// catchUp asks for what changed, in pages of at most limit members (0: all at once),
// until the server says that this is all (RFC 6578 §3.6). It counts the pages.
func (d *device) catchUp(p *program, depth string, limit int) (pages int) {
	p.Helper()
	for pages < 1000 {
		nresults := ""
		if limit > 0 {
			nresults = fmt.Sprintf("<D:limit><D:nresults>%d</D:nresults></D:limit>", limit)
		}
		m := p.do("REPORT", cal, depth, report("D:sync-collection", "<D:sync-token>"+d.token+"</D:sync-token><D:sync-level>1</D:sync-level>"+nresults+"<D:prop><D:getetag/></D:prop>")).parsed()
		pages++
		more := false
		n := 0
		for _, r := range m.Responses {
			switch {
			case r.Href == cal && strings.Contains(r.Status, "507"):
				more = true
			case strings.Contains(r.Status, "404"):
				delete(d.has, r.Href)
				n++
			case r.text("getetag") != "" && r.Href != cal:
				d.has[r.Href] = r.text("getetag")
				n++
			default:
				p.Errorf("sync: %+v", r)
			}
		}
		if limit > 0 && n > limit {
			p.Errorf("%d members in a page of %d", n, limit)
		}
		if d.token = m.Token; d.token == "" {
			p.Fatal("no token")
		}
		if !more {
			return pages
		}
	}
	p.Fatal("the pages do not end")
	return 0
}

// TestTwoDevices is clients.md 2 and 6 step 5: two devices of one person go through
// 1,000 changes that either makes, one of them in pages, and over a restart of the
// server; at every meeting point both have what the calendar has. Then they fetch it as
// Thunderbird does, 100 at a time and in the order asked for.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	phone, desk := &device{has: map[string]string{}}, &device{has: map[string]string{}}
	meet := func() {
		t.Helper()
		before := phone.token
		if pages := phone.catchUp(p, "Depth: 0", 17); pages < 3 && before != "" {
			t.Errorf("%d pages of 17 for some 100 changes", pages)
		}
		desk.catchUp(p, "Depth: 1", 0)
		truth := map[string]string{}
		for _, r := range p.do("PROPFIND", cal, "Depth: 1", propfind("<D:getetag/>")).parsed().Responses {
			if r.Href != cal {
				truth[r.Href] = r.text("getetag")
			}
		}
		if !maps.Equal(phone.has, truth) || !maps.Equal(desk.has, truth) {
			t.Fatalf("phone %d, desk %d, calendar %d members", len(phone.has), len(desk.has), len(truth))
		}
		r := p.do("PROPFIND", cal, "Depth: 0", propfind("<D:sync-token/><CS:getctag/>")).of(cal)
		if r.text("sync-token") != phone.token || r.text("sync-token") != desk.token || r.text("getctag") == "" {
			t.Errorf("tokens %q, %q, the property says %q", phone.token, desk.token, r.text("sync-token"))
		}
	}
	meet()
	ctags := map[string]bool{}
	for i := range 1000 {
		path := fmt.Sprintf("%s%d.ics", cal, i%170)
		switch etag := desk.has[path]; {
		case i%5 == 4 && etag != "": // what is there goes, what is not comes or changes
			p.do("DELETE", path, "", "").want(204)
			delete(desk.has, path)
		default:
			if s := p.do("PUT", path, "", event(fmt.Sprint("u", i%170), fmt.Sprint("LOCATION:", i))).Status; s != 201 && s != 204 {
				t.Fatalf("PUT %s: %d", path, s)
			}
		}
		if i%100 == 99 {
			if i == 499 {
				p.node.Stop()
				p.node.Start()
			}
			meet()
			ctags[p.do("PROPFIND", cal, "Depth: 0", propfind("<CS:getctag/>")).of(cal).text("getctag")] = true
		}
	}
	if len(ctags) != 10 {
		t.Errorf("%d ctags after ten times 100 changes", len(ctags))
	}
	// A new device gets all in pages too.
	fresh := &device{has: map[string]string{}}
	fresh.catchUp(p, "Depth: 1", 50)
	if !maps.Equal(fresh.has, desk.has) {
		t.Errorf("a new device has %d, the others %d", len(fresh.has), len(desk.has))
	}
	var ask []string
	for href := range fresh.has {
		if ask = append(ask, href); len(ask) == 100 {
			break
		}
	}
	m := p.do("REPORT", cal, "Depth: 1", multiget("<D:getetag/><C:calendar-data/>", ask...)).parsed()
	if len(m.Responses) != len(ask) {
		t.Fatalf("%d answers for %d", len(m.Responses), len(ask))
	}
	for i, r := range m.Responses {
		if r.Href != ask[i] || r.text("getetag") != fresh.has[ask[i]] || !strings.Contains(r.text("calendar-data"), "BEGIN:VEVENT") {
			t.Errorf("answer %d: %s for %s", i, r.Href, ask[i])
		}
	}
}

// TestRestoredDatabase is clients.md 2: a device that has seen what a database put back
// from a backup has not is told to begin anew, also when the new history is as long as
// the old one; who was there before the backup goes on.
func TestRestoredDatabase(t *testing.T) {
	t.Parallel()
	p := start(t, "any")
	put := func(name string) { p.do("PUT", cal+name+".ics", "", event(name)).want(201) }
	put("a")
	early, late := &device{has: map[string]string{}}, &device{has: map[string]string{}}
	early.catchUp(p, "", 0)
	p.node.Stop()
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(p.node.Dir, "kalends.db*"))
		if err != nil || len(list) == 0 {
			t.Fatalf("no database in %s: %v", p.node.Dir, err)
		}
		return list
	}
	backup := map[string][]byte{}
	for _, f := range files() {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		backup[f] = b
	}
	p.node.Start()
	put("lost")
	late.catchUp(p, "", 0)
	p.node.Stop()
	for _, f := range files() {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	for f, b := range backup {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.node.Start()
	for _, name := range []string{"b", "c"} {
		p.do("REPORT", cal, "", sync(late.token, "1", "<D:getetag/>")).want(403, "valid-sync-token")
		put(name)
	}
	early.catchUp(p, "", 0)
	if len(early.has) != 3 {
		t.Errorf("who was there before the backup has %v", early.has)
	}
	late.token, late.has = "", map[string]string{}
	late.catchUp(p, "", 0)
	if !maps.Equal(late.has, early.has) {
		t.Errorf("%v and %v", late.has, early.has)
	}
}
