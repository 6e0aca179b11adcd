// Package test looks at the project as a whole: what no single package can see
// of itself. The folders below it start the real binary.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/kalends/kalends"
	root         = ".."
	architecture = root + "/docs/architecture.md"
	heading      = "## Packages"
)

// pkg is what `go list -deps -json` says about a package, as far as we ask.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

// short is the path inside of the project, "." for the module itself.
func short(importPath string) string {
	s, ok := strings.CutPrefix(importPath, module)
	if !ok {
		return ""
	}
	if s = strings.TrimPrefix(s, "/"); s == "" {
		return "."
	}
	return s
}

// helper tells whether a package serves tests only, or keeps modules that no
// package imports yet.
func helper(name string) bool {
	base := path.Base(name)
	return name == "test" || strings.HasPrefix(name, "test/") || name == "deps" ||
		base != "test" && strings.HasSuffix(base, "test")
}

// graph lists the packages of the project, without their tests, and the module
// of every other package they may import.
func graph(t *testing.T) (own map[string]pkg, modules map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Standard,Module", "./...")
	cmd.Dir = root
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	// The test's cache does not see what go list reads: look at the folders, so
	// that a new file or package runs the test again.
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() != "." && d.Name() != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	own, modules = map[string]pkg{}, map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		switch name := short(p.ImportPath); {
		case name != "":
			own[name] = p
		case !p.Standard && p.Module != nil:
			modules[p.ImportPath] = strings.TrimPrefix(p.Module.Path, "github.com/")
		}
	}
	return own, modules
}

// row is one line of the table of docs/architecture.md.
type row struct {
	order, level int
	name         string
	ours, libs   []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

func names(cell string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

func cell(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return "`" + strings.Join(list, "`, `") + "`"
}

// table reads the section Packages: level, package, what it owns, imports of
// ours, modules.
func table(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", architecture, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]row{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 {
			continue
		}
		level, err := strconv.Atoi(strings.TrimSpace(cells[0]))
		if err != nil {
			continue // head of the table
		}
		name := names(cells[1])
		if len(name) != 1 {
			t.Fatalf("%s: no single package in %q", architecture, line)
		}
		if _, ok := rows[name[0]]; ok {
			t.Errorf("%s: %s stands there twice", architecture, name[0])
		}
		rows[name[0]] = row{order: len(rows), level: level, name: name[0], ours: names(cells[3]), libs: names(cells[4])}
	}
	if len(rows) == 0 {
		t.Fatalf("%s: the section %q has no table", architecture, heading)
	}
	return rows
}

// TestImportGraph compares the packages and their imports with the table of
// docs/architecture.md: a package imports only what stands above it there, on
// its own level or a lower one.
func TestImportGraph(t *testing.T) {
	own, modules := graph(t)
	rows := table(t)
	for _, name := range slices.Sorted(maps.Keys(own)) {
		p := own[name]
		ours, libs := map[string]bool{}, map[string]bool{}
		for _, imp := range p.Imports {
			if s := short(imp); s != "" {
				ours[s] = true
			} else if m := modules[imp]; m != "" {
				libs[m] = true
			}
		}
		got := row{name: name, ours: slices.Sorted(maps.Keys(ours)), libs: slices.Sorted(maps.Keys(libs))}
		if helper(name) {
			continue
		}
		for _, s := range got.ours {
			if helper(s) {
				t.Errorf("%s imports %s, which is for tests", name, s)
			}
		}
		want, ok := rows[name]
		if !ok {
			t.Errorf("%s is missing in %s, section %q; its row ends with\n\t| %s | %s |", name, architecture, heading, cell(got.ours), cell(got.libs))
			continue
		}
		t.Logf("%d  %-22s -> %s", want.level, name, strings.Join(append(slices.Clone(got.ours), got.libs...), " "))
		if !slices.Equal(slices.Sorted(slices.Values(want.ours)), got.ours) || !slices.Equal(slices.Sorted(slices.Values(want.libs)), got.libs) {
			t.Errorf("%s does not import what %s says; when the change is meant, its row ends with\n\t| %s | %s |", name, architecture, cell(got.ours), cell(got.libs))
		}
		for _, s := range got.ours {
			if below, ok := rows[s]; ok && (below.level > want.level || below.order >= want.order) {
				t.Errorf("%s (level %d) imports %s (level %d), which does not stand below it", name, want.level, s, below.level)
			}
		}
	}
	for _, r := range rows {
		if _, ok := own[r.name]; !ok {
			t.Errorf("%s: the table has %s, which does not exist", architecture, r.name)
		}
	}
}

// under tells whether name is one of the folders or stands below one.
func under(name string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return name == f || strings.HasPrefix(name, f+"/") })
}

// TestForbiddenImports holds the rules that say what must never happen, however
// the table changes.
func TestForbiddenImports(t *testing.T) {
	own, _ := graph(t)
	rows := table(t)
	levelOf := func(name string) int { return rows[name].level }
	rules := []struct {
		why  string
		who  func(name string) bool
		what func(imp string) bool // a path inside of the project, or as imported
	}{
		{"pure packages see no clock, network, file, database, randomness or log",
			func(n string) bool { return levelOf(n) <= 1 },
			func(i string) bool {
				return slices.Contains([]string{"net", "net/http", "net/smtp", "os", "os/exec", "database/sql", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "io/ioutil", "syscall"}, i)
			}},
		{"SQL is written in storage",
			func(n string) bool { return !under(n, "storage", "migrations") },
			func(i string) bool {
				return i == "database/sql" || strings.HasPrefix(i, "github.com/jackc/pgx/") || i == "modernc.org/sqlite"
			}},
		{"storage knows no iTIP and nobody above it",
			func(n string) bool { return n == "storage" },
			func(i string) bool { return under(i, "scheduling", "federation", "server", "web") || i == "caldav" }},
		{"scheduling knows neither HTTP nor mail",
			func(n string) bool { return under(n, "scheduling") },
			func(i string) bool {
				return under(i, "net/http", "net/mail", "net/smtp", "mime", "federation", "server", "web") || i == "caldav" || strings.HasPrefix(i, "github.com/emersion/")
			}},
		{"the CalDAV handler knows no federation",
			func(n string) bool { return under(n, "caldav") },
			func(i string) bool { return under(i, "federation", "web", "server") }},
		{"federation knows no CalDAV handler",
			func(n string) bool { return under(n, "federation") },
			func(i string) bool { return i == "caldav" || under(i, "web", "server") }},
		{"the pages go through scheduling and storage",
			func(n string) bool { return under(n, "web") },
			func(i string) bool { return i == "caldav" || under(i, "federation", "server") }},
		{"DNS is asked in one place", // the demo is a DNS server
			func(n string) bool { return !under(n, "federation/discover", "cmd") },
			func(i string) bool { return strings.HasPrefix(i, "github.com/miekg/dns") }},
	}
	for name, p := range own {
		if helper(name) {
			continue
		}
		if _, ok := rows[name]; !ok {
			continue // TestImportGraph says so
		}
		for _, rule := range rules {
			if !rule.who(name) {
				continue
			}
			for _, imp := range p.Imports {
				seen := imp
				if s := short(imp); s != "" {
					seen = s
				}
				if rule.what(seen) {
					t.Errorf("%s imports %s: %s", name, seen, rule.why)
				}
			}
		}
	}
}

// TestForbiddenCalls looks for calls that the import graph cannot show: a clock
// in a pure package, an outgoing connection past the dialer of
// federation/discover, a calendar object written past scheduling.
func TestForbiddenCalls(t *testing.T) {
	own, _ := graph(t)
	rows := table(t)
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}
	web := []string{"Get", "Post", "PostForm", "Head", "DefaultClient", "DefaultTransport"}
	dials := []string{"net.Dial", "net.DialTimeout", "net.DialTCP", "net.LookupHost", "net.LookupIP", "net.LookupTXT", "net.LookupSRV", "net.LookupMX", "net.DefaultResolver", "tls.Dial", "tls.DialWithDialer", "smtp.Dial", "smtp.DialTLS", "smtp.SendMail"}
	dialers := []string{"net.Dialer", "net.Resolver", "http.Client", "http.Transport", "tls.Dialer"}
	// The demo is the world around its servers, on loopback.
	outside := func(name string) bool { return name == "federation/discover" || under(name, "cmd/kalends/demo") }
	// What the administrator has named: his mail server; the server's own listener.
	named := map[string]bool{"server/federation.go": true, "server/admin_health.go": true}
	// Methods of a storage transaction that write calendar objects or their queue.
	writes := []string{"Apply", "Enqueue", "LockUIDs", "QueueRefresh"}
	for name, p := range own {
		r, ok := rows[name]
		if !ok || helper(name) {
			continue
		}
		for _, file := range p.GoFiles {
			set := token.NewFileSet()
			full := filepath.Join(p.Dir, file)
			f, err := parser.ParseFile(set, full, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.CompositeLit); ok { // a dialer or client of one's own
					if sel, ok := lit.Type.(*ast.SelectorExpr); ok {
						x, _ := sel.X.(*ast.Ident)
						if x != nil && slices.Contains(dialers, x.Name+"."+sel.Sel.Name) && !named[name+"/"+file] && !outside(name) {
							t.Errorf("%s/%s:%d: %s.%s goes past the dialer of federation/discover", name, file, set.Position(lit.Pos()).Line, x.Name, sel.Sel.Name)
						}
					}
				}
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				at := fmt.Sprintf("%s/%s:%d", name, file, set.Position(sel.Pos()).Line)
				switch {
				case r.level <= 1 && x.Name == "time" && slices.Contains(clock, sel.Sel.Name):
					t.Errorf("%s: time.%s in a pure package", at, sel.Sel.Name)
				case x.Name == "http" && slices.Contains(web, sel.Sel.Name) && name != "federation/discover":
					t.Errorf("%s: http.%s goes past the dialer of federation/discover", at, sel.Sel.Name)
				case slices.Contains(dials, x.Name+"."+sel.Sel.Name) && !outside(name):
					t.Errorf("%s: %s.%s goes past the dialer of federation/discover", at, x.Name, sel.Sel.Name)
				case x.Name == "tx" && slices.Contains(writes, sel.Sel.Name) && !under(name, "scheduling", "storage"):
					t.Errorf("%s: tx.%s: calendar objects are written by scheduling alone", at, sel.Sel.Name)
				}
				return true
			})
		}
	}
}
