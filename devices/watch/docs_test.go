package watch

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedFaults parses each rule that the catalogue of faults gives as an example.
func TestDocumentedFaults(t *testing.T) {
	rule := regexp.MustCompile("(?:`|--fault '|fault ')((?:nvme|ahci|virtio-[a-z0-9]+|e1000e)[0-9]+,[^`' ]*(?: [^`', ]*,[^`' ]*)?)[`']")
	for name, least := range map[string]int{"faults.md": 30, "devices.md": 5} {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		l := rule.FindAllStringSubmatch(string(text), -1)
		if len(l) < least {
			t.Errorf("%s: %d examples, want at least %d", name, len(l), least)
		}
		actions := map[string]bool{}
		for _, m := range l {
			if _, err := ParseRule(m[1]); err != nil {
				t.Errorf("%s: %s: %v", name, m[1], err)
			}
			last := m[1][strings.LastIndexByte(m[1], ',')+1:]
			action, _, _ := strings.Cut(last, "=")
			actions[action] = true
		}
		if name != "faults.md" {
			continue
		}
		for _, a := range []string{"fail", "delay", "hang", "drop", "duplicate", "lose-irq", "extra-irq", "short", "flip", "flip-table", "link-down", "link-up", "remove", "power-loss"} {
			if !actions[a] {
				t.Errorf("%s has no example of %s", name, a)
			}
		}
		if !strings.Contains(string(text), "hold=1") {
			t.Errorf("%s has no example of hold", name)
		}
	}
}
