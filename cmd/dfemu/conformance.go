package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dfemu/cpu"
	"dfemu/cpu/conformance"
	"dfemu/cpu/conformance/program"
	"dfemu/cpu/interp"
	"dfemu/cpu/jit"
	"dfemu/cpu/x86"
)

func newInterp(c cpu.Config) (cpu.Accelerator, error) { return interp.New(c) }

// subjects are the processors in software that the command knows.
var subjects = map[string]func(cpu.Config) (cpu.Accelerator, error){
	"interp": newInterp, "jit": jit.New, "jit-eager": jit.NewEager}

// modes are the values of --mode.
var modes = map[string][]x86.Mode{"all": nil, "64": {x86.Mode64}, "32": {x86.Mode32}}

// subjectNames lists them.
func subjectNames() string { return strings.Join(slices.Sorted(maps.Keys(subjects)), ", ") }

// newConformance is the command that compares processors in software with the host's.
func newConformance() *cobra.Command {
	cfg := conformance.Config{}
	mode, subject := "all", "interp"
	show, programs, minimize := 1, 0, false
	c := &cobra.Command{
		Use:   "conformance",
		Short: "compare the software processors with the processor of this machine",
		Long: "Generated instructions run on the processor of this machine and on those in\n" +
			"software, and have to leave the same registers, flags, memory and faults behind.\n" +
			"With --programs, whole programs run on the interpreter and on the others, and on\n" +
			"the interpreter once more with its caches dropped all the time.\n" +
			"The status is 1 when something comes out different.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var ok bool
			if cfg.Modes, ok = modes[mode]; !ok {
				return usageError{fmt.Errorf("--mode %s: must be 64, 32 or all", mode)}
			}
			for name := range strings.SplitSeq(subject, ",") {
				f := subjects[name]
				if f == nil {
					return usageError{fmt.Errorf("--subject %s: must be of %s", name, subjectNames())}
				}
				cfg.Subjects = append(cfg.Subjects, conformance.Subject{Name: name, New: f})
			}
			if programs > 0 {
				return comparePrograms(c, programs, show, minimize, &cfg)
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
	f.IntVar(&programs, "programs", 0, "compare software processors on so many programs instead")
	f.BoolVar(&minimize, "minimize", false, "leave out of a program that comes out different what does not matter, and list it")
	f.StringVar(&mode, "mode", mode, "64, 32 (compatibility mode), or all")
	f.StringVar(&subject, "subject", subject, "what to compare, one or more of "+subjectNames())
	f.IntVar(&show, "show", show, "how many cases to show in full of each kind of difference")
	f.IntVar(&cfg.MaxMismatches, "stop-after", 0, "end after so many differences; 0: go on")
	return c
}

// comparePrograms compares the interpreter with the other subjects on programs.
func comparePrograms(c *cobra.Command, n, show int, minimize bool, from *conformance.Config) error {
	out := c.OutOrStdout()
	shown := 0
	cfg := program.Config{Seed: from.Seed, Programs: n, MaxMismatches: from.MaxMismatches, Minimize: minimize,
		Reference: program.Subject{Name: "interp", New: newInterp},
		Mismatch: func(m *program.Mismatch) {
			if shown++; shown <= show {
				fmt.Fprintln(out, m)
				if minimize {
					fmt.Fprintln(out, m.Program.Listing())
				}
			} else {
				fmt.Fprintf(out, "program %d on %s\n", m.Program.Seed, m.Subject)
			}
		}}
	for _, s := range from.Subjects {
		p := program.Subject{Name: s.Name, New: s.New}
		p.Rig.Disturb = s.Name == "interp"
		cfg.Subjects = append(cfg.Subjects, p)
	}
	rep, err := program.Compare(c.Context(), cfg)
	if err != nil {
		return err
	}
	fmt.Fprint(out, rep)
	if rep.Mismatches > 0 {
		return outcomeError{status: 1, message: fmt.Sprintf("%d programs came out different", rep.Mismatches)}
	}
	return nil
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
