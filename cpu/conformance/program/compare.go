package program

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dfemu/cpu/x86"
)

// Subject is an accelerator under test.
type Subject struct {
	Name string
	New  Factory
	Rig  Rig
}

// Config says what to compare.
type Config struct {
	Seed      uint64 // of the first program; the others follow
	Programs  int
	Features  x86.FeatureSet // that programs may use; zero: x86.DefaultFeatures
	Budget    int            // see Generator; 0: DefaultBudget
	Reference Subject
	Subjects  []Subject
	// Mismatch is told of each program that came out different.
	Mismatch func(*Mismatch)
	// Minimize leaves out of programs that come out different what does not matter; see Generator.Minimize.
	Minimize bool
	// MaxMismatches ends the comparison early; 0 is no limit.
	MaxMismatches int
}

// Mismatch is a program that came out different on a subject.
type Mismatch struct {
	Subject   string
	Program   *Program
	Want, Got *Outcome // Got is nil if it failed with Err
	Err       error
	Diffs     []string
}

// String shows the differences.
func (m *Mismatch) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program %d (CPL %d) on %s:\n", m.Program.Seed, m.Program.CPL, m.Subject)
	if m.Err != nil {
		fmt.Fprintf(&b, "  %v\n", m.Err)
	}
	for _, d := range m.Diffs {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	return b.String()
}

// Report is what a comparison has covered.
type Report struct {
	Programs     int
	Bytes        int    // of code
	Instructions uint64 // executed by the reference
	Events       uint64 // exceptions and interrupts handled there
	Accesses     int    // to the bus
	Blocks       uint64 // decoded there: all over again where code has changed
	Mismatches   int
	Elapsed      time.Duration
}

// String is the result for people, one fact a line.
func (r *Report) String() string {
	return fmt.Sprintf("programs    %d, %d KiB of code\nexecuted    %d instructions, %d events, %d bus accesses, %d blocks decoded\nmismatches  %d\nelapsed     %.1f s\n",
		r.Programs, r.Bytes>>10, r.Instructions, r.Events, r.Accesses, r.Blocks, r.Mismatches, r.Elapsed.Seconds())
}

// Compare runs programs on the reference and on the subjects. Differences are in the report;
// an error is one of the host, of the generator or of the reference.
func Compare(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Features == (x86.FeatureSet{}) {
		cfg.Features = x86.DefaultFeatures()
	}
	g, err := NewGenerator(cfg.Features)
	if err != nil {
		return nil, err
	}
	if cfg.Budget > 0 {
		g.Budget = cfg.Budget
	}
	start := time.Now()
	rep := &Report{}
	for n := range cfg.Programs {
		if ctx.Err() != nil {
			break
		}
		p, err := g.Generate(cfg.Seed + uint64(n))
		if err != nil {
			return nil, err
		}
		want, err := Run(cfg.Reference.New, p, cfg.Reference.Rig)
		if err != nil {
			return nil, err
		}
		rep.Programs++
		rep.Bytes += len(p.Code)
		rep.Instructions += want.Stats.Instructions
		rep.Blocks += want.Stats.Blocks
		rep.Events += want.Events
		rep.Accesses += len(want.Bus)
		for _, s := range cfg.Subjects {
			m := try(&s, p, want)
			if m == nil {
				continue
			}
			rep.Mismatches++
			if cfg.Minimize {
				if m, err = g.minimize(&cfg, &s, m); err != nil {
					return nil, err
				}
			}
			if cfg.Mismatch != nil {
				cfg.Mismatch(m)
			}
		}
		if cfg.MaxMismatches > 0 && rep.Mismatches >= cfg.MaxMismatches {
			break
		}
	}
	rep.Elapsed = time.Since(start)
	return rep, nil
}

// try runs a program on a subject. It returns nil if it comes out as wanted.
func try(s *Subject, p *Program, want *Outcome) *Mismatch {
	m := &Mismatch{Subject: s.Name, Program: p, Want: want}
	if m.Got, m.Err = Run(s.New, p, s.Rig); m.Err == nil {
		m.Diffs = Diff(want, m.Got)
	}
	if m.Err == nil && len(m.Diffs) == 0 {
		return nil
	}
	return m
}

// minimize finds a smaller program that comes out different.
func (g *Generator) minimize(cfg *Config, s *Subject, m *Mismatch) (*Mismatch, error) {
	reference, subject := cfg.Reference, *s
	for _, r := range [...]*Rig{&reference.Rig, &subject.Rig} {
		if r.Timeout == 0 {
			r.Timeout = 2 * time.Second
		}
	}
	_, err := g.Minimize(m.Program, func(p *Program) bool {
		want, err := Run(reference.New, p, reference.Rig)
		if err != nil {
			return false
		}
		less := try(&subject, p, want)
		if less == nil || m.Err == nil && less.Err != nil {
			return false
		}
		m = less
		return true
	})
	return m, err
}
