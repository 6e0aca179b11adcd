package simulation

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var flagMutants = flag.Bool("mutants", false, "plant bugs and see whether they are found (make sim)")

// mutant is a bug: a piece of a source file in another form.
type mutant struct {
	name, file, old, new string
}

var mutants = []mutant{
	{"the first half of a plan counts as the whole", "scheduling/queue.go",
		"if m.Before == nil {", "if m.Before == nil || m.Before != nil {"},
	{"a repeat gets a new message id", "storage/claim.go",
		`if c.WireID == "" {`, `if c.WireID == "" || c.WireID != "" {`},
	{"late messages count as new", "scheduling/itip/process.go",
		"return stampOf(m, now).Compare(stampOf(cur, now)) < 0", "return cur == nil && now.IsZero()"},
	{"updates take answers back", "scheduling/itip/request.go",
		"return g.p.Outside && own != nil && before != nil &&", "return !g.p.Outside && own != nil && before != nil &&"},
	{"updates lose alarms", "scheduling/itip/request.go",
		`if k.Name == "VALARM" {`, `if k.Name == "VALARMS" {`},
	{"alarms travel", "scheduling/itip/tailor.go",
		`if k.Name != "VALARM" {`, `if k.Name != "VALARMS" {`},
	{"SEQUENCE stays", "scheduling/itip/organizer.go",
		"b.maxSequence() <= top {\n\t\tfor", "b.maxSequence() < top {\n\t\tfor"},
	{"outcomes are not written back", "scheduling/writeback.go",
		"return itip.CompleteStatus(obj, status), nil", "return itip.CompleteStatus(nil, status), nil"},
	{"nobody hears of THISANDFUTURE", "scheduling/itip/changes.go",
		"d.forceMaster = true // it changes", "d.forceMaster = false // it changes"},
	{"an old answer overwrites a new one", "scheduling/itip/reply.go",
		"order < 0 || order == 0 &&", "order > 1 || order == 0 &&"},
}

// TestMutants plants each bug in a copy of the sources (go build -overlay) and
// plays seeds until one of them breaks a promise.
func TestMutants(t *testing.T) {
	if !*flagMutants {
		t.Skip("builds the scheduling code once for each bug, which takes minutes: make sim runs it (-mutants)")
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			source, err := filepath.Abs(filepath.Join("../..", m.file))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.old); n != 1 {
				t.Fatalf("%s holds %q %d times, not once: plant the bug anew", m.file, m.old, n)
			}
			dir := t.TempDir()
			changed, overlay, binary := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simulation.test")
			plan, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string]string{changed: strings.Replace(string(text), m.old, m.new, 1), overlay: string(plan)} {
				if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.Command("go", "test", "-overlay", overlay, "-c", "-o", binary, ".").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := exec.Command(binary, "-test.run=^TestSeeds$", "-seeds=400", "-fails=1", "-brief").CombinedOutput()
			_, found, ok := strings.Cut(string(out), "breaks a promise:\n")
			if err == nil || !ok {
				t.Fatalf("400 seeds do not find it (%v)\n%s", err, out)
			}
			line, _, _ := strings.Cut(strings.TrimSpace(found), "\n")
			t.Logf("found: %s", line)
		})
	}
}
