package discover

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/federation/discover/discovertest"
)

type discoveryCase struct {
	ID, Address string
	DNS         map[string]json.RawMessage
	Config      struct {
		WalkParents bool `json:"walk_parents"`
	}
	Expect struct {
		Decision, Status string
		URLs             []string
		AnyOrder         []string `json:"urls_any_order"`
	}
}

// world turns the dns object of a case into a server.
func (c *discoveryCase) world(t *testing.T) discovertest.World {
	t.Helper()
	w := discovertest.World{
		SRV: map[string][]discovertest.SRV{}, TXT: map[string][][]string{}, Addr: map[string][]string{},
	}
	for key, raw := range c.DNS {
		kind, name, _ := strings.Cut(key, " ")
		var word string
		if json.Unmarshal(raw, &word) == nil {
			switch word {
			case "NXDOMAIN":
			case "SERVFAIL":
				w.Fail = append(w.Fail, key)
			default:
				t.Fatalf("unknown answer %q", word)
			}
			continue
		}
		w.Empty = append(w.Empty, name)
		var err error
		switch kind {
		case "SRV":
			var rows [][]any
			if err = json.Unmarshal(raw, &rows); err == nil {
				for _, r := range rows {
					n := func(i int) uint16 { return uint16(r[i].(float64)) }
					w.SRV[name] = append(w.SRV[name], discovertest.SRV{Priority: n(0), Weight: n(1), Port: n(2), Target: r[3].(string)})
				}
			}
		case "TXT":
			var rows [][]string
			if err = json.Unmarshal(raw, &rows); err == nil {
				w.TXT[name] = rows
			}
		case "A", "AAAA":
			var rows []string
			if err = json.Unmarshal(raw, &rows); err == nil {
				w.Addr[name] = append(w.Addr[name], rows...)
			}
		default:
			t.Fatalf("unknown record %q", key)
		}
		if err != nil {
			t.Fatal(key, err)
		}
	}
	return w
}

// TestVectorsDiscovery runs discovery.json: address and DNS answers to decision.
func TestVectorsDiscovery(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("KALENDS_ISCHEDULE_VECTORS")
	if dir == "" {
		dir = "testdata"
	}
	b, err := os.ReadFile(filepath.Join(dir, "discovery.json"))
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Cases []discoveryCase }
	if err := json.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Cases) == 0 {
		t.Fatal("no cases")
	}
	decisions := map[string]Kind{"ischedule": ISchedule, "imip": Mail, "retry": Temporary, "undeliverable": Invalid}
	for _, c := range set.Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			server := discovertest.Start(t, c.world(t))
			f, err := NewFinder(FinderConfig{
				Resolver:     newResolver(t, ResolverConfig{}, server),
				WalkParents:  c.Config.WalkParents,
				PublicSuffix: func(d string) bool { return d == "example" },
			})
			if err != nil {
				t.Fatal(err)
			}
			got := f.Discover(t.Context(), c.Address)
			want, ok := decisions[c.Expect.Decision]
			if !ok {
				t.Fatalf("unknown decision %q", c.Expect.Decision)
			}
			if got.Kind != want || got.Status != c.Expect.Status || got.Reason == "" {
				t.Errorf("got %+v, want %s", got, c.Expect.Decision)
			}
			if got.Kind == Temporary && !errors.Is(got.Err, ErrTemporary) {
				t.Errorf("cause %v", got.Err)
			}
			urls := urlsOf(got)
			if c.Expect.AnyOrder == nil && !slices.Equal(urls, c.Expect.URLs) {
				t.Errorf("URLs %q, want %q", urls, c.Expect.URLs)
			}
			if c.Expect.AnyOrder != nil {
				slices.Sort(urls)
				slices.Sort(c.Expect.AnyOrder)
				if !slices.Equal(urls, c.Expect.AnyOrder) {
					t.Errorf("URLs %q, want %q in any order", urls, c.Expect.AnyOrder)
				}
			}
			for _, q := range server.Queries() {
				if strings.Contains(q, "_ischedule._tcp") || q == "SRV _ischedules._tcp.example" {
					t.Errorf("asked %s", q)
				}
			}
			if len(c.DNS) == 0 && len(server.Queries()) > 0 {
				t.Errorf("asked %q without need", server.Queries())
			}
		})
	}
}

func urlsOf(d Decision) []string {
	var out []string
	for _, e := range d.Endpoints {
		out = append(out, e.URL)
	}
	return out
}

func newResolver(t testing.TB, c ResolverConfig, servers ...*discovertest.Server) *Resolver {
	t.Helper()
	for _, s := range servers {
		c.Servers = append(c.Servers, s.Addr())
	}
	r, err := NewResolver(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
