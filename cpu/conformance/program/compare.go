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
	Reference Subject
	Subjects  []Subject
	// Mismatch is told of each program that came out different.
	Mismatch func(*Mismatch)
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
			m := &Mismatch{Subject: s.Name, Program: p, Want: want}
			if m.Got, m.Err = Run(s.New, p, s.Rig); m.Err == nil {
				m.Diffs = Diff(want, m.Got)
			}
			if m.Err == nil && len(m.Diffs) == 0 {
				continue
			}
			rep.Mismatches++
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
