package acl

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func dav(local string) Name { return Name{nsDAV, local} }
func cal(local string) Name { return Name{nsCalDAV, local} }

func locals(names []Name) string {
	var out []string
	for _, n := range names {
		out = append(out, n.Local)
	}
	return strings.Join(out, " ")
}

func TestHas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s, p Set
		want bool
	}{
		{All, Read, true}, {All, Write | ScheduleSend, true}, {Read, ReadFreeBusy, true},
		{ReadFreeBusy, Read, false}, {Write, Bind | Unbind, true}, {WriteContent | Bind, Write, false},
		{Write, WriteACL, false}, {Read, ReadACL, false}, {Read, ReadCurrentUserPrivilegeSet, false},
		{ScheduleDeliver, ScheduleQueryFreeBusy, true}, {ScheduleDeliver, ScheduleSend, false},
		{All, 0, false}, {0, 0, false}, {0, Read, false},
	} {
		if got := c.s.Has(c.p); got != c.want {
			t.Errorf("%b has %b: %v", c.s, c.p, got)
		}
	}
	if bits.OnesCount32(uint32(All)) != 17 {
		t.Errorf("All = %b", All)
	}
}

// The trees agree with the constants: a container is the union of its children
// (DAV:read has a part of its own), siblings are disjoint, names are unique.
func TestTrees(t *testing.T) {
	t.Parallel()
	var union Set
	for class, want := range map[Class]string{
		Ordinary: "all(read(read-free-busy read-busy) write(write-properties write-content bind unbind) unlock read-acl read-current-user-privilege-set write-acl)",
		Inbox: "all(read(read-free-busy read-busy) write(write-properties write-content bind unbind) unlock read-acl read-current-user-privilege-set write-acl " +
			"schedule-deliver(schedule-deliver-invite schedule-deliver-reply schedule-query-freebusy))",
		Outbox: "all(read(read-free-busy read-busy) write(write-properties write-content bind unbind) unlock read-acl read-current-user-privilege-set write-acl " +
			"schedule-send(schedule-send-invite schedule-send-reply schedule-send-freebusy))",
	} {
		seen := map[Name]bool{}
		var show func(Privilege) string
		show = func(p Privilege) string {
			if seen[p.Name] || p.Description == "" || p.Set == 0 {
				t.Errorf("%v: %+v", class, p)
			}
			seen[p.Name] = true
			got, ok := Lookup(p.Name)
			if !ok || got != p.Set && p.Name != dav("all") {
				t.Errorf("Lookup(%v) = %b, %v", p.Name, got, ok)
			}
			if len(p.Children) == 0 {
				return p.Name.Local
			}
			var parts []string
			var sum Set
			for _, c := range p.Children {
				if sum&c.Set != 0 {
					t.Errorf("%v overlaps its siblings", c.Name)
				}
				sum |= c.Set
				parts = append(parts, show(c))
			}
			if own := p.Set &^ sum; sum&^p.Set != 0 || own != 0 && p.Name != dav("read") {
				t.Errorf("%v is %b, its children %b", p.Name, p.Set, sum)
			}
			return p.Name.Local + "(" + strings.Join(parts, " ") + ")"
		}
		if got := show(class.Tree()); got != want {
			t.Errorf("%v:\n got %s\nwant %s", class, got, want)
		}
		union |= class.Supports()
	}
	if union != All {
		t.Errorf("the trees hold %b, All is %b", union, All)
	}
	if !reflect.DeepEqual(Class(99).Tree(), Ordinary.Tree()) {
		t.Error("an unknown class")
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n     Name
		want  Set
		ok    bool
		class Class
		okFor bool
	}{
		{dav("all"), All, true, Ordinary, true},
		{dav("read"), Read, true, Inbox, true},
		{cal("read-free-busy"), ReadFreeBusy, true, Ordinary, true},
		{cal("schedule-deliver"), ScheduleDeliver, true, Inbox, true},
		{cal("schedule-deliver"), ScheduleDeliver, true, Ordinary, false},
		{cal("schedule-send-reply"), ScheduleSendReply, true, Outbox, true},
		{cal("schedule-send-reply"), ScheduleSendReply, true, Inbox, false},
		{cal("read"), 0, false, Ordinary, false},
		{cal("all"), 0, false, Ordinary, false},
		{dav("execute"), 0, false, Ordinary, false},
		{Name{}, 0, false, Ordinary, false},
	} {
		if got, ok := Lookup(c.n); got != c.want || ok != c.ok {
			t.Errorf("Lookup(%v) = %b, %v", c.n, got, ok)
		}
		if got, ok := LookupFor(c.n, c.class); got != c.want || ok != c.okFor {
			t.Errorf("LookupFor(%v, %d) = %b, %v", c.n, c.class, got, ok)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s              Set
		class          Class
		names, minimal string
	}{
		{0, Ordinary, "", ""},
		{Read, Ordinary, "read read-free-busy read-busy", "read"},
		{ReadFreeBusy, Ordinary, "read-free-busy", "read-free-busy"},
		{Read | WriteContent | Bind, Ordinary, "read read-free-busy read-busy write-content bind", "read write-content bind"},
		{Write, Ordinary, "write write-properties write-content bind unbind", "write"},
		{All, Ordinary, "all read read-free-busy read-busy write write-properties write-content bind unbind unlock read-acl read-current-user-privilege-set write-acl", "all"},
		{All &^ WriteACL, Ordinary, "read read-free-busy read-busy write write-properties write-content bind unbind unlock read-acl read-current-user-privilege-set",
			"read write unlock read-acl read-current-user-privilege-set"},
		{ScheduleDeliver | ScheduleSend, Ordinary, "", ""},
		{ScheduleDeliver | ScheduleSend, Inbox, "schedule-deliver schedule-deliver-invite schedule-deliver-reply schedule-query-freebusy", "schedule-deliver"},
		{ScheduleSendFreeBusy, Outbox, "schedule-send-freebusy", "schedule-send-freebusy"},
		{Read &^ ReadFreeBusy, Ordinary, "read-busy", "read-busy"},
	} {
		if got := locals(c.s.Names(c.class)); got != c.names {
			t.Errorf("Names(%b, %d) = %s", c.s, c.class, got)
		}
		if got := locals(c.s.Minimal(c.class)); got != c.minimal {
			t.Errorf("Minimal(%b, %d) = %s", c.s, c.class, got)
		}
	}
	for _, class := range []Class{Inbox, Outbox} {
		if got := len(All.Names(class)); got != 17 {
			t.Errorf("class %d: %d names", class, got)
		}
	}
}

func grant(p Principal, s Set) ACE { return ACE{Principal: p, Grant: s} }
func deny(p Principal, s Set) ACE  { return ACE{Principal: p, Deny: s} }

func TestMatches(t *testing.T) {
	t.Parallel()
	alice := Subject{Account: 1, Groups: []int64{10, 11}, Authenticated: true, Owner: true}
	bob := Subject{Account: 2, Authenticated: true, Self: true, Properties: []Name{dav("group")}}
	none := Subject{}
	// A subject that claims much without having signed in.
	forged := Subject{Account: 1, Groups: []int64{10}, Owner: true, Self: true, Properties: []Name{dav("group")}}
	for _, c := range []struct {
		p                        Principal
		alice, bob, none, forged bool
	}{
		{Principal{}, false, false, false, false},
		{Principal{Kind: Account, ID: 1}, true, false, false, false},
		{Principal{Kind: Account, ID: 0}, false, false, false, false},
		{Principal{Kind: Group, ID: 11}, true, false, false, false},
		{Principal{Kind: Group, ID: 0}, false, false, false, false},
		{Principal{Kind: Owner}, true, false, false, false},
		{Principal{Kind: Self}, false, true, false, false},
		{Principal{Kind: Everyone}, true, true, true, true},
		{Principal{Kind: Authenticated}, true, true, false, false},
		{Principal{Kind: Unauthenticated}, false, false, true, true},
		{Principal{Kind: Property, Property: dav("group")}, false, true, false, false},
		{Principal{Kind: Property, Property: dav("owner")}, false, false, false, false},
		{Principal{Kind: 200}, false, false, false, false},
	} {
		for _, w := range []struct {
			name string
			who  Subject
			want bool
		}{{"alice", alice, c.alice}, {"bob", bob, c.bob}, {"nobody", none, c.none}, {"forged", forged, c.forged}} {
			if got := c.p.Matches(w.who); got != w.want {
				t.Errorf("%+v matches %s: %v", c.p, w.name, got)
			}
		}
	}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	one := Subject{Account: 1, Groups: []int64{10}, Authenticated: true}
	acc, grp, all := Principal{Kind: Account, ID: 1}, Principal{Kind: Group, ID: 10}, Principal{Kind: Everyone}
	other := Principal{Kind: Account, ID: 2}
	for _, c := range []struct {
		name string
		aces []ACE
		want Set
	}{
		{"no list", nil, 0},
		{"not about me", []ACE{grant(other, All)}, 0},
		{"grants add up", []ACE{grant(acc, Read), grant(grp, WriteContent), grant(all, ReadACL)}, Read | WriteContent | ReadACL},
		{"deny after grant comes too late", []ACE{grant(acc, Read), deny(all, Read)}, Read},
		{"deny before grant holds", []ACE{deny(grp, Write), grant(acc, All)}, All &^ Write},
		{"deny of a part leaves the others", []ACE{deny(grp, Unbind), grant(acc, Write)}, Write &^ Unbind},
		{"deny about somebody else", []ACE{deny(other, All), grant(acc, Read)}, Read},
		{"deny of the container, then grant of a part", []ACE{deny(all, Write), grant(acc, Bind)}, 0},
		{"grant of a part, then deny of the container", []ACE{grant(acc, Bind), deny(all, Write), grant(acc, Write)}, Bind},
		{"both in one entry: deny wins", []ACE{{Principal: acc, Grant: Read | Bind, Deny: Bind}, grant(acc, Bind)}, Read},
		{"empty entry", []ACE{{Principal: acc}, grant(acc, Bind)}, Bind},
		{"unknown bits", []ACE{grant(acc, ^Set(0))}, All},
		{"unknown bits in a deny do not end the list", []ACE{deny(acc, ^All), grant(acc, Read)}, Read},
		{"after everything is decided", []ACE{deny(acc, All), grant(acc, All)}, 0},
	} {
		if got := Evaluate(c.aces, one); got != c.want {
			t.Errorf("%s: %s", c.name, locals(got.Names(Ordinary)))
		}
	}
	// A denied part takes the container: busy times denied, so no DAV:read either.
	got := Evaluate([]ACE{deny(acc, ReadFreeBusy), grant(acc, Read|Bind)}, one)
	if got.Has(Read) || got.Has(ReadFreeBusy) || !got.Has(Bind) || locals(got.Names(Ordinary)) != "read-busy bind" {
		t.Errorf("%b", got)
	}
}

// The rule of RFC 3744 §6, written the slow way: per privilege the first entry.
func TestEvaluateAgainstDefinition(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	kinds := []Principal{{Kind: Account, ID: 1}, {Kind: Account, ID: 2}, {Kind: Group, ID: 10}, {Kind: Owner}, {Kind: Everyone}, {Kind: Authenticated}, {Kind: Unauthenticated}}
	for range 5000 {
		who := Subject{Account: int64(rnd.IntN(3)), Owner: rnd.IntN(2) == 0, Authenticated: rnd.IntN(3) > 0}
		if rnd.IntN(2) == 0 {
			who.Groups = []int64{10}
		}
		var aces []ACE
		for range rnd.IntN(6) {
			s := Set(rnd.Uint32()) & All
			s &= Set(rnd.Uint32()) // sparse
			a := grant(kinds[rnd.IntN(len(kinds))], s)
			if rnd.IntN(3) == 0 {
				a.Grant, a.Deny = 0, s
			}
			aces = append(aces, a)
		}
		var want Set
		for bit := Set(1); bit&All != 0; bit <<= 1 {
			for _, a := range aces {
				if (a.Grant|a.Deny)&bit != 0 && a.Principal.Matches(who) {
					want |= a.Grant & bit
					break
				}
			}
		}
		if got := Evaluate(aces, who); got != want {
			t.Fatalf("%+v for %+v: %b, want %b", aces, who, got, want)
		}
	}
}

// What stands in front cannot be denied, what stands behind can.
func TestList(t *testing.T) {
	t.Parallel()
	owner := Subject{Account: 1, Owner: true, Authenticated: true}
	other := Subject{Account: 2, Groups: []int64{10}, Authenticated: true}
	reads, writes := other, other
	reads.Proxy, writes.Proxy = ReadProxy, WriteProxy
	everybody := Principal{Kind: Everyone}
	for kind, want := range map[Collection]Set{
		PlainCollection: 0, CalendarHome: ReadFreeBusy, Calendar: ReadFreeBusy,
		ScheduleInbox: ScheduleDeliver, ScheduleOutbox: 0, NotificationCollection: 0,
	} {
		for name, own := range map[string][]ACE{"no entries": nil, "everything denied": {deny(everybody, All)}} {
			list := List(kind, own, nil)
			want := want
			if own != nil {
				want = 0
			}
			for who, c := range map[*Subject]struct {
				name string
				want Set
			}{
				&owner: {"the owner", All}, &other: {"somebody else", want}, {}: {"nobody", 0},
				&reads:  {"who reads for him", want | Read | ReadCurrentUserPrivilegeSet},
				&writes: {"who acts for him", want | Read | Write | ReadCurrentUserPrivilegeSet | ScheduleSend | ScheduleDeliver},
			} {
				if got := Evaluate(list, *who); got != c.want {
					t.Errorf("%d, %s: %s has %b, want %b", kind, name, c.name, got, c.want)
				}
			}
		}
	}
	// RFC 3744 §5.5.4: calendars inherit from their home; the own entries come first.
	home := []ACE{grant(Principal{Kind: Account, ID: 2}, Read)}
	if got := Evaluate(List(Calendar, nil, home), other); got != Read {
		t.Errorf("inherited: %b", got)
	}
	if got := Evaluate(List(Calendar, []ACE{deny(Principal{Kind: Group, ID: 10}, Read)}, home), other); got != 0 {
		t.Errorf("inherited, but denied by the calendar: %b", got)
	}
	if got := Evaluate(List(ScheduleInbox, nil, home), other); got != ScheduleDeliver {
		t.Errorf("an inbox inherits: %b", got)
	}
	if home[0].Inherited {
		t.Error("the home's own list was changed")
	}
	if ScheduleInbox.Class() != Inbox || ScheduleOutbox.Class() != Outbox || Calendar.Class() != Ordinary {
		t.Error("classes")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	acc := Principal{Kind: Account, ID: 7}
	for _, c := range []struct {
		name  string
		ace   ACE
		class Class
		want  error
	}{
		{"fine", grant(acc, Read|Bind), Ordinary, nil},
		{"all on a calendar", grant(acc, All), Ordinary, nil},
		{"deliver on an inbox", grant(Principal{Kind: Authenticated}, ScheduleDeliverInvite), Inbox, nil},
		{"property", grant(Principal{Kind: Property, Property: dav("group")}, Read), Ordinary, nil},
		{"deliver on a calendar", grant(acc, ScheduleDeliver), Ordinary, ErrPrivilege},
		{"no name for it", grant(acc, readContent), Ordinary, ErrPrivilege},
		{"unknown bit", grant(acc, 1<<30), Ordinary, ErrPrivilege},
		{"deny", deny(acc, Read), Ordinary, nil},
		{"deny what the class lacks", deny(acc, ScheduleSend), Inbox, ErrPrivilege},
		{"grant and deny", ACE{Principal: acc, Grant: Read, Deny: Bind}, Ordinary, ErrEntry},
		{"nothing", grant(acc, 0), Ordinary, ErrEntry},
		{"owner", grant(Principal{Kind: Owner}, Read), Ordinary, ErrProtected},
		{"deny the owner", deny(Principal{Kind: Owner}, Read), Ordinary, ErrProtected},
		{"inherited", ACE{Principal: acc, Grant: Read, Inherited: true}, Ordinary, ErrProtected},
		{"protected", ACE{Principal: acc, Grant: Read, Protected: true}, Ordinary, ErrProtected},
		{"nobody", grant(Principal{}, Read), Ordinary, ErrPrincipal},
		{"unknown kind", grant(Principal{Kind: 99}, Read), Ordinary, ErrPrincipal},
		{"account without id", grant(Principal{Kind: Account}, Read), Ordinary, ErrPrincipal},
		{"group with a negative id", grant(Principal{Kind: Group, ID: -1}, Read), Ordinary, ErrPrincipal},
		{"everybody with an id", grant(Principal{Kind: Everyone, ID: 1}, Read), Ordinary, ErrPrincipal},
		{"property without a name", grant(Principal{Kind: Property}, Read), Ordinary, ErrPrincipal},
		{"account with a property", grant(Principal{Kind: Account, ID: 1, Property: dav("owner")}, Read), Ordinary, ErrPrincipal},
	} {
		if err := Validate([]ACE{grant(acc, Read), c.ace}, c.class); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := Validate(make([]ACE, MaxACEs+1), Ordinary); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

var sample = []ACE{
	{Principal: Principal{Kind: Owner}, Grant: All, Protected: true},
	grant(Principal{Kind: Account, ID: 7}, Read|Bind),
	grant(Principal{Kind: Group, ID: 9}, Write|ReadFreeBusy),
	{Principal: Principal{Kind: Everyone}, Deny: Unlock | WriteACL, Inherited: true},
	grant(Principal{Kind: Authenticated}, ScheduleDeliver|ScheduleSendReply),
	grant(Principal{Kind: Unauthenticated}, ReadFreeBusy),
	grant(Principal{Kind: Self}, ReadACL|ReadCurrentUserPrivilegeSet),
	grant(Principal{Kind: Property, Property: Name{"urn:x y", "of"}}, WriteProperties),
}

// The stored form is a contract with every database: this text must stay readable.
const sampleJSON = `[{"to":"owner","grant":"all","protected":true},` +
	`{"to":"account:7","grant":"read bind"},` +
	`{"to":"group:9","grant":"read-free-busy write"},` +
	`{"to":"all","deny":"unlock write-acl","inherited":true},` +
	`{"to":"authenticated","grant":"schedule-deliver schedule-send-reply"},` +
	`{"to":"unauthenticated","grant":"read-free-busy"},` +
	`{"to":"self","grant":"read-acl read-current-user-privilege-set"},` +
	`{"to":"property:of urn:x y","grant":"write-properties"}]`

func TestStoredForm(t *testing.T) {
	t.Parallel()
	got, err := Encode(sample)
	if err != nil || string(got) != sampleJSON {
		t.Errorf("%s %v", got, err)
	}
	back, err := Decode([]byte(sampleJSON))
	if err != nil || !reflect.DeepEqual(back, sample) {
		t.Errorf("%+v %v", back, err)
	}
	if got, err := Encode(nil); err != nil || string(got) != "[]" {
		t.Errorf("%s %v", got, err)
	}
	for _, s := range []string{"", "[]", "null", " [ ] \n"} {
		if got, err := Decode([]byte(s)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{
		"{}", "[", "[]]", "[] []", `[{"to":"owner"}]`, `[{"to":"owner","grant":""}]`, `[{"grant":"read"}]`,
		`[{"to":"owner","grant":"reed"}]`, `[{"to":"owner","grant":"read","deny":"x"}]`, `[{"to":"somebody","grant":"read"}]`,
		`[{"to":"account:","grant":"read"}]`, `[{"to":"account:0","grant":"read"}]`, `[{"to":"account:-1","grant":"read"}]`,
		`[{"to":"account:+1","grant":"read"}]`, `[{"to":"account:01","grant":"read"}]`, `[{"to":"user:1","grant":"read"}]`,
		`[{"to":"group:99999999999999999999","grant":"read"}]`, `[{"to":"property:","grant":"read"}]`, `[{"to":"property:x","grant":"read"}]`,
		`[{"to":"owner","grant":"read","until":"tomorrow"}]`, `[{"to":"owner","grant":7}]`,
		"[" + strings.Repeat(" ", maxEncoded) + "]",
	} {
		if got, err := Decode([]byte(s)); !errors.Is(err, ErrEncoding) || got != nil {
			t.Errorf("%.60q: %v %v", s, got, err)
		}
	}
	for _, a := range []ACE{
		grant(Principal{}, Read), grant(Principal{Kind: Account}, Read), grant(Principal{Kind: Group, ID: -1}, Read),
		grant(Principal{Kind: Property}, Read), grant(Principal{Kind: Property, Property: dav("a b")}, Read),
		grant(Principal{Kind: Owner}, 0), grant(Principal{Kind: Owner}, readContent), deny(Principal{Kind: Owner}, 1<<31),
	} {
		if got, err := Encode([]ACE{a}); !errors.Is(err, ErrEncoding) {
			t.Errorf("%+v: %s %v", a, got, err)
		}
	}
}

// Every set that has a name survives storage.
func TestEverySetIsStored(t *testing.T) {
	t.Parallel()
	for s := Set(1); s <= All; s++ {
		if !s.Nameable() {
			continue
		}
		if got, ok := parseSet(setText(s)); !ok || got != s {
			t.Fatalf("%b became %q", s, setText(s))
		}
		for _, c := range []Class{Ordinary, Inbox, Outbox} {
			var back Set
			for _, n := range s.Minimal(c) {
				p, _ := Lookup(n)
				back |= p & c.Supports()
			}
			if back != s&c.Supports() {
				t.Fatalf("%b in class %d became %b", s, c, back)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sampleJSON))
	for _, s := range []string{"", "null", "[]", "[null]", `[{"to":"account:1","grant":"read","deny":"bind"}]`, `[{"To":"owner","GRANT":" all  read "}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		aces, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrEncoding) {
				t.Fatal(err)
			}
			return
		}
		again, err := Encode(aces)
		if err != nil {
			t.Fatalf("%+v: %v", aces, err)
		}
		back, err := Decode(again)
		if err != nil || !slices.Equal(back, aces) {
			t.Fatalf("%s\n%+v\n%+v %v", again, aces, back, err)
		}
		Evaluate(aces, Subject{Account: 1, Authenticated: true})
	})
}

func BenchmarkEvaluate(b *testing.B) {
	who := Subject{Account: 7, Groups: []int64{9}, Authenticated: true}
	b.ReportAllocs()
	for b.Loop() {
		Evaluate(sample, who)
	}
}
