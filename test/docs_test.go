package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamedTestsExist makes sure that docs/rfc.md names tests that exist, and
// that nothing is called "yes" there without a package that does it.
func TestNamedTestsExist(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/rfc.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]*)`")
	seen := map[string]string{} // folder -> text of its tests
	tests := func(folder string) string {
		if _, ok := seen[folder]; !ok {
			files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(b)
			}
			seen[folder] = all.String()
		}
		return seen[folder]
	}
	n := 0
	for _, m := range named.FindAllStringSubmatch(string(text), -1) {
		n++
		if !strings.Contains(tests(m[1]), "\nfunc "+m[2]+"(") {
			t.Errorf("docs/rfc.md: %s has no %s", m[1], m[2])
		}
	}
	if n == 0 {
		t.Error("docs/rfc.md names no test")
	}
	// Behind TestScenarios stand names of its files.
	for _, m := range regexp.MustCompile("`(scheduling(?:/itip)?).TestScenarios` \\(([^)]*)\\)").FindAllStringSubmatch(string(text), -1) {
		dir := map[string]string{"scheduling": "scheduling/testdata/scenarios", "scheduling/itip": "scheduling/itip/testdata"}[m[1]]
		for _, name := range names(m[2]) {
			if files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), name+".txtar")); err != nil || len(files) == 0 {
				t.Errorf("docs/rfc.md: there is no scenario %s in %s", name, dir)
			}
		}
	}
	var status, where int // columns
	for i, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if strings.Contains(line, "| is there |") {
			for k, c := range cells {
				switch strings.TrimSpace(c) {
				case "is there":
					status = k
				case "where":
					where = k
				}
			}
			continue
		}
		if len(cells) <= where {
			t.Errorf("docs/rfc.md:%d: a row of %d cells", i+1, len(cells))
			continue
		}
		word, _, _ := strings.Cut(strings.NewReplacer(":", " ", ",", " ", ";", " ").Replace(strings.TrimSpace(cells[status])), " ")
		switch word {
		case "yes", "partly":
			folders := names(cells[where])
			if len(folders) == 0 {
				t.Errorf("docs/rfc.md:%d: %s, but where?", i+1, word)
			}
			for _, f := range folders {
				if st, err := os.Stat(filepath.Join(root, filepath.FromSlash(f))); err != nil || !st.IsDir() {
					t.Errorf("docs/rfc.md:%d: there is no package %s", i+1, f)
				}
			}
		case "no":
		default:
			t.Errorf("docs/rfc.md:%d: %q is neither yes, partly nor no", i+1, cells[status])
		}
	}
}

// TestDocLinks makes sure that links between our pages lead somewhere, their
// anchors included.
func TestDocLinks(t *testing.T) {
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, root+"/README.md")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	fence := regexp.MustCompile("(?ms)^```.*?^```$")
	drop := regexp.MustCompile(`[^\p{L}\p{M}\p{Nd}\p{Pc}\- ]`) // what stays in an anchor
	anchors := func(page string) map[string]bool {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{"": true}
		for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			out[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
		}
		return out
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !anchors(target)[anchor] {
				t.Errorf("%s: %s has no heading for #%s", page, target, anchor)
			}
		}
	}
}
