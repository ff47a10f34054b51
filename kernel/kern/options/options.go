// Package options reads the words of the kernel's command line. A word that is meant for the kernel and is not understood is told of, and left out.
package options

import (
	"fmt"
	"slices"
	"strings"
)

// Option is a word name or name=value of the command line.
type Option struct {
	Name string
	// Values are what can be after =, several with commas between them if Many is set; nil is for anything. Bare tells that there need not be a value.
	Values []string
	Many   bool
	Bare   bool
}

// Parse returns the values of the known options among the words of a command line, the last of each, and what is wrong with the words whose names begin
// as those of known ones do, up to the first dot. Other words are somebody else's.
func Parse(words []string, known []Option) (values map[string]string, problems []string) {
	values = map[string]string{}
	for _, w := range words {
		name, value, valued := strings.Cut(w, "=")
		i := slices.IndexFunc(known, func(o Option) bool { return o.Name == name })
		if i < 0 {
			if ours(name, known) {
				problems = append(problems, fmt.Sprintf("%s: no such option", name))
			}
			continue
		}
		if p := known[i].check(value, valued); p != "" {
			problems = append(problems, w+": "+p)
			continue
		}
		values[name] = value
	}
	return values, problems
}

// ours tells whether a name begins as a known one does.
func ours(name string, known []Option) bool {
	family, _, _ := strings.Cut(strings.ToLower(name), ".")
	return slices.ContainsFunc(known, func(o Option) bool {
		f, _, _ := strings.Cut(o.Name, ".")
		return f == family
	})
}

// check returns what is wrong with a value, if anything.
func (o Option) check(value string, valued bool) string {
	all := strings.Join(o.Values, ", ")
	switch {
	case !valued && o.Bare || o.Values == nil && valued:
		return ""
	case !valued && o.Values != nil:
		return "it must have a value: " + all
	case !valued:
		return "it must have a value"
	}
	parts := []string{value}
	if o.Many {
		parts = strings.Split(value, ",")
	}
	for _, p := range parts {
		if !slices.Contains(o.Values, p) {
			return fmt.Sprintf("%q is none of %s", p, all)
		}
	}
	return ""
}
