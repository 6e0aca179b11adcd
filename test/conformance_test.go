package test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// suiteTable is a table of docs/conformance.md: its rows with the line they stand on.
type suiteTable struct {
	line int
	head []string
	rows [][]string
}

func tablesOf(text string) (out []suiteTable) {
	var t *suiteTable
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			t = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for k := range cells {
			cells[k] = strings.TrimSpace(cells[k])
		}
		switch {
		case t == nil:
			out = append(out, suiteTable{line: i + 1, head: cells})
			t = &out[len(out)-1]
		case strings.HasPrefix(line, "|---"):
		default:
			t.rows = append(t.rows, cells)
		}
	}
	return out
}

// TestConformanceAddsUp makes sure that the figures of docs/conformance.md are
// those of its tables: rows, totals, what is said of them, and the lists of what
// failed and what was set aside.
func TestConformanceAddsUp(t *testing.T) {
	b, err := os.ReadFile(root + "/docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	number := func(s string) int {
		s = strings.NewReplacer("*", "", ",", "").Replace(s)
		if s == "" {
			return 0
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Errorf("%q is no number", s)
		}
		return n
	}
	type sum struct{ run, passed, aside, failed int }
	var suites []sum
	var lists [][]int // sums of the lists that follow each table of suites
	for _, x := range tablesOf(text) {
		switch x.head[0] {
		case "suite":
			var s, total sum
			for _, r := range x.rows {
				v := sum{number(r[1]), number(r[2]), number(r[3]), number(r[4])}
				if v.run != v.passed+v.aside+v.failed {
					t.Errorf("line %d, %s: %d run is not %d passed, %d set aside and %d failed", x.line, r[0], v.run, v.passed, v.aside, v.failed)
				}
				if r[0] == "**all**" {
					total = v
					continue
				}
				s = sum{s.run + v.run, s.passed + v.passed, s.aside + v.aside, s.failed + v.failed}
			}
			if s != total {
				t.Errorf("the table of line %d adds up to %+v and says %+v", x.line, s, total)
			}
			suites, lists = append(suites, total), append(lists, nil)
		case "test":
			n := 0
			for _, r := range x.rows {
				n += number(r[1])
			}
			lists[len(lists)-1] = append(lists[len(lists)-1], n)
		}
	}
	if len(suites) != 3 || len(lists[1]) != 3 || len(lists[2]) != 2 {
		t.Fatalf("%d tables of suites, lists %v", len(suites), lists)
	}
	access, more, scheduling := suites[0], suites[1], suites[2]
	// The lists of access stand behind both of its tables; what fails in the second
	// fails in the first, and its third list leaves out what the others name.
	if l := lists[1]; l[0] != access.failed || l[1] != access.aside || l[2] > more.aside {
		t.Errorf("access: the lists have %v, the tables %+v and %+v", l, access, more)
	}
	if l := lists[2]; l[0] != scheduling.failed || l[1] != scheduling.aside {
		t.Errorf("scheduling: the lists have %v, the table %+v", l, scheduling)
	}
	said := regexp.MustCompile(`\*\*([\d,]+) of ([\d,]+) passed: ([\d.]+) %\.\*\* (\d+) more tests`).FindAllStringSubmatch(text, -1)
	if len(said) != 2 {
		t.Fatalf("%d summaries", len(said))
	}
	for i, s := range []sum{access, scheduling} {
		rate := fmt.Sprintf("%.1f", 100*float64(s.passed)/float64(s.run-s.aside))
		if m := said[i]; number(m[1]) != s.passed || number(m[2]) != s.run-s.aside || m[3] != rate || number(m[4]) != s.aside {
			t.Errorf("it says %s, and the table %+v, %s %%", m[0], s, rate)
		}
	}
	if want := fmt.Sprintf("Of all %d run, %.1f %% passed", access.run, 100*float64(access.passed)/float64(access.run)); !strings.Contains(text, want) {
		t.Errorf("it does not say %q", want)
	}
	both := regexp.MustCompile(`([\d,]+) of ([\d,]+) passed \(([\d.]+) %\)`).FindStringSubmatch(text)
	if both == nil || both[3] != fmt.Sprintf("%.1f", 100*float64(number(both[1]))/float64(number(both[2]))) {
		t.Errorf("stages 1 and 2 together: %q", both)
	}
}
