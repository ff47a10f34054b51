package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"dfemu/cpu"
	"dfemu/cpu/conformance"
	"dfemu/cpu/interp"
	"dfemu/cpu/x86"
)

// newConformance is the command that compares the interpreter with the host's processor.
func newConformance() *cobra.Command {
	cfg := conformance.Config{Subject: func(c cpu.Config) (cpu.Accelerator, error) { return interp.New(c) }}
	compat := false
	show := 1
	c := &cobra.Command{
		Use:   "conformance",
		Short: "compare the interpreter with the processor of this machine",
		Long: "Generated instructions run on the processor of this machine and on the interpreter,\n" +
			"and have to leave the same registers, flags, memory and faults behind.\n" +
			"The status is 1 when some do not.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Mode = x86.Mode64
			if compat {
				cfg.Mode = x86.Mode32
			}
			t := tally{show: show, out: c.OutOrStdout(), groups: map[string]int{}}
			cfg.Mismatch = t.add
			rep, err := conformance.Run(c.Context(), cfg)
			if err != nil {
				return err
			}
			t.print()
			fmt.Fprint(c.OutOrStdout(), rep)
			if rep.Mismatches > 0 {
				return outcomeError{status: 1, message: fmt.Sprintf("%d cases came out different", rep.Mismatches)}
			}
			return nil
		},
	}
	f := c.Flags()
	f.Uint64Var(&cfg.Cases, "cases", 5_000_000, "how many instructions to run")
	f.Uint64Var(&cfg.Seed, "seed", 1, "what the instructions are generated from")
	f.Uint64Var(&cfg.First, "first", 0, "number of the first case")
	f.StringSliceVar(&cfg.Only, "only", nil, "only these mnemonics or CPUID features, as /proc/cpuinfo spells them")
	f.IntVar(&cfg.Workers, "workers", runtime.NumCPU(), "how many to run at a time")
	f.BoolVar(&compat, "compat", false, "32-bit compatibility mode instead of 64-bit mode")
	f.IntVar(&show, "show", show, "how many cases to show in full of each kind of difference")
	f.IntVar(&cfg.MaxMismatches, "stop-after", 0, "end after so many differences; 0: go on")
	return c
}

// tally shows the first mismatches of each kind, and counts all.
type tally struct {
	show   int
	out    io.Writer
	groups map[string]int
}

func (t *tally) add(m *conformance.Mismatch) {
	k := m.Summary()
	if t.groups[k]++; t.groups[k] <= t.show {
		fmt.Fprintln(t.out, m)
	}
}

// print lists the kinds of differences, the most frequent first.
func (t *tally) print() {
	keys := slices.SortedFunc(maps.Keys(t.groups), func(a, b string) int {
		return cmp.Or(t.groups[b]-t.groups[a], cmp.Compare(a, b))
	})
	for _, k := range keys {
		fmt.Fprintf(t.out, "%7d  %s\n", t.groups[k], k)
	}
}
