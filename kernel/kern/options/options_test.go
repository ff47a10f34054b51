package options

import (
	"maps"
	"strings"
	"testing"
)

var known = []Option{
	{Name: "x.any"}, {Name: "x.test", Bare: true}, {Name: "x.off", Values: []string{"0", "1"}, Bare: true}, {Name: "x.when", Values: []string{"panic"}},
	{Name: "x.gdb", Values: []string{"wait", "panic"}, Many: true, Bare: true}, {Name: "hw.msi", Values: []string{"0", "1"}},
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line, problems string
		want           map[string]string
	}{
		{"", "", nil},
		{"console=ttyS0 quiet -s =x = é", "", nil},
		{"x.any=a=b x.test", "", map[string]string{"x.any": "a=b", "x.test": ""}},
		{"x.any= x.any=2 x.test=a,b", "", map[string]string{"x.any": "2", "x.test": "a,b"}},
		{"x.any", "x.any: it must have a value", nil},
		{"x.when", "x.when: it must have a value: panic", nil},
		{"x.tset=all X.TEST hw.", "x.tset: no such option|X.TEST: no such option|hw.: no such option", nil},
		{"x.when=pnic x.when=panic", `x.when=pnic: "pnic" is none of panic`, map[string]string{"x.when": "panic"}},
		{"x.when=panic x.when=", `x.when=: "" is none of panic`, map[string]string{"x.when": "panic"}},
		{"x.gdb=wait,panic", "", map[string]string{"x.gdb": "wait,panic"}},
		{"x.gdb=wait,pnic", `x.gdb=wait,pnic: "pnic" is none of wait, panic`, nil},
		{"x.off=no hw.msi=0 x.off", `x.off=no: "no" is none of 0, 1`, map[string]string{"hw.msi": "0", "x.off": ""}},
		{"x", "x: no such option", nil},
	} {
		got, problems := Parse(strings.Fields(c.line), known)
		if p := strings.Join(problems, "|"); p != c.problems || !maps.Equal(got, c.want) {
			t.Errorf("%s: %q, problems %s; want %q, %s", c.line, got, p, c.want, c.problems)
		}
	}
}
