package server

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
)

// The page of the administrator tells what the DNS lacks, and not what it has.
func TestDNSHints(t *testing.T) {
	t.Parallel()
	const domain = "a.test"
	o := newOutside(t, domain)
	records, err := o.a.DNSRecords(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	line := map[string]string{} // by type and name
	for _, r := range records {
		lines = append(lines, r.Line())
		line[r.Type+" "+strings.TrimSuffix(r.Name, ".")] = r.Line()
	}
	if len(lines) != 7 {
		t.Fatalf("%d records: %v", len(lines), lines)
	}
	hints := func(change func(w *discovertest.World)) ([]string, error) {
		w := o.world
		w.SRV, w.TXT = maps.Clone(w.SRV), maps.Clone(w.TXT)
		change(&w)
		r, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{discovertest.Start(t, w).Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		return DNSHints(t.Context(), o.a.db, &o.a.cfg, r)
	}
	if got, err := hints(func(*discovertest.World) {}); err != nil || !slices.Equal(got, lines) {
		t.Errorf("nothing is published: %v, %q", err, got)
	}
	o.publish(t, domain)
	if got, err := hints(func(*discovertest.World) {}); err != nil || len(got) != 0 {
		t.Errorf("all is published: %v, %q", err, got)
	}
	var keys []string
	for name := range o.world.TXT {
		if strings.Contains(name, "._domainkey.") {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	if len(keys) != 2 {
		t.Fatalf("keys %q", keys)
	}
	const srv, path = "_ischedules._tcp." + domain, "_caldavs._tcp." + domain
	for name, c := range map[string]struct {
		change func(w *discovertest.World)
		want   []string
	}{
		"no record":     {func(w *discovertest.World) { delete(w.SRV, srv) }, []string{"SRV " + srv}},
		"another host":  {func(w *discovertest.World) { w.SRV[srv] = []discovertest.SRV{{Port: o.port, Target: "old." + domain}} }, []string{"SRV " + srv}},
		"another path":  {func(w *discovertest.World) { w.TXT[path] = [][]string{{"path=/old/"}} }, []string{"TXT " + path}},
		"another's key": {func(w *discovertest.World) { w.TXT[keys[0]] = w.TXT[keys[1]] }, []string{"TXT " + keys[0]}},
		"both at once":  {func(w *discovertest.World) { delete(w.TXT, path); delete(w.TXT, keys[1]) }, []string{"TXT " + path, "TXT " + keys[1]}},
	} {
		var want []string
		for _, w := range c.want {
			want = append(want, line[w])
		}
		if got, err := hints(c.change); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %q, want %q", name, err, got, want)
		}
	}
	got, err := hints(func(w *discovertest.World) { w.Fail = []string{srv}; delete(w.TXT, path) })
	if err == nil || !strings.Contains(err.Error(), srv) || !slices.Equal(got, []string{line["TXT "+path]}) {
		t.Errorf("the DNS fails: %v, %q", err, got)
	}
}
