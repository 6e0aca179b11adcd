package scheduling_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryScenarioNamesItsSource: there are at least 150 scenarios, each
// number stands for one, the head of each names the RFC section, want, abuse case or design rule that it shows, and
// each want of scheduling has one that is played on both engines.
func TestEveryScenarioNamesItsSource(t *testing.T) {
	t.Parallel()
	var files []string
	for _, glob := range []string{"testdata/scenarios/*.txtar", "itip/testdata/*.txtar"} {
		list, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	if len(files) < 150 {
		t.Errorf("%d scenarios", len(files))
	}
	want := regexp.MustCompile(`(?i)want (\d+)`)
	source := regexp.MustCompile(`(?i)RFC \d+ §|RFC \d{4}|want \d+|abuse A\d+|design|ischedule`)
	shown, numbered := map[int]bool{}, map[string]string{}
	for _, f := range files {
		if n, _, ok := strings.Cut(filepath.Base(f), "-"); ok && strings.Trim(n, "0123456789") == "" {
			if numbered[n] != "" {
				t.Errorf("%s and %s have one number", numbered[n], f)
			}
			numbered[n] = f
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var head strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") {
				break
			}
			head.WriteString(line)
		}
		if !source.MatchString(head.String()) {
			t.Errorf("%s names no source in its head", f)
		}
		for _, m := range want.FindAllStringSubmatch(head.String(), -1) {
			n, _ := strconv.Atoi(m[1])
			shown[n] = shown[n] || !strings.HasPrefix(f, "itip")
		}
	}
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 33, 34, 41, 42, 43, 44, 47} {
		if !shown[n] {
			t.Errorf("no scenario shows want %d", n)
		}
	}
}
